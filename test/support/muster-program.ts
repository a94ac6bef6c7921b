/** The program `muster` from dist/, run as a user runs it, and what can be seen of it from outside.
 *  Everything started here is ended, and every folder removed, after the file's last test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { settingsPath } from '../../src/config.js';
import type { ProcessMark } from '../../src/local/stale.js';
import { eventually } from './eventually.js';

export const root = resolve(__dirname, '../..');
const START_MS = 90_000;
/** Servers that keep their data are given eight seconds to write it. */
export const GONE = { withinMs: 20_000, everyMs: 50 };

export interface Program {
  readonly process: ChildProcess & { readonly pid: number };
  readonly out: () => string;
  readonly err: () => string;
  /** Resolves to the exit code. */
  readonly ended: Promise<number | null>;
}

const programs: Program[] = [];
const folders: string[] = [];

beforeAll(() => {
  // `npm test` has just built; by hand it is built when a source is newer.
  if (process.env.MUSTER_DIST_FRESH === '1') return;
  const { build } = require('../../scripts/prepare.cjs') as { build(): number };
  if (build() !== 0) throw new Error('The build failed: npm run typecheck');
}, START_MS);

afterAll(async () => {
  for (const { process: program, ended } of programs) {
    program.kill('SIGTERM');
    await ended;
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}, START_MS);

/** An empty folder of a user's, in which nobody ran anything. */
export function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'muster-e2e-'));
  folders.push(folder);
  return folder;
}

export function muster(cwd: string, ...words: string[]): Program {
  return run(cwd, [join(root, 'bin/muster.cjs'), ...words]);
}

/** Runs a program of ours without the addresses of the broker the other tests use. */
export function run(cwd: string, command: readonly string[], environment: Record<string, string> = {}): Program {
  const { AMQP_URL: _, REDIS_URL: __, MUSTER_PREFIX: ___, ...rest } = process.env;
  const child = spawn(process.execPath, [...command], { cwd, env: { ...rest, ...environment } });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    err += chunk;
  });
  const ended = new Promise<number | null>((done) => child.once('close', done));
  const program = { process: child as Program['process'], out: () => out, err: () => err, ended };
  programs.push(program);
  return program;
}

/** Waits until it has said this, on either stream. */
export async function printed({ out, err, process: child }: Program, words: string): Promise<void> {
  const said = await eventually(
    () => ({ text: out() + err(), code: child.exitCode }),
    ({ text, code }) => text.includes(words) || code !== null,
    { withinMs: START_MS, everyMs: 30 },
  );
  if (!said.text.includes(words)) throw new Error(`It ended (${said.code}) before it said '${words}': ${said.text}`);
}

/** What other terminals in that folder are told. */
export function settingsOf(folder: string): Record<string, string | number> {
  return JSON.parse(readFileSync(settingsPath(folder), 'utf8')) as Record<string, string | number>;
}

/** One of the reference agents among these processes. */
export function anAgent(processes: readonly ProcessMark[]): ProcessMark {
  const found = processes.find(({ pid }) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('reference-agent.js'),
  );
  if (found === undefined) throw new Error('No agent runs.');
  return found;
}
