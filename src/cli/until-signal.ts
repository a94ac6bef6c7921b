/** Ctrl-C and its relatives for commands that stay up: the first asks them to end in order, one much later ends them at once.
 *  Whatever is still running then is ended by the guards. */
import { constants } from 'node:os';

// A terminal sends Ctrl-C to us and to npm, which sends it again: what follows at once is the same wish, not impatience.
const SAME_WISH_MS = 2_000;

export interface Ending {
  /** Aborts with the first signal; `signal.reason` is its name. */
  readonly signal: AbortSignal;
  /** Conventional exit code of a program ended by that signal. */
  readonly exitCode: number;
  readonly isWanted: boolean;
}

/** Listens from now on, until the process ends. */
export function awaitEnding(): Ending {
  const controller = new AbortController();
  let exitCode = 0;
  let firstAt = 0;
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      if (performance.now() - firstAt > SAME_WISH_MS) process.exit(exitCode);
      return;
    }
    firstAt = performance.now();
    exitCode = 128 + constants.signals[name];
    controller.abort(name);
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
  // Started by a program that holds a channel to us, as `npm start` does: its death is a signal too.
  if (process.channel !== undefined) {
    process.once('disconnect', () => onSignal('SIGHUP'));
    process.channel?.unref();
  }
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    get isWanted() {
      return controller.signal.aborted;
    },
  };
}

/** Resolves with the first signal. Keeps the process alive until then. */
export function untilWanted({ signal }: Ending): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const alive = setInterval(() => undefined, 60_000);
    signal.addEventListener(
      'abort',
      () => {
        clearInterval(alive);
        resolve();
      },
      { once: true },
    );
  });
}

/** Waits for what starts; a signal ends this process at once instead, and the guards end whatever has been started by then. */
export async function unlessWanted<T>(ending: Ending, starting: Promise<T>, before: () => void): Promise<T> {
  const over = new AbortController();
  const onWanted = (): void => {
    before();
    process.exit(ending.exitCode);
  };
  ending.signal.addEventListener('abort', onWanted, { signal: over.signal });
  if (ending.isWanted) onWanted();
  try {
    return await starting;
  } finally {
    over.abort();
  }
}
