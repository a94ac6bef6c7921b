// How busy an agent's slots are over time: what muster_agent_utilisation is computed from.
// The agent says when the number changes; slot-seconds are summed up between.
import type { Clock } from '../ports.js';

export interface SlotReading {
  readonly slots: number;
  readonly busy: number;
  readonly slotSeconds: number;
  readonly busySeconds: number;
  /** busySeconds by slotSeconds of the last minute, or since the last reading before that. */
  readonly utilisation: number;
}

export interface SlotMeter {
  /** From now on there are `slots`, of which `busy` are taken. */
  set(slots: number, busy: number): void;
  read(): SlotReading;
}

const WINDOW_MS = 60_000;

export function createSlotMeter(clock: Clock): SlotMeter {
  let slots = 0;
  let busy = 0;
  let slotMs = 0;
  let busyMs = 0;
  let sinceMs = clock.monotonic();
  // Readings of the window, oldest first; the first is the last one older than the window.
  let marks = [{ atMs: sinceMs, slotMs, busyMs }];

  function settle(): void {
    const nowMs = clock.monotonic();
    slotMs += slots * (nowMs - sinceMs);
    busyMs += busy * (nowMs - sinceMs);
    sinceMs = nowMs;
  }

  function set(newSlots: number, newBusy: number): void {
    settle();
    slots = newSlots;
    busy = newBusy;
  }

  function read(): SlotReading {
    settle();
    const start = marks.findLastIndex((mark) => mark.atMs <= sinceMs - WINDOW_MS);
    marks = [...marks.slice(Math.max(0, start)), { atMs: sinceMs, slotMs, busyMs }];
    const from = marks[0]!;
    const offered = slotMs - from.slotMs;
    const utilisation = offered > 0 ? (busyMs - from.busyMs) / offered : 0;
    return { slots, busy, slotSeconds: slotMs / 1000, busySeconds: busyMs / 1000, utilisation };
  }

  return { set, read };
}
