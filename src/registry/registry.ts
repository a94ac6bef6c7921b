// The registry: who is there, what they can do and how busy they are, answered at once from a live view of the store.
// When the store is away the last known view goes on answering, and says since when it is stale.
import type { AgentMatch, AgentQuery, AgentRecord } from '../contracts/agent.js';
import type { EventName, MusterEvents } from '../contracts/events.js';
import { matchAgents } from '../decide/match.js';
import { errorRecord } from '../errors.js';
import type { AgentStore, Cancel, Clock, RegistryChange } from '../ports.js';
import { View } from './view.js';

export type Emit = <N extends EventName>(event: N, data: MusterEvents[N]) => void;

export interface RegistryParts {
  readonly store: AgentStore;
  readonly clock: Clock;
  readonly emit: Emit;
  /** Whether this process announces agent.* and queue.* events. One process per fleet should; asked at each change. Default never. */
  readonly announces?: () => boolean;
}

/** `since`: ms of the last moment the view was known to be right. */
export type Freshness = { readonly stale: false } | { readonly stale: true; readonly since: number | undefined };

/** A notification may be lost (pub/sub promises nothing): everything is read anew this often. */
const REFRESH_MS = 5000;
/** While somebody asks, the load of the agents is never older than this. */
const BUSY_REFRESH_MS = 1000;
const ASKED_WITHIN_MS = 5000;
/** Reading a very large fleet may take a while; at most this share of the time is spent on it. */
const DUTY = 1 / 20;

export class Registry {
  readonly #parts: RegistryParts;
  readonly #view: View;
  #unsubscribe: Cancel | undefined;
  #timer: Cancel | undefined;
  #running = false;
  #refreshing: Promise<void> | undefined;
  /** Changes that arrived while a refresh was reading: what it read may be older than they are. */
  #late: RegistryChange[] = [];
  #knownAt: number | undefined;
  #failing = true;
  #tried = false;
  #askedAt = Number.NEGATIVE_INFINITY;
  #tookMs = 0;

  constructor(parts: RegistryParts) {
    this.#parts = parts;
    this.#view = new View((event, data) => {
      if (parts.announces?.() === true) parts.emit(event, data);
    });
  }

  /** Loads the view and follows changes. Does not reject when the store is away: the view is then empty and stale until it is back. */
  async start(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    await this.#turn();
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#timer?.();
    await this.#refreshing?.catch(() => undefined);
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }

  /** Agents that answer the query, best first, each with its score explained. */
  find(query: AgentQuery): AgentMatch[] {
    const { clock, emit } = this.#parts;
    const from = clock.monotonic();
    const found = matchAgents(this.#view.withAll(query.capabilities ?? []) ?? this.#view.all(), query);
    this.#asked();
    emit('registry.lookup', { duration_ms: clock.monotonic() - from, found: found.length });
    return found;
  }

  get(id: string): AgentRecord | undefined {
    this.#asked();
    return this.#view.get(id);
  }

  /** Everybody who offers it, in no particular order, also those who are busy, draining or offline. */
  byCapability(name: string): AgentRecord[] {
    this.#asked();
    return [...this.#view.byCapability(name)];
  }

  all(): AgentRecord[] {
    this.#asked();
    return [...this.#view.all()];
  }

  /** Agents known, offline ones too. */
  get size(): number {
    return this.#view.size;
  }

  isPaused(capability: string): boolean {
    return this.#view.paused.has(capability);
  }

  get freshness(): Freshness {
    return this.#failing ? { stale: true, since: this.#knownAt } : { stale: false };
  }

  /** Reads everything anew now. Rejects when the store is away; the view stays as it was. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#read().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #read(): Promise<void> {
    const { store, clock } = this.#parts;
    const from = clock.monotonic();
    this.#late = [];
    try {
      this.#unsubscribe ??= await store.onChange((change) => this.#follow(change));
      const [records, paused] = await Promise.all([store.all(), store.paused()]);
      this.#view.replace(records, paused, this.#late);
      this.#knownAt = clock.now();
      this.#failing = false;
      this.#tookMs = clock.monotonic() - from;
    } catch (error) {
      this.#failing = true;
      throw error;
    }
  }

  #follow(change: RegistryChange): void {
    if (this.#refreshing !== undefined) this.#late.push(change);
    this.#view.apply(change);
  }

  async #turn(): Promise<void> {
    const told = this.#failing && this.#tried;
    try {
      await this.refresh();
    } catch (error) {
      // Told once per outage: it is tried again every second.
      if (!told) this.#parts.emit('loop.failed', { loop: 'registry', error: errorRecord(error).message });
    }
    this.#tried = true;
    if (this.#running) this.#wait();
  }

  #wait(): void {
    const asked = this.#parts.clock.monotonic() - this.#askedAt < ASKED_WITHIN_MS;
    const ms = Math.max(asked || this.#failing ? BUSY_REFRESH_MS : REFRESH_MS, this.#tookMs / DUTY);
    this.#timer = this.#parts.clock.after(ms, () => void this.#turn());
  }

  #asked(): void {
    const { clock } = this.#parts;
    const before = this.#askedAt;
    this.#askedAt = clock.monotonic();
    // The first question after a quiet time: the load known is up to 5 s old, so it is read now rather than at the next turn.
    if (this.#running && this.#refreshing === undefined && this.#askedAt - before >= ASKED_WITHIN_MS) {
      this.#timer?.();
      void this.#turn();
    }
  }
}
