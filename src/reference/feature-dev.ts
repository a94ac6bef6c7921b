/** The capability apply-change: puts scripted edits on a branch of their own, commits, and hands the commit on.
 *  Safe to attempt twice: a branch that already holds the same change is taken as the result. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { commitFields, deliver, outputDirectoryField, type ReferenceContext, refField, repoField } from './context.js';
import { applyEdit, type Edit, editField } from './edits.js';
import { quoted, ReferenceFailure } from './errors.js';
import { exists, inside } from './paths.js';
import {
  assertSafeRef,
  changedFiles,
  checkout,
  diffText,
  git,
  openRepository,
  resolveCommit,
  runGit,
  type SourceRepository,
} from './repository.js';

export const applyChangeInput = z.object({
  repo: repoField,
  head: refField.describe('Commit to build on'),
  edits: z.array(editField).min(1).max(200),
  message: z.string().min(1).max(10_000).describe('Commit message'),
  branch: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('Below muster/; made from the message and the edits when absent'),
  push: z.boolean().default(false).describe('Adds the branch to the source repository'),
  outputDirectory: outputDirectoryField,
});

export const applyChangeOutput = z.object({
  ...commitFields,
  branch: z.string(),
  base: z.string().describe('Full id of the commit built on'),
  pushed: z.boolean(),
  diffstat: z.object({
    files: z.array(z.object({ file: z.string(), added: z.int(), deleted: z.int() })),
    added: z.int(),
    deleted: z.int(),
  }),
  files: z.array(z.string()).describe('Absolute paths of files written: the patch'),
});

export type ApplyChangeInput = z.infer<typeof applyChangeInput>;
export type ApplyChangeOutput = z.infer<typeof applyChangeOutput>;

const author = {
  GIT_AUTHOR_NAME: 'Muster feature-dev',
  GIT_AUTHOR_EMAIL: 'feature-dev@muster.invalid',
  GIT_COMMITTER_NAME: 'Muster feature-dev',
  GIT_COMMITTER_EMAIL: 'feature-dev@muster.invalid',
};

/**
 * Applies all edits or none. `repo` in the result is where later tasks find the commit: the source repository
 * once pushed; else a bare copy, `<outputDirectory>/apply-change/repository.git` or, without one, in the workspace.
 * Throws `UNSAFE_PATH`, `EDIT_NOT_FOUND`, `EDIT_AMBIGUOUS`, `EMPTY_CHANGE`, `BRANCH_TAKEN`, `UNSAFE_REF`,
 * `NOT_A_REPOSITORY` or `UNKNOWN_COMMIT`.
 */
export async function applyChange(input: ApplyChangeInput, context: ReferenceContext): Promise<ApplyChangeOutput> {
  const { signal } = context;
  const branch = branchName(input);
  const source = await openRepository(input.repo, signal);
  const base = await resolveCommit(source, input.head, signal);
  const directory = join(context.workspace, 'checkout');
  await checkout({ source, commits: [base], directory, signal });
  await context.progress(0.3, 'checked out');

  await writeEdits(directory, input.edits);
  const own = await commitAll(directory, branch, input, signal);
  await context.progress(0.6, `committed on ${branch}`);
  const commit = input.push ? await publishBranch({ source, directory, branch, commit: own, base, signal }) : own;
  const shelf = input.outputDirectory === undefined ? context.workspace : join(input.outputDirectory, 'apply-change');
  const repo = input.push
    ? source.path
    : await keepCommit(source, directory, branch, join(shelf, 'repository.git'), signal);

  const changed = await changedFiles(directory, base, own, signal);
  const patch = await diffText(directory, base, own, signal);
  const file = await deliver(input.outputDirectory, 'apply-change', 'change.patch', patch);
  const diffstat = {
    files: changed.map(({ file: name, added, deleted }) => ({ file: name, added, deleted })),
    added: changed.reduce((sum, each) => sum + each.added, 0),
    deleted: changed.reduce((sum, each) => sum + each.deleted, 0),
  };
  context.log.info('applied a change', { commit, branch, pushed: input.push, files: changed.length });
  await context.progress(1, `${changed.length} ${changed.length === 1 ? 'file' : 'files'} changed on ${branch}`);
  return { repo, commit, branch, base, pushed: input.push, diffstat, files: file === null ? [] : [file] };
}

