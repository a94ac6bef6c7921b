// The event feed: what this process announces, published to `muster.event` as long as someone listens. Nobody listening costs one
// message per kind and two seconds: the broker returns it, and that kind is muted. A new subscriber says so on the broadcast.
import { eventKey, exchangeName } from '../bus/topology.js';
import type { EventRecord } from '../contracts/events.js';
import type { Bus, Cancel, Clock } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';

const MUTE_MS = 2000;
/** Said in every process many times a second, and of use to metrics only. */
const LOCAL: ReadonlySet<string> = new Set(['registry.lookup', 'loop.failed', 'bus.state', 'store.state']);

export class EventFeed {
  readonly #mutedUntil = new Map<string, number>();
  readonly #parts: { bus: Bus; clock: Clock; prefix: string };
  readonly #off: Cancel;

  constructor(parts: { bus: Bus; clock: Clock; prefix: string; emitter: Emitter }) {
    this.#parts = parts;
    this.#off = parts.emitter.on((record) => this.#forward(record));
  }

  #forward(record: EventRecord): void {
    const { event } = record;
    if (LOCAL.has(event)) return;
    const { bus, clock, prefix } = this.#parts;
    const muted = this.#mutedUntil.get(event);
    if (muted !== undefined && clock.monotonic() < muted) return;
    if (bus.state !== 'ready') return;
    const message = {
      exchange: exchangeName(prefix, 'event'),
      routingKey: eventKey(event),
      body: Buffer.from(JSON.stringify(record)),
      persistent: false,
      type: event,
    } as const;
    bus.send(message, () => this.#mutedUntil.set(event, clock.monotonic() + MUTE_MS));
  }

  /** Someone began to listen: nothing is muted now. */
  wanted(): void {
    this.#mutedUntil.clear();
  }

  stop(): void {
    this.#off();
  }
}
