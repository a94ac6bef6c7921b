// Waiting with an end: what was submitted goes on, only the command stops waiting.
import type { Client } from '../agent/client.js';

export async function within<T>(client: Client, ms: number, work: Promise<T>): Promise<T | 'timeout'> {
  const { clock } = client.instance.ports;
  let cancel: (() => void) | undefined;
  // Nobody may listen any more when the client is closed under it.
  work.catch(() => undefined);
  const late = new Promise<'timeout'>((resolve) => {
    // Timers of more than 24 days would fire at once.
    cancel = clock.after(Math.min(ms, 2_147_000_000), () => resolve('timeout'));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    cancel?.();
  }
}

/** Calls `look` every `ms` until cancelled; a look that fails is skipped. */
export function everySoOften(client: Client, ms: number, look: () => Promise<void>): () => void {
  const { clock } = client.instance.ports;
  let stopped = false;
  let cancel: (() => void) | undefined;
  const turn = (): void => {
    cancel = clock.after(ms, () => {
      look()
        .catch(() => undefined)
        .finally(() => {
          if (!stopped) turn();
        });
    });
  };
  turn();
  return () => {
    stopped = true;
    cancel?.();
  };
}
