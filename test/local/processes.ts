/**
 * What the tests of private servers look at from outside: processes, ports, and a program to kill.
 * Reads /proc or ps, never the code under test, except to tell a reused pid from the process meant.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, mark, type ProcessMark } from '../../src/local/stale.js';

/** Every process below `pid`, at any depth. */
export function descendants(pid: number): ProcessMark[] {
  const parents = existsSync('/proc/self/stat') ? parentsFromProc() : parentsFromPs();
  const below = (parent: number): number[] =>
    parents.filter((entry) => entry.parent === parent).flatMap((entry) => [entry.pid, ...below(entry.pid)]);
  return below(pid)
    .map(mark)
    .filter((process) => process.startedAt !== '');
}

export function stillRunning(processes: readonly ProcessMark[]): number[] {
  return processes.filter(isRunning).map((process) => process.pid);
}

export interface Announcement {
  readonly amqpUrl: string;
  readonly redisUrl: string;
  readonly pids: { readonly guard: number; readonly rabbitmq: number; readonly redis: number };
}

/** A program that has started private servers and now waits. */
export async function startParent(options: {
  directory: string;
  keepData: boolean;
}): Promise<{ program: ChildProcess; pid: number; announced: Announcement }> {
  const program = spawn(process.execPath, [join(__dirname, 'parent.cjs'), JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const announced = await new Promise<Announcement>((resolve, reject) => {
    let text = '';
    program.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.endsWith('\n')) resolve(JSON.parse(text) as Announcement);
    });
    program.once('exit', (code) => reject(new Error(`The parent ended with ${code} before its servers were ready`)));
  });
  return { program, pid: program.pid!, announced };
}

function parentsFromProc(): { pid: number; parent: number }[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
        return [{ pid: Number(entry), parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) }];
      } catch {
        return [];
      }
    });
}

function parentsFromPs(): { pid: number; parent: number }[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => {
    const [pid, parent] = line.trim().split(/\s+/).map(Number);
    return { pid: pid!, parent: parent! };
  });
}
