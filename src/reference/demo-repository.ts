/** Makes the repository the first run works on: a real one, small, the same commit ids every time,
 *  whatever the user's own git settings say. */
import { mkdir, readdir, realpath, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { changeFiles, demoEdits, mainFiles } from './demo-files.js';
import type { Edit } from './edits.js';
import { quoted, ReferenceFailure } from './errors.js';
import { git } from './repository.js';

export interface DemoRepository {
  /** Absolute path. */
  readonly repo: string;
  /** Branch to compare with. */
  readonly base: 'main';
  /** Branch with the change worth reviewing. */
  readonly head: 'change';
  readonly commits: { readonly base: string; readonly head: string };
  /** Edits that fit on top of `head`, for the capability apply-change. */
  readonly edits: readonly Edit[];
  /** The commit message for them. */
  readonly message: string;
}

/**
 * Writes the demo repository into `directory`, which is made if need be.
 * Throws `DIRECTORY_NOT_EMPTY` rather than mix with anything that is already there.
 */
export async function makeDemoRepository(
  directory: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<DemoRepository> {
  await mkdir(directory, { recursive: true });
  if ((await readdir(directory)).length > 0) throw notEmpty(directory);
  const repo = await realpath(directory);
  await git(repo, ['init', '--quiet', '--initial-branch=main', '--object-format=sha1'], signal);
  const base = await commitFiles(repo, mainFiles, 'Sell fruit by weight', '2024-03-01T09:00:00+00:00', signal);
  await git(repo, ['checkout', '--quiet', '-b', 'change'], signal);
  const head = await commitFiles(repo, changeFiles, 'Add discounts', '2024-03-02T09:00:00+00:00', signal);
  // Left on main, so that pushing to any other branch is never refused as the one checked out.
  await git(repo, ['checkout', '--quiet', 'main'], signal);
  return {
    repo,
    base: 'main',
    head: 'change',
    commits: { base, head },
    edits: demoEdits,
    message: 'Show prices as people read them',
  };
}

async function commitFiles(
  repo: string,
  files: Readonly<Record<string, string>>,
  message: string,
  date: string,
  signal: AbortSignal,
): Promise<string> {
  for (const [name, body] of Object.entries(files)) {
    await mkdir(dirname(join(repo, name)), { recursive: true });
    await writeFile(join(repo, name), body);
  }
  await git(repo, ['add', '--', ...Object.keys(files)], signal);
  await git(repo, ['commit', '--quiet', '--no-verify', '-m', message], signal, identity(date));
  return (await git(repo, ['rev-parse', 'HEAD'], signal)).trim();
}

function identity(date: string): Record<string, string> {
  const name = 'Muster Demo';
  const email = 'demo@muster.invalid';
  return {
    GIT_AUTHOR_NAME: name,
    GIT_AUTHOR_EMAIL: email,
    GIT_AUTHOR_DATE: date,
    GIT_COMMITTER_NAME: name,
    GIT_COMMITTER_EMAIL: email,
    GIT_COMMITTER_DATE: date,
  };
}

function notEmpty(directory: string): ReferenceFailure {
  return new ReferenceFailure('DIRECTORY_NOT_EMPTY', {
    why: `${quoted(directory)} already contains something.`,
    effect: 'No demo repository was made.',
    next: 'Name a new or empty directory.',
  });
}
