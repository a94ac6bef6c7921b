// Announcing events: every service emits here once; logs, metrics, traces and the live feed listen.
// With nobody listening an emit is one comparison; a listener that throws disturbs neither the emitter nor the others.
import type { EventName, EventRecord, MusterEvents } from '../contracts/events.js';
import type { Cancel, Clock } from '../ports.js';

export type EventListener = (record: EventRecord) => void;

export interface Emitter {
  /** Tells every listener, at once and in order of their `on`. Never throws. The data is copied: it may be reused after. */
  emit<N extends EventName>(event: N, data: MusterEvents[N]): void;
  /**
   * Hears every event from now on. A listener must return quickly: it runs inside the emit. `wants` is asked before an event is made
   * for this listener, and kept cheap, since most events nobody wants.
   */
  on(listener: EventListener, wants?: (event: EventName) => boolean): Cancel;
}

interface Seat {
  readonly listener: EventListener;
  readonly wants: ((event: EventName) => boolean) | undefined;
  faulty: boolean;
}

/** `source` names the emitting process in every record: an agent id, `manager`, `cli`. */
export function createEmitter(source: string, clock: Clock): Emitter {
  // Replaced, never changed: an emit under way keeps the list it began with.
  let seats: readonly Seat[] = [];
  let atMs = Number.NaN;
  let at = '';

  function make<N extends EventName>(event: N, data: MusterEvents[N]): EventRecord {
    // Many events share a millisecond: its text is made once.
    const nowMs = clock.now();
    if (nowMs !== atMs) {
      atMs = nowMs;
      at = new Date(nowMs).toISOString();
    }
    return { event, at, source, ...data } as unknown as EventRecord;
  }

  function emit<N extends EventName>(event: N, data: MusterEvents[N]): void {
    let record: EventRecord | undefined;
    for (const seat of seats) {
      if (seat.wants !== undefined && !seat.wants(event)) continue;
      record ??= make(event, data);
      try {
        seat.listener(record);
      } catch (error) {
        report(seat, error);
      }
    }
  }

  // Once per listener: one that throws at every event would otherwise double the traffic, or never end.
  function report(seat: Seat, error: unknown): void {
    if (seat.faulty) return;
    seat.faulty = true;
    emit('loop.failed', { loop: `listener ${seat.listener.name || 'unnamed'}`, error: String(error).slice(0, 2000) });
  }

  function on(listener: EventListener, wants?: (event: EventName) => boolean): Cancel {
    const seat = { listener, wants, faulty: false };
    seats = [...seats, seat];
    return () => {
      seats = seats.filter((other) => other !== seat);
    };
  }

  return { emit, on };
}
