// What the store did and whose answer never came: the connection is cut behind the script. In memory, on a manual clock: each test
// lives through half a minute in milliseconds.
import { RunningAgent } from '../../src/agent/agent.js';
import { capability } from '../../src/agent/capability.js';
import { Client } from '../../src/agent/client.js';
import { Instance } from '../../src/agent/instance.js';
import { type Manager, startManager } from '../../src/agent/manage.js';
import { loadConfig } from '../../src/config.js';
import { StoreUnavailable } from '../../src/errors.js';
import type { AgentStore, TaskStore } from '../../src/ports.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { type MemoryPorts, MemoryWorld, portsOf } from '../../src/testing/memory-ports.js';

const config = loadConfig({ MUSTER_LOG_LEVEL: 'silent', MUSTER_PREFIX: 'lost' }, '/');

/** The store as a process sees it whose answers can be lost, after the deed. */
class LossyStore {
  readonly store: TaskStore;
  readonly #losing = new Map<string, number>();

  constructor(store: TaskStore) {
    this.store = new Proxy(store, {
      get: (target, name: keyof TaskStore) => {
        const method = target[name] as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          const answer = await method.apply(target, args);
          const left = this.#losing.get(name) ?? 0;
          if (left === 0) return answer;
          this.#losing.set(name, left - 1);
          throw StoreUnavailable(`the answer to ${name} was lost`);
        };
      },
    });
  }

  lose(method: keyof TaskStore, times = 1): void {
    this.#losing.set(method, times);
  }
}

let clock: ManualClock;
let world: MemoryWorld;
let manager: Manager;
let client: Client;
let lossy: LossyStore;
let agent: RunningAgent;
const runs: string[] = [];

/** The registry's store of these ports rejects while `away`. */
let away = false;
function unreliable(ports: MemoryPorts): MemoryPorts {
  const agents = new Proxy(ports.agents, {
    get: (target, name: keyof AgentStore) => {
      const method = target[name] as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        if (away) throw StoreUnavailable('it is away');
        return method.apply(target, args);
      };
    },
  });
  return { ...ports, agents };
}

/** Lets time pass until the promise has settled. */
async function pass<T>(promise: Promise<T>, mostMs = 60_000): Promise<T> {
  let settled = false;
  const done = () => {
    settled = true;
  };
  promise.then(done, done);
  for (let ms = 0; ms < mostMs; ms += 50) {
    for (let turn = 0; turn < 4; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
    if (settled) return promise;
    clock.advance(50);
  }
  throw new Error(`Not over after ${mostMs} ms.`);
}

const work = capability('work').handle(async (_, context) => {
  runs.push(context.id);
  return 'done';
});

beforeEach(async () => {
  runs.length = 0;
  clock = new ManualClock();
  world = new MemoryWorld({ clock });
  manager = await pass(startManager(unreliable(portsOf(world)), config, 0, async () => undefined));
  const own = portsOf(world);
  client = new Client(await pass(Instance.open(own, config, 'client')), async () => undefined);
  const ports = portsOf(world);
  lossy = new LossyStore(ports.tasks);
  const instance = await pass(Instance.open({ ...ports, tasks: lossy.store }, config, 'worker'));
  agent = await pass(RunningAgent.start('worker', [work], { drain: 'push' }, instance, async () => undefined));
});

afterEach(async () => {
  await pass(agent.stop());
  await pass(client.instance.close());
  await pass(manager.stop());
  world.broker.close();
});

it('a claim that was granted and not heard of is found and run', async () => {
  lossy.lose('claim');
  const task = await pass(client.submit('work'));
  expect(await pass(client.outcome(task))).toMatchObject({ status: 'completed', output: 'done' });
  expect(await client.task(task.id)).toMatchObject({ failed_attempts: 0 });
});

it('a settlement that was recorded and not heard of is not made twice', async () => {
  lossy.lose('settle');
  const task = await pass(client.submit('work'));
  expect(await pass(client.outcome(task))).toMatchObject({ status: 'completed', attempt: 1 });
  expect(runs).toEqual([task.id]);
});

it('a dependent handed over with a lost settlement is found and run', async () => {
  // In push mode an agent without anything waiting takes a dependent past the broker.
  lossy.lose('settle');
  const run = await pass(
    client.run({
      tasks: [
        { key: 'x', capability: 'work' },
        { key: 'y', capability: 'work', after: ['x'] },
      ],
    }),
  );
  expect(await pass(client.runOutcome(run.id))).toEqual({ run: run.id, status: 'completed' });
  expect(await client.task(`${run.id}.y`)).toMatchObject({ failed_attempts: 0, status: 'completed' });
});

it('an outage longer than the lease leaves no task behind', async () => {
  let begun: () => void = () => undefined;
  const started = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const ports = portsOf(world);
  const instance = await pass(Instance.open(unreliable(ports), config, 'slow'));
  let tries = 0;
  const slow = capability('slow').handle(async (_, context) => {
    tries += 1;
    begun();
    // The first attempt never ends by itself.
    if (tries === 1)
      await new Promise((_resolve, reject) =>
        context.signal.addEventListener('abort', () => reject(context.signal.reason)),
      );
    return tries;
  });
  const other = await pass(RunningAgent.start('slow', [slow], {}, instance, async () => undefined));
  const task = await pass(client.submit('slow'));
  await pass(started);
  away = true;
  world.tasks.outage = 'Redis is away';
  clock.advance(config.MUSTER_LEASE_MS * 2);
  await pass(new Promise<void>((resolve) => clock.after(2000, resolve)));
  away = false;
  world.tasks.outage = undefined;
  expect(await pass(client.outcome(task))).toMatchObject({ status: 'completed', output: 2 });
  expect(await client.task(task.id)).toMatchObject({ failed_attempts: 0 });
  await pass(other.stop());
});
