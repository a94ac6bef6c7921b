// The registry as one process knows it: agents by id and by capability, kept current by changes and by whole refreshes.
// Says what each change means (joined, left, changed) by comparing, so that a lost or doubled notification is told once.
import type { AgentRecord } from '../contracts/agent.js';
import type { MusterEvents } from '../contracts/events.js';
import type { RegistryChange } from '../ports.js';

type Told = 'agent.joined' | 'agent.left' | 'agent.changed' | 'agent.draining' | 'queue.paused' | 'queue.resumed';
export type Tell = <N extends Told>(event: N, data: MusterEvents[N]) => void;

export class View {
  readonly #tell: Tell;
  #agents = new Map<string, AgentRecord>();
  #byCapability = new Map<string, Map<string, AgentRecord>>();
  #paused: ReadonlySet<string> = new Set();
  #loaded = false;

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  get(id: string): AgentRecord | undefined {
    return this.#agents.get(id);
  }

  all(): Iterable<AgentRecord> {
    return this.#agents.values();
  }

  get size(): number {
    return this.#agents.size;
  }

  byCapability(name: string): Iterable<AgentRecord> {
    return this.#byCapability.get(name)?.values() ?? [];
  }

  /** Who could have all of these capabilities: whoever has the rarest of them. Undefined: no capability was named. */
  withAll(names: readonly string[]): Iterable<AgentRecord> | undefined {
    if (names.length === 0) return undefined;
    const [rarest] = names.map((name) => this.#byCapability.get(name)).sort((a, b) => (a?.size ?? 0) - (b?.size ?? 0));
    return rarest?.values() ?? [];
  }

  get paused(): ReadonlySet<string> {
    return this.#paused;
  }

  /**
   * Everything anew, except what changed while it was being read: that is newer, and going back to what was read would be told as
   * two changes that never happened. The first time tells nothing: it is not news to anyone.
   */
  replace(records: readonly AgentRecord[], paused: readonly string[], meanwhile: readonly RegistryChange[]): void {
    const first = !this.#loaded;
    this.#loaded = true;
    const touched = new Set(first ? [] : meanwhile.map(subjectOf));
    const present = new Set(records.map((record) => record.agent_id));
    for (const [id, record] of this.#agents) if (!present.has(id) && !touched.has(id)) this.#remove(record);
    for (const record of records) if (!touched.has(record.agent_id)) this.#put(record, first);
    if (!touched.has(QUEUES)) this.#setPaused(new Set(paused), first);
    if (first) for (const change of meanwhile) this.apply(change);
  }

  /** Before the first whole view there is nothing to change, and nothing that would be news. */
  apply(change: RegistryChange): void {
    if (!this.#loaded) return;
    switch (change.kind) {
      case 'joined':
      case 'changed':
        this.#put(change.agent, false);
        break;
      case 'left':
        this.#leave(change);
        break;
      case 'draining': {
        const record = this.#agents.get(change.agent_id);
        if (record !== undefined) this.#put({ ...record, draining: change.draining }, false);
        break;
      }
      case 'paused':
        this.#setPaused(new Set([...this.#paused, change.capability]), false);
        break;
      case 'resumed':
        this.#setPaused(new Set([...this.#paused].filter((name) => name !== change.capability)), false);
        break;
    }
  }

  #leave({ agent_id, instance, reason }: Extract<RegistryChange, { kind: 'left' }>): void {
    const record = this.#agents.get(agent_id);
    if (record === undefined || record.instance !== instance) return;
    // 'replaced' is told by the join of the newer instance, which follows; 'lease_expired' by the reaper that found it.
    if (reason === 'stopped') this.#remove(record);
    else if (reason === 'lease_expired') this.#put({ ...record, status: 'offline' }, false);
  }

  #put(record: AgentRecord, silent: boolean): void {
    const before = this.#agents.get(record.agent_id);
    if (before === record) return;
    this.#agents.set(record.agent_id, record);
    this.#index(before, record);
    if (!silent) this.#tellPut(before, record);
  }

  #tellPut(before: AgentRecord | undefined, record: AgentRecord): void {
    const { agent_id: agent, instance } = record;
    const capabilities = namesOf(record);
    if (before !== undefined && before.instance !== instance && before.status !== 'offline') {
      this.#tell('agent.left', { agent, instance: before.instance, reason: 'replaced' });
    }
    // Offline and back without joining: its lease ran out unnoticed, and nobody was told that it left.
    const back = before?.status === 'offline' && before.updated_at !== record.updated_at;
    const came = before === undefined || before.instance !== instance || back;
    if (came && record.status !== 'offline') this.#tell('agent.joined', { agent, instance, capabilities });
    else if (before !== undefined && !sameNames(before, record)) this.#tell('agent.changed', { agent, capabilities });
    if (record.draining && before?.draining !== true) this.#tell('agent.draining', { agent });
  }

  #remove(record: AgentRecord): void {
    this.#agents.delete(record.agent_id);
    this.#index(record, undefined);
    // An offline agent left before, when the reaper found it; its record is only cleared away.
    if (record.status !== 'offline')
      this.#tell('agent.left', { agent: record.agent_id, instance: record.instance, reason: 'stopped' });
  }

  #index(before: AgentRecord | undefined, after: AgentRecord | undefined): void {
    if (before !== undefined && before.capabilities !== after?.capabilities) {
      for (const name of namesOf(before)) {
        const agents = this.#byCapability.get(name);
        agents?.delete(before.agent_id);
        if (agents?.size === 0) this.#byCapability.delete(name);
      }
    }
    for (const { name } of after?.capabilities ?? []) {
      const agents = this.#byCapability.get(name) ?? new Map<string, AgentRecord>();
      this.#byCapability.set(name, agents.set(after!.agent_id, after!));
    }
  }

  #setPaused(paused: ReadonlySet<string>, silent: boolean): void {
    const before = this.#paused;
    this.#paused = paused;
    if (silent) return;
    for (const capability of paused) if (!before.has(capability)) this.#tell('queue.paused', { capability });
    for (const capability of before) if (!paused.has(capability)) this.#tell('queue.resumed', { capability });
  }
}

/** What a change is about: an agent, or the paused queues, which no agent id can be mistaken for. */
const QUEUES = '*';
function subjectOf(change: RegistryChange): string {
  if (change.kind === 'joined' || change.kind === 'changed') return change.agent.agent_id;
  return 'agent_id' in change ? change.agent_id : QUEUES;
}

function namesOf(record: AgentRecord): string[] {
  return record.capabilities.map((capability) => capability.name);
}

function sameNames(a: AgentRecord, b: AgentRecord): boolean {
  return a.capabilities === b.capabilities || namesOf(a).sort().join() === namesOf(b).sort().join();
}