function branchName(input: ApplyChangeInput): string {
  const slug = input.message
    .split('\n')[0]!
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  const mark = createHash('sha256')
    .update(JSON.stringify([input.head, input.edits]))
    .digest('hex')
    .slice(0, 8);
  const name = input.branch?.replace(/^muster\//, '') ?? `${slug.slice(0, 40) || 'change'}-${mark}`;
  assertSafeRef(name);
  return `muster/${name}`;
}

async function writeEdits(directory: string, edits: readonly Edit[]): Promise<void> {
  const texts = new Map<string, string>();
  for (const edit of edits) {
    const path = await inside(directory, edit.file);
    const before = texts.get(path) ?? (await readText(path, edit.file));
    texts.set(path, applyEdit(edit, before));
  }
  // Written only now: an edit that fails must not leave the earlier ones behind.
  for (const [path, text] of texts) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
}

/** `null` when there is no such file. Refuses what would not survive being read and written as text. */
async function readText(path: string, name: string): Promise<string | null> {
  if (!(await exists(path))) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(path));
  } catch (cause) {
    throw notText(name, cause);
  }
}

async function commitAll(
  directory: string,
  branch: string,
  input: ApplyChangeInput,
  signal: AbortSignal,
): Promise<string> {
  await git(directory, ['checkout', '--quiet', '-b', branch], signal);
  await git(directory, ['add', '--', ...new Set(input.edits.map((edit) => edit.file))], signal);
  const staged = await runGit(directory, ['diff', '--cached', '--quiet', '--no-ext-diff'], signal);
  if (staged.exitCode === 0) throw emptyChange();
  await git(directory, ['commit', '--quiet', '--no-verify', '--cleanup=verbatim', '-m', input.message], signal, author);
  return (await git(directory, ['rev-parse', 'HEAD'], signal)).trim();
}

interface Publication {
  readonly source: SourceRepository;
  readonly directory: string;
  readonly branch: string;
  readonly commit: string;
  readonly base: string;
  readonly signal: AbortSignal;
}

/** Adds the branch to the source, never forcing; the commit that is on it afterwards. */
async function publishBranch(publication: Publication): Promise<string> {
  const { source, directory, branch, commit, signal } = publication;
  const earlier = await sameChangeThere(publication);
  if (earlier !== null) return earlier;
  const push = await runGit(
    directory,
    ['push', '--quiet', '--', source.path, `${commit}:refs/heads/${branch}`],
    signal,
  );
  if (push.exitCode === 0) return commit;
  // Refused: perhaps another attempt at this very task was faster.
  const other = await sameChangeThere(publication);
  if (other !== null) return other;
  throw new ReferenceFailure('GIT_FAILED', {
    why: `The branch ${quoted(branch)} could not be added to ${quoted(source.path)}: ${push.stderr.trim().slice(0, 300)}.`,
    effect: 'The source repository is unchanged.',
    next: 'Look at its hooks and permissions, then try again.',
  });
}

/** The commit an earlier attempt left on the branch, or `null`. Throws `BRANCH_TAKEN` when it holds something else. */
async function sameChangeThere(publication: Publication): Promise<string | null> {
  const { source, directory, branch, base, signal } = publication;
  const there = await runGit(
    source.path,
    ['rev-parse', '--verify', '--quiet', `refs/heads/${branch}^{commit}`],
    signal,
  );
  if (there.exitCode !== 0) return null;
  const [commit, parent, tree] = (
    await git(source.path, ['log', '-1', '--format=%H %P %T', there.stdout.trim()], signal)
  )
    .trim()
    .split(' ');
  const ours = (await git(directory, ['rev-parse', 'HEAD^{tree}'], signal)).trim();
  if (parent === base && tree === ours) return commit!;
  throw new ReferenceFailure('BRANCH_TAKEN', {
    why: `${quoted(source.path)} already has a branch ${quoted(branch)} with other content.`,
    effect: 'It was left as it is, and the new commit was not published.',
    next: 'Name another branch, or delete the old one.',
  });
}

/** A bare copy of the source with the new branch, so that later tasks find the commit and everything older too. */
async function keepCommit(
  source: SourceRepository,
  directory: string,
  branch: string,
  bare: string,
  signal: AbortSignal,
): Promise<string> {
  await rm(bare, { recursive: true, force: true });
  await mkdir(dirname(bare), { recursive: true });
  await git(directory, ['clone', '--quiet', '--bare', '--', source.path, bare], signal);
  await git(directory, ['push', '--quiet', '--force', '--', bare, `HEAD:refs/heads/${branch}`], signal);
  return bare;
}

function emptyChange(): ReferenceFailure {
  return new ReferenceFailure('EMPTY_CHANGE', {
    why: 'After the edits every file is as it was.',
    effect: 'No commit was made.',
    next: 'Check `find` and `replace`, or leave this task out.',
  });
}

function notText(name: string, cause: unknown): ReferenceFailure {
  const explanation = {
    why: `${quoted(name)} is not a text file in UTF-8.`,
    effect: 'No commit was made.',
    next: 'Edit only text files this way.',
  };
  return new ReferenceFailure('EDIT_NOT_FOUND', explanation, cause);
}
