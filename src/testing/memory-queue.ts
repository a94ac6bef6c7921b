// A queue in memory, as RabbitMQ's quorum and exclusive classic queues behave: order, returns to the front, limits, time to live.
import type { Cancel, Clock, IncomingMessage, Topology } from '../ports.js';

/** A message in a queue. */
export interface Stored {
  readonly message: Omit<IncomingMessage, 'queue' | 'redelivered'>;
  /** Where it stands: one that is given back returns to its old place. */
  position: number;
  /** How often it was given back or lost with its consumer. */
  returns: number;
  expiresAt: number | undefined;
}

/** Someone who consumes from a queue. */
export interface Taker {
  hasRoom(): boolean;
  take(stored: Stored): void;
}

export type DeathReason = 'expired' | 'delivery_limit' | 'maxlen' | 'rejected';

export interface QueueEvents {
  /** A message leaves it unconsumed. */
  bury(queue: MemoryQueue, stored: Stored, reason: DeathReason): void;
  /** Nobody used it for as long as its arguments say. */
  lapsed(queue: MemoryQueue): void;
}

export class MemoryQueue {
  readonly spec: Topology['queues'][number];
  /** The handle an instance queue belongs to. */
  readonly owner: object | undefined;
  readonly takers: Taker[] = [];
  /** Dead letters no queue takes yet: kept, as at-least-once dead-lettering does. */
  stranded: { stored: Stored; reason: DeathReason }[] = [];
  readonly #clock: Clock;
  readonly #events: QueueEvents;
  #ready: Stored[] = [];
  #nextPosition = 0;
  #nextTaker = 0;
  #timer: Cancel | undefined;
  #lapse: Cancel | undefined;

  constructor(spec: Topology['queues'][number], owner: object | undefined, clock: Clock, events: QueueEvents) {
    this.spec = spec;
    this.owner = owner;
    this.#clock = clock;
    this.#events = events;
    this.used();
  }

  get size(): number {
    this.#expire();
    return this.#ready.length;
  }

  /** False if it is full and refuses. */
  accept(message: Stored['message']): boolean {
    const maxLength = this.number('x-max-length');
    if (maxLength !== undefined && this.#ready.length >= maxLength) {
      if (this.spec.arguments?.['x-overflow'] === 'reject-publish') return false;
      const oldest = this.#ready.shift();
      if (oldest !== undefined) this.#events.bury(this, oldest, 'maxlen');
    }
    const ttl = this.number('x-message-ttl');
    const expiresAt = ttl === undefined ? undefined : this.#clock.monotonic() + ttl;
    this.#ready.push({ message, position: this.#nextPosition++, returns: 0, expiresAt });
    this.#watchTime();
    return true;
  }

  /** Puts a delivery back to where it was, unless it came back too often. */
  requeue(stored: Stored): void {
    stored.returns += 1;
    const limit = this.number('x-delivery-limit');
    if (limit !== undefined && stored.returns > limit) {
      this.#events.bury(this, stored, 'delivery_limit');
      return;
    }
    let at = 0;
    while (at < this.#ready.length && this.#ready[at]!.position < stored.position) at += 1;
    this.#ready.splice(at, 0, stored);
    this.#watchTime();
  }

  /** Its consumer has no use for it: to the dead-letter exchange. */
  reject(stored: Stored): void {
    this.#events.bury(this, stored, 'rejected');
  }

  next(): Stored | undefined {
    this.#expire();
    return this.#ready.shift();
  }

  /** Hands messages to takers with room, in turn. */
  serve(): void {
    this.#expire();
    while (this.#ready.length > 0) {
      const taker = this.#freeTaker();
      if (taker === undefined) return;
      taker.take(this.#ready.shift()!);
    }
  }

  /** Someone declared it, bound it, got from it, or began or ceased to consume: the time until it lapses begins anew. */
  used(): void {
    this.#lapse?.();
    const expires = this.number('x-expires');
    const lapses = expires !== undefined && this.takers.length === 0;
    this.#lapse = lapses ? this.#clock.after(expires, () => this.#events.lapsed(this)) : undefined;
  }

  remove(): void {
    this.#timer?.();
    this.#lapse?.();
    this.#ready = [];
    this.stranded = [];
  }

  number(argument: string): number | undefined {
    const value = this.spec.arguments?.[argument];
    return typeof value === 'number' ? value : undefined;
  }

  #freeTaker(): Taker | undefined {
    for (let i = 0; i < this.takers.length; i++) {
      const at = (this.#nextTaker + i) % this.takers.length;
      const taker = this.takers[at]!;
      if (!taker.hasRoom()) continue;
      this.#nextTaker = at + 1;
      return taker;
    }
    return undefined;
  }

  #expire(): void {
    const now = this.#clock.monotonic();
    // Only from the front, as the broker does; with one time to live for all, the front is the oldest.
    while (this.#ready.length > 0 && (this.#ready[0]!.expiresAt ?? Number.POSITIVE_INFINITY) <= now) {
      this.#events.bury(this, this.#ready.shift()!, 'expired');
    }
  }

  #watchTime(): void {
    const expiresAt = this.#ready[0]?.expiresAt;
    if (expiresAt === undefined || this.#timer !== undefined) return;
    this.#timer = this.#clock.after(Math.max(0, expiresAt - this.#clock.monotonic()), () => {
      this.#timer = undefined;
      this.#expire();
      this.#watchTime();
    });
  }
}

/** What a consumer gets to see. */
export function incoming(stored: Stored, queue: MemoryQueue): IncomingMessage {
  const { message, returns } = stored;
  const counted = returns > 0 && queue.spec.kind === 'quorum';
  return {
    ...message,
    headers: counted ? { ...message.headers, 'x-delivery-count': returns } : { ...message.headers },
    queue: queue.spec.name,
    redelivered: returns > 0,
  };
}
