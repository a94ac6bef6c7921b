// Waiting with an end: for answers a broker in trouble never gives.
import type { Clock } from '../ports.js';

/** Resolves when `promise` is settled, either way, or after `ms`. Leaves no timer behind, which would hold the process. */
export function within(clock: Clock, ms: number, promise: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, resolve);
    const settled = () => {
      cancel();
      resolve();
    };
    promise.then(settled, settled);
  });
}
