// The event feed: what this process announces, published to `muster.event` as long as someone listens. Whether someone does is tried
// with the first event of a kind: the broker returns it when nobody takes it, and that kind is muted for two seconds. Until the
// answer is sure the others wait. A new subscriber says so on the broadcast, and nothing is muted then.
import { eventKey, exchangeName } from '../bus/topology.js';
import { EVENT_NAMES, type EventName, type EventRecord } from '../contracts/events.js';
import type { Bus, Cancel, Clock } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';

const MUTE_MS = 2000;
/** A return comes with the broker's next answer: after this long without one, somebody listens. */
const PROBE_MS = 100;
/** Events that wait for a probe's answer; more of one kind in so short a time are left out. */
const MOST_WAITING = 1000;
/** Said in every process many times a second, and of use to metrics only. */
const LOCAL: ReadonlySet<EventName> = new Set(['registry.lookup', 'loop.failed', 'bus.state', 'store.state']);

type Listening = 'unknown' | 'probing' | 'yes' | { readonly mutedUntil: number };
interface Kind {
  listening: Listening;
  readonly waiting: EventRecord[];
}

export class EventFeed {
  readonly #kinds = new Map<EventName, Kind>();
  readonly #parts: { bus: Bus; clock: Clock; prefix: string };
  readonly #off: Cancel;

  constructor(parts: { bus: Bus; clock: Clock; prefix: string; emitter: Emitter }) {
    this.#parts = parts;
    for (const name of EVENT_NAMES) if (!LOCAL.has(name)) this.#kinds.set(name, { listening: 'unknown', waiting: [] });
    this.#off = parts.emitter.on(
      (record) => this.#forward(record),
      (event) => this.#wants(event),
    );
  }

  #wants(event: EventName): boolean {
    const listening = this.#kinds.get(event)?.listening;
    if (listening === undefined) return false;
    return typeof listening === 'string' || this.#parts.clock.monotonic() >= listening.mutedUntil;
  }

  #forward(record: EventRecord): void {
    const kind = this.#kinds.get(record.event);
    if (kind === undefined || this.#parts.bus.state !== 'ready') return;
    if (kind.listening === 'probing') {
      if (kind.waiting.length < MOST_WAITING) kind.waiting.push(record);
      return;
    }
    if (kind.listening !== 'yes') this.#probe(kind);
    this.#send(record, kind);
  }

  #probe(kind: Kind): void {
    kind.listening = 'probing';
    this.#parts.clock.after(PROBE_MS, () => {
      if (kind.listening !== 'probing') return;
      kind.listening = 'yes';
      for (const record of kind.waiting.splice(0)) this.#send(record, kind);
    });
  }

  #send(record: EventRecord, kind: Kind): void {
    const { bus, clock, prefix } = this.#parts;
    const message = {
      exchange: exchangeName(prefix, 'event'),
      routingKey: eventKey(record.event),
      body: Buffer.from(JSON.stringify(record)),
      persistent: false,
      type: record.event,
    } as const;
    bus.send(message, () => {
      kind.listening = { mutedUntil: clock.monotonic() + MUTE_MS };
      kind.waiting.length = 0;
    });
  }

  /** Someone began to listen: nothing is muted now. */
  wanted(): void {
    for (const kind of this.#kinds.values()) {
      kind.listening = 'yes';
      for (const record of kind.waiting.splice(0)) this.#send(record, kind);
    }
  }

  stop(): void {
    this.#off();
  }
}
