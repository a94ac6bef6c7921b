/** Real temporary repositories and task contexts for the reference agents' tests.
 *  Everything made here is removed after the file's last test. */
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ReferenceContext } from '../../src/reference/context.js';
import type { ReferenceCode } from '../../src/reference/errors.js';
import { git } from '../../src/reference/repository.js';

export const never = new AbortController().signal;
const made: string[] = [];

afterAll(async () => {
  for (const directory of made.splice(0)) await rm(directory, { recursive: true, force: true });
});

export async function aDirectory(): Promise<string> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'muster-test-')));
  made.push(directory);
  return directory;
}

export interface TestContext extends ReferenceContext {
  readonly notes: string[];
  readonly fractions: number[];
}

/** A task's surroundings: a new empty workspace, and results of the tasks it is said to depend on. */
export async function aContext(
  results: Record<string, unknown> = {},
  signal: AbortSignal = never,
): Promise<TestContext> {
  const notes: string[] = [];
  const fractions: number[] = [];
  return {
    signal,
    workspace: await aDirectory(),
    notes,
    fractions,
    progress: async (fraction, note) => {
      fractions.push(fraction);
      if (note !== undefined) notes.push(note);
    },
    log: { info: () => undefined },
    dependencies: async () => results,
  };
}

const person = { GIT_AUTHOR_NAME: 'T', GIT_AUTHOR_EMAIL: 't@x', GIT_COMMITTER_NAME: 'T', GIT_COMMITTER_EMAIL: 't@x' };

export type Files = Readonly<Record<string, string | Buffer>>;

/** A repository with one commit per entry; `main~1`, `main` and so on name them. */
export async function aRepository(...commits: readonly Files[]): Promise<string> {
  const repo = await aDirectory();
  await git(repo, ['init', '--quiet', '--initial-branch=main'], never);
  for (const files of commits) await aCommit(repo, files);
  return repo;
}

/** Commits files, as they are, on the branch checked out; returns the commit id. */
export async function aCommit(repo: string, files: Files): Promise<string> {
  for (const [name, body] of Object.entries(files)) {
    await mkdir(dirname(join(repo, name)), { recursive: true });
    await writeFile(join(repo, name), body);
  }
  await git(repo, ['add', '--all'], never);
  await git(repo, ['commit', '--quiet', '--allow-empty', '-m', 'a commit'], never, person);
  return (await git(repo, ['rev-parse', 'HEAD'], never)).trim();
}

/** Matches an error by its code, and insists on the three sentences. */
export function failure(code: ReferenceCode) {
  const sentence = expect.stringMatching(/^.+[.:\n\S]$/s);
  return expect.objectContaining({ code, explanation: { why: sentence, effect: sentence, next: sentence } });
}

/** Runs `act` with these environment variables set, and puts the former ones back. */
export async function withEnvironment(
  changes: Readonly<Record<string, string>>,
  act: () => Promise<void>,
): Promise<void> {
  const before = Object.keys(changes).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, changes);
  try {
    await act();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
