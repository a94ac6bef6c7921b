/** Starts programs for the reference agents: never a shell, a small clean environment, bounded output,
 *  and the whole process group gone when the task ends, however it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { quoted, ReferenceFailure } from './errors.js';
import { offLeash, onLeash } from './leash.js';

export interface CommandOptions {
  readonly cwd: string;
  /** Aborting kills the process group and rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** The process group is killed after this; the result then says `timedOut`. Default 120 s. */
  readonly timeoutMs?: number;
  /** Added to the clean environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Bytes kept from the start of each stream. Default 64 KiB. */
  readonly headBytes?: number;
  /** Bytes kept from the end of each stream once the head is full. Default 0. */
  readonly tailBytes?: number;
}

export interface CommandResult {
  /** `null` when a signal ended it. */
  readonly exitCode: number | null;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
  /** Both streams in order of arrival. */
  readonly output: string;
  /** True when bytes were dropped from either stream. */
  readonly truncated: boolean;
  readonly durationMs: number;
}

// A child gets these and nothing else: broker and store credentials live in the agent's environment,
// and GIT_DIR (set when Muster runs from a git hook) would point every git command at another repository.
const inherited = ['PATH', 'HOME', 'TMPDIR', 'TEMP', 'TMP', 'LANG', 'SystemRoot', 'ComSpec', 'PATHEXT'];
const inheritedGit = ['GIT_CONFIG_GLOBAL', 'GIT_CONFIG_SYSTEM', 'GIT_CONFIG_NOSYSTEM'];
const graceMs = 2_000;
const living = new Set<number>();
let guarded = false;

/**
 * Runs `program` with `args` and waits for it. A non-zero exit is a result, not an error.
 * Rejects with `COMMAND_MISSING` when the program cannot be started, or with the signal's reason.
 */
export function runCommand(program: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  options.signal.throwIfAborted();
  killLivingAtExit();
  const startedAt = performance.now();
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...cleanEnvironment(), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: false,
    detached: true, // its own process group, so that grandchildren die with it
  });
  if (child.pid !== undefined) {
    living.add(child.pid);
    onLeash(child.pid);
  }
  const streams = [capture(child.stdout, options), capture(child.stderr, options)] as const;
  const both = capture(child.stdout, options);
  child.stderr.on('data', both.add);

  return new Promise((resolve, reject) => {
    let timedOut = false;
    const abort = () => endGroup(child);
    const timer = setTimeout(() => {
      timedOut = true;
      endGroup(child);
    }, options.timeoutMs ?? 120_000);
    options.signal.addEventListener('abort', abort, { once: true });
    const settle = () => {
      clearTimeout(timer);
      options.signal.removeEventListener('abort', abort);
      if (child.pid === undefined) return;
      living.delete(child.pid);
      offLeash(child.pid);
    };

    child.once('error', (cause) => {
      settle();
      reject(missing(program, options.cwd, cause));
    });
    child.once('exit', () => {
      // What the program left running in the background must not outlive the task or hold the pipes open.
      killGroup(child, 'SIGKILL');
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, 1_000).unref();
    });
    child.once('close', (exitCode) => {
      settle();
      if (options.signal.aborted) return reject(options.signal.reason);
      resolve({
        exitCode,
        timedOut,
        stdout: streams[0].text(),
        stderr: streams[1].text(),
        output: both.text(),
        truncated: streams.some((stream) => stream.truncated()),
        durationMs: Math.round(performance.now() - startedAt),
      });
    });
  });
}

function cleanEnvironment(): Record<string, string> {
  const kept = [...inherited, ...inheritedGit].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(kept), LC_ALL: 'C.UTF-8', CI: '1', NO_COLOR: '1' };
}

function capture(stream: NodeJS.ReadableStream, options: CommandOptions) {
  const headBytes = options.headBytes ?? 64 * 1024;
  const tailBytes = options.tailBytes ?? 0;
  const head: Buffer[] = [];
  let tail: Buffer[] = [];
  let headSize = 0;
  let tailSize = 0;
  let dropped = 0;
  const add = (chunk: Buffer) => {
    const toHead = chunk.subarray(0, headBytes - headSize);
    const toTail = chunk.subarray(toHead.length);
    if (toHead.length > 0) head.push(toHead);
    headSize += toHead.length;
    if (toTail.length === 0) return;
    tail.push(toTail);
    tailSize += toTail.length;
    // Compacted only now and then: one copy per chunk would cost the square of the output.
    if (tailSize > 2 * tailBytes + 64 * 1024) compact();
  };
  const compact = () => {
    if (tailSize <= tailBytes) return;
    dropped += tailSize - tailBytes;
    tail = tailBytes === 0 ? [] : [Buffer.from(Buffer.concat(tail).subarray(-tailBytes))];
    tailSize = tailBytes;
  };
  stream.on('data', add);
  return {
    add,
    truncated: () => {
      compact();
      return dropped > 0;
    },
    text: () => {
      compact();
      const gap = dropped > 0 ? `\n… ${dropped} bytes left out …\n` : '';
      return Buffer.concat(head).toString('utf8') + gap + Buffer.concat(tail).toString('utf8');
    },
  };
}

function endGroup(child: ChildProcess): void {
  killGroup(child, 'SIGTERM');
  setTimeout(() => {
    if (child.exitCode === null && child.signalCode === null) killGroup(child, 'SIGKILL');
  }, graceMs).unref();
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ESRCH: the group is already empty, which is what was wanted.
  }
}

function killLivingAtExit(): void {
  if (guarded) return;
  guarded = true;
  process.on('exit', () => {
    for (const pid of living) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // Already gone.
      }
    }
  });
}

function missing(program: string, cwd: string, cause: unknown): ReferenceFailure {
  return new ReferenceFailure(
    'COMMAND_MISSING',
    {
      why: `The program ${quoted(program)} could not be started in ${quoted(cwd)}.`,
      effect: 'Nothing was run.',
      next: 'Install it, or put it on the PATH of the agent.',
    },
    cause,
  );
}
