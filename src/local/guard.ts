/**
 * Keeps private servers on a leash: a shell outside their process groups ends them when this process ends, however it ends.
 * Modes: watching (its stdin is open) -> finishing (stdin closed: TERM if there is grace, then KILL, then remove) -> gone.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { killGroup, mark, type ProcessMark, RUN_RECORD, writeRunRecord } from './stale.js';

// Over this size a log is set aside at the next start, so a directory kept for months does not fill the disk.
const LOG_LIMIT_BYTES = 5_000_000;
const EXIT_MS = 10_000;

// Nobody has to tell it that we died: the kernel closes our end of its stdin. It is no member of any group it kills, so it
// outlives them and removes the directory when nobody can write there any more. INT, TERM and HUP are ignored: a signal to
// everything in a session must not kill the guard before what it guards. A zombie counts as gone: once we are dead its new
// parent may be slow to collect it, or never do so.
const GUARD = `
directory=$1 keep=$2 grace=$3 groups= polite= containers=
trap '' HUP INT TERM
without() { for one in $1; do [ "$one" = "$2" ] || printf ' %s' "$one"; done; }
state() { state=; [ -r "/proc/$1/stat" ] && { read -r _ _ state _ <"/proc/$1/stat"; } 2>/dev/null; }
alive() { for one in $1; do kill -0 -"$one" 2>/dev/null && { state "$one"; [ "$state" = Z ] || return 0; }; done; return 1; }
linger() { left=$2; while [ "$left" -gt 0 ] && alive "$1"; do sleep 0.02; left=$((left - 1)); done; }
while read -r verb subject rest; do
  case $verb in
    group) groups="$groups $subject" ;;
    polite) polite="$polite $subject" ;;
    ended) groups=$(without "$groups" "$subject") polite=$(without "$polite" "$subject") ;;
    container) containers="$containers $subject:$rest" ;;
  esac
done
if [ "$grace" -gt 0 ]; then
  for one in $polite; do kill -CONT -"$one"; kill -TERM "$one"; done 2>/dev/null
  linger "$polite" "$grace"
fi
for one in $containers; do
  [ "$grace" -gt 0 ] && "\${one%%:*}" stop -t 8 "\${one#*:}"
  "\${one%%:*}" rm -f "\${one#*:}"
done >/dev/null 2>&1
for one in $groups; do kill -KILL -"$one"; done 2>/dev/null
linger "$groups" 100
if [ "$keep" = yes ]; then rm -f "$directory/${RUN_RECORD}"; exit; fi
left=100
while [ "$left" -gt 0 ] && [ -e "$directory" ]; do rm -rf "$directory" 2>/dev/null || sleep 0.02; left=$((left - 1)); done
`;

// Waits for one line before it becomes the server. We send it only after the guard knows the pid: killed between spawning
// and telling, we would otherwise leave a server that nobody knows of.
const LEASH = 'read -r go && exec "$@" </dev/null';

export interface Launch {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Ends in good order on TERM, so it deserves the grace period. */
  readonly polite: boolean;
  /** Set when the command is a container engine's client: the container, not the client, is what must end. */
  readonly container?: { readonly engine: string; readonly name: string };
}

