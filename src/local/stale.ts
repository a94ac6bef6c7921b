/**
 * The record of one run of private servers, and the sweep that clears what a run left when even its guard was cut off
 * (power loss, a killed container). A process counts as ours only if its start time matches: pids are reused.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export const RUN_RECORD = 'run.json';

const GUARD_GRACE_MS = 15_000;

export interface ProcessMark {
  readonly pid: number;
  readonly startedAt: string;
}

export interface RunRecord {
  readonly owner: ProcessMark;
  readonly guard: ProcessMark;
  readonly groups: readonly ProcessMark[];
  readonly containers: readonly { readonly engine: string; readonly name: string }[];
}

/** A pid with the time its process started; the time is empty if the process is already gone. */
export function mark(pid: number): ProcessMark {
  return { pid, startedAt: startTime(pid) ?? '' };
}

export function isRunning(process: ProcessMark): boolean {
  return process.startedAt !== '' && startTime(process.pid) === process.startedAt;
}

export function writeRunRecord(directory: string, record: RunRecord): void {
  writeFileSync(join(directory, RUN_RECORD), `${JSON.stringify(record)}\n`, { mode: 0o600 });
}

/** Clears a dead run's leftovers from `directory`; throws if that run is alive. */
export async function sweepStaleRun(directory: string, log: (line: string) => void): Promise<void> {
  const record = readRunRecord(directory);
  if (!record) return;
  if (isRunning(record.owner)) {
    throw new Error(
      `Process ${record.owner.pid} already runs its servers in ${directory}. Two brokers on the same data would corrupt it, ` +
        `so nothing was started. Next: stop that one (\`kill ${record.owner.pid}\`) or use another directory.`,
    );
  }
  // The dead run's guard may still be giving its broker time to write; killing both now would turn a clean stop into a crash.
  const deadline = performance.now() + GUARD_GRACE_MS;
  while (isRunning(record.guard) && performance.now() < deadline) await delay(50);
  const left = [record.guard, ...record.groups].filter(isRunning);
  for (const process of left) killGroup(process.pid);
  for (const { engine, name } of record.containers) await removeContainer(engine, name);
  while (left.some(isRunning)) await delay(20);
  rmSync(join(directory, RUN_RECORD), { force: true });
  if (left.length > 0)
    log(`Servers: ended ${left.length} processes that a run cut off earlier had left in ${directory}`);
}

/** Kills a process group; one that is already gone is no error. */
export function killGroup(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readRunRecord(directory: string): RunRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, RUN_RECORD), 'utf8')) as RunRecord;
  } catch {
    // Missing, or cut off in the middle of a write: either way there is nobody to name, and the ports decide.
    return undefined;
  }
}

function removeContainer(engine: string, name: string): Promise<void> {
  return new Promise((resolve) => execFile(engine, ['rm', '-f', name], { timeout: 10_000 }, () => resolve()));
}

function startTime(pid: number): string | undefined {
  try {
    return process.platform === 'linux' ? startTimeFromProc(pid) : startTimeFromPs(pid);
  } catch {
    return undefined;
  }
}

function startTimeFromProc(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may itself hold spaces and brackets: count fields after the last one. State is field 3, start 22.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie has ended; waiting for its parent to notice could take for ever in a container whose init does not.
  if (fields[0] === 'Z') return undefined;
  // Ticks count from boot: without the boot's id a process of the next boot could match.
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${fields[19]}`;
}

function startTimeFromPs(pid: number): string | undefined {
  const started = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
  return started === '' ? undefined : started;
}
