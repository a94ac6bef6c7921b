/**
 * Waits for what must become true, with a deadline and no fixed sleeps.
 * The failure shows the last thing seen, so that a slow machine and a wrong answer can be told apart.
 */
import { setTimeout as delay } from 'node:timers/promises';

export async function eventually<T>(
  look: () => T | Promise<T>,
  holds: (seen: T) => boolean,
  { withinMs = 5_000, everyMs = 20 }: { withinMs?: number; everyMs?: number } = {},
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (performance.now() > deadline) throw new Error(`Still not so after ${withinMs} ms: ${JSON.stringify(seen)}`);
    await delay(everyMs);
  }
}