export interface Running {
  readonly pid: number;
  readonly logFile: string;
  /** Length of the log when this process started: what comes before belongs to an earlier one. */
  readonly logStart: number;
  readonly hasExited: boolean;
  readonly exited: Promise<void>;
  signal(signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void;
  /** Resolves once it has ended; rejects if it is still there after `withinMs`. */
  ended(withinMs?: number): Promise<void>;
}

export interface Guard {
  readonly pid: number;
  launch(launch: Launch): Running;
  /** Ends everything, waits until it is gone. Safe to call twice. */
  stop(): Promise<void>;
}

export interface GuardOptions {
  readonly directory: string;
  readonly keepData: boolean;
  /** How long servers may take to end by themselves; 0 kills them at once. */
  readonly graceMs: number;
}

export function startGuard({ directory, keepData, graceMs }: GuardOptions): Guard {
  mkdirSync(join(directory, 'log'), { recursive: true, mode: 0o700 });
  const graceSteps = String(Math.ceil(graceMs / 20));
  const shell = spawnDetached(
    ['-c', GUARD, 'muster-guard', directory, keepData ? 'yes' : 'no', graceSteps],
    // Only what it needs to find rm, sleep and the container engine; its own working directory must not pin a mount.
    { stdio: ['pipe', 'ignore', 'ignore'], cwd: '/', env: { PATH: searchPath(), ...containerEnvironment() } },
  );
  const running = new Map<number, { process: ProcessMark; handle: Running; container: Launch['container'] }>();
  const guardMark = mark(shell.pid);
  const owner = mark(process.pid);
  let stopping: Promise<void> | undefined;
  let isWatching = true;

  const tell = (line: string) => {
    if (isWatching) shell.stdin.write(`${line}\n`);
  };
  const record = () => {
    if (!isWatching) return;
    const all = [...running.values()];
    writeRunRecord(directory, {
      owner,
      guard: guardMark,
      groups: all.map((one) => one.process),
      containers: all.flatMap((one) => (one.container ? [one.container] : [])),
    });
  };
  // Someone killed the guard itself: end the servers now, while we still can, rather than leave them unguarded.
  shell.once('exit', () => {
    if (!isWatching) return;
    isWatching = false;
    for (const { handle } of running.values()) handle.signal('SIGKILL');
    if (!keepData) rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  shell.stdin.on('error', () => {});
  record();

  return {
    pid: shell.pid,
    launch(launch) {
      const logFile = join(directory, 'log', `${launch.name}.log`);
      const logStart = setAsideLongLog(logFile);
      const log = openSync(logFile, 'a', 0o600);
      const child = spawnDetached(['-c', LEASH, launch.name, launch.command, ...launch.args], {
        stdio: ['pipe', log, log],
        cwd: directory,
        env: launch.env,
      });
      closeSync(log);
      child.stdin.on('error', () => {});
      tell(`group ${child.pid}`);
      if (launch.polite && !launch.container) tell(`polite ${child.pid}`);
      if (launch.container) tell(`container ${launch.container.engine} ${launch.container.name}`);
      const handle = leash(child, logFile, logStart, launch);
      running.set(child.pid, { process: mark(child.pid), handle, container: launch.container });
      record();
      void handle.exited.then(() => {
        running.delete(child.pid);
        tell(`ended ${child.pid}`);
        record();
      });
      child.stdin.end('go\n');
      return handle;
    },
    stop() {
      stopping ??= (async () => {
        const gone = new Promise<void>((resolve) => {
          if (shell.exitCode !== null || shell.signalCode !== null) resolve();
          else shell.once('exit', () => resolve());
        });
        isWatching = false;
        shell.ref();
        shell.stdin.end();
        await gone;
        await Promise.all([...running.values()].map((one) => one.handle.ended()));
      })();
      return stopping;
    },
  };
}

function leash(child: LeashedProcess, logFile: string, logStart: number, { name, container }: Launch): Running {
  let hasExited = false;
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      hasExited = true;
      resolve();
    });
  });
  return {
    pid: child.pid,
    logFile,
    logStart,
    exited,
    get hasExited() {
      return hasExited;
    },
    signal(signal) {
      if (hasExited) return;
      if (container) execFile(container.engine, containerSignal(signal, container.name), () => {});
      // TERM goes to the leader, which ends its own children in order; the rest must reach every process of the server.
      else if (signal === 'SIGTERM') child.kill(signal);
      else killGroup(child.pid, signal);
    },
    async ended(withinMs = EXIT_MS) {
      const timer = new AbortController();
      // The child alone does not keep Node running; the timer does until we know.
      const late = delay(withinMs, 'late', { signal: timer.signal }).catch(() => 'cancelled');
      const first = await Promise.race([exited, late]);
      timer.abort();
      if (first === 'late') throw new Error(`${name} (process ${child.pid}) did not end within ${withinMs} ms.`);
    },
  };
}

function containerSignal(signal: string, name: string): string[] {
  if (signal === 'SIGSTOP') return ['pause', name];
  if (signal === 'SIGCONT') return ['unpause', name];
  return ['kill', '--signal', signal, name];
}

type LeashedProcess = ChildProcess & { readonly pid: number; readonly stdin: NonNullable<ChildProcess['stdin']> };

function spawnDetached(args: readonly string[], options: Parameters<typeof spawn>[2]): LeashedProcess {
  // Detached: its own session, so Ctrl-C in our terminal reaches us alone and the order of ending stays ours.
  const child = spawn('/bin/sh', [...args], { ...options, detached: true });
  child.on('error', () => {});
  if (child.pid === undefined || !child.stdin) {
    throw new Error('/bin/sh could not be started, so no private server can be guarded. Next: try `/bin/sh -c true`.');
  }
  // A program that forgets stop() still ends; the guard then sees our side close and cleans up.
  child.unref();
  (child.stdin as unknown as { unref?: () => void }).unref?.();
  return child as LeashedProcess;
}

/** The caller's PATH plus the system's own directories, which a service manager's short PATH may lack. */
export function searchPath(env: NodeJS.ProcessEnv = process.env): string {
  const own = (env.PATH ?? '').split(':').filter((part) => part !== '');
  return [...new Set([...own, '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'])].join(':');
}

/** What a container engine's client reads to find its engine. */
export function containerEnvironment(): Record<string, string> {
  const names = ['HOME', 'XDG_RUNTIME_DIR', 'DOCKER_HOST', 'DOCKER_CONTEXT', 'DOCKER_CONFIG', 'CONTAINER_HOST'];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name] as string]] : [])));
}

function setAsideLongLog(logFile: string): number {
  const size = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  if (size < LOG_LIMIT_BYTES) return size;
  renameSync(logFile, `${logFile}.old`);
  return 0;
}
