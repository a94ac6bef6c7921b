// A terminal: runs the real program in a process of its own, in a world of a test's own, and says what it printed where.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { World } from '../support/world.js';

const ROOT = resolve(__dirname, '../..');
/** A folder without .muster above it: settings come from the environment alone. */
const FOLDER = mkdtempSync(join(tmpdir(), 'muster-cli-'));

export interface Printed {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}
export interface Started {
  readonly child: ChildProcess;
  /** What stdout and stderr hold so far. */
  out(): string;
  err(): string;
  readonly ended: Promise<Printed>;
}
export type Environment = Readonly<Record<string, string | undefined>>;

export function environmentOf(world: World): Environment {
  return Object.fromEntries(Object.entries(world.settings).map(([name, value]) => [name, String(value)]));
}

export function start(words: readonly string[], environment: Environment, input = ''): Started {
  const { AMQP_URL: _, REDIS_URL: __, MUSTER_PREFIX: ___, FORCE_COLOR: ____, ...rest } = process.env;
  const env = { ...rest, ...environment };
  const program = ['-r', join(ROOT, 'test/support/register.cjs'), join(ROOT, 'src/cli/main.ts'), ...words];
  const child = spawn(process.execPath, program, { cwd: FOLDER, env: env as NodeJS.ProcessEnv });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  // It may end without reading: a closed stdin is no failure of the test.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const ended = new Promise<Printed>((done) => child.once('close', (code) => done({ code, out, err })));
  return { child, out: () => out, err: () => err, ended };
}

export function muster(words: readonly string[], environment: Environment, input?: string): Promise<Printed> {
  return start(words, environment, input).ended;
}

/** Runs with --json and reads the one document there must be. */
export async function json(words: readonly string[], environment: Environment, input?: string) {
  const { code, out, err } = await muster([...words, '--json'], environment, input);
  try {
    return { code, err, document: JSON.parse(out) };
  } catch (error) {
    throw new Error(`Not one JSON document: ${(error as Error).message}\n${out}\nstderr: ${err}`);
  }
}
