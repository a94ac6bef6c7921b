// An AgentStore that can be away: every call then rejects as it does when Redis cannot be reached.
import { StoreUnavailable } from '../../src/errors.js';
import type { AgentStore } from '../../src/ports.js';

export function faulty(store: AgentStore): { readonly store: AgentStore; away: boolean; readonly calls: string[] } {
  const faults = { away: false, calls: [] as string[] };
  const wrapped = new Proxy(store, {
    get(target, name: keyof AgentStore) {
      return async (...args: unknown[]) => {
        faults.calls.push(name);
        if (faults.away) throw StoreUnavailable('the test says so');
        return (target[name] as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  return Object.assign(faults, { store: wrapped });
}

/** Lets everything that is ready to run, run: promises of a store in memory settle without time passing. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}
