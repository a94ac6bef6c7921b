// Finds agents that fell silent, has their tasks rescued, and takes them off the registry. Every second, on every manager: each step
// may be repeated by another replica, or by the same one after a crash.
import type { AgentRecord } from '../contracts/agent.js';
import { errorRecord } from '../errors.js';
import type { AgentStore, Cancel, Clock } from '../ports.js';
import type { Emit } from './registry.js';

type Silent = Awaited<ReturnType<AgentStore['silent']>>[number];

export interface ReaperParts {
  readonly store: AgentStore;
  readonly clock: Clock;
  readonly emit: Emit;
  /** Takes back every task the instance holds. Idempotent. */
  readonly rescue: (instance: string, cause: Silent['cause']) => Promise<unknown>;
  /** The registry's view of an agent: when it was last heard of. */
  readonly known: (agent: string) => AgentRecord | undefined;
}

const TURN_MS = 1000;
/** While the store was away nobody could beat: everyone gets the time between two beats, and some, before being called silent. */
const AFTER_OUTAGE_MS = 6000;
/** The records of agents that are gone stay this long, to be seen as offline. */
const KEEP_OFFLINE_MS = 3_600_000;
const CLEAR_MS = 60_000;
/** A host that fails takes hundreds of agents with it: this many are dealt with at once. */
const AT_ONCE = 16;

export class Reaper {
  readonly #parts: ReaperParts;
  #timer: Cancel | undefined;
  #turning: Promise<void> | undefined;
  #running = false;
  #storeAway = false;
  #notBefore = Number.NEGATIVE_INFINITY;
  #clearAt: number;

  constructor(parts: ReaperParts) {
    this.#parts = parts;
    this.#clearAt = parts.clock.monotonic() + CLEAR_MS;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    // Looks at once: only whoever is new since a look is known to have been connected, and may be missed after a second.
    this.#go();
  }

  /** Resolves once the turn under way is over. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#timer?.();
    await this.#turning;
  }

  #wait(): void {
    this.#timer = this.#parts.clock.after(TURN_MS, () => this.#go());
  }

  #go(): void {
    this.#turning = this.#turn().finally(() => {
      if (this.#running) this.#wait();
    });
  }

  async #turn(): Promise<void> {
    const { clock, store } = this.#parts;
    try {
      if (this.#storeAway) {
        await store.managers();
        this.#storeAway = false;
        this.#notBefore = clock.monotonic() + AFTER_OUTAGE_MS;
      }
      if (clock.monotonic() < this.#notBefore) return;
      await this.reap();
      if (clock.monotonic() >= this.#clearAt) await this.#clear();
    } catch (error) {
      // Told once per outage: it is tried again every second.
      if (!this.#storeAway) this.#fail(error);
      this.#storeAway = true;
    }
  }

  /** Deals with everyone who is silent at this moment. Rejects only when the store cannot say who is. */
  async reap(): Promise<void> {
    const waiting = [...(await this.#parts.store.silent())];
    const reapNext = async (): Promise<void> => {
      for (let silent = waiting.shift(); silent !== undefined; silent = waiting.shift()) {
        // What fails stays condemned: the next turn, or another replica, goes on with it.
        await this.#reapOne(silent).catch((error) => this.#fail(error));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, reapNext));
  }

  async #reapOne({ instance, agent, cause }: Silent): Promise<void> {
    const { store, rescue, known, clock, emit } = this.#parts;
    await rescue(instance, cause);
    const record = agent === undefined ? undefined : known(agent);
    // The store tells one replica only that it was the one: so the events are announced once.
    if (agent !== undefined && (await store.leave(agent, instance, 'lease_expired'))) {
      const heardAt = record === undefined ? clock.now() : Date.parse(record.last_heartbeat);
      emit('agent.stale', { agent, instance, silent_ms: Math.max(0, clock.now() - heardAt) });
      emit('agent.left', { agent, instance, reason: 'lease_expired' });
    }
    await store.forget(instance);
  }

  /** Removes the records of agents that have been gone for long. */
  async #clear(): Promise<void> {
    const { store, clock } = this.#parts;
    this.#clearAt = clock.monotonic() + CLEAR_MS;
    for (const record of await store.all()) {
      const silentMs = clock.now() - Date.parse(record.last_heartbeat);
      if (record.status !== 'offline' || silentMs < KEEP_OFFLINE_MS) continue;
      await store.leave(record.agent_id, record.instance, 'stopped');
    }
  }

  #fail(error: unknown): void {
    this.#parts.emit('loop.failed', { loop: 'reaper', error: errorRecord(error).message });
  }
}
