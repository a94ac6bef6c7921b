/** Git for the reference agents: read a local repository without trusting it, copy commits into a workspace,
 *  compare them. No shell, no hooks, no external diff or text conversion, no prompts. */
import { mkdir, realpath, rm, stat } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import { type CommandResult, runCommand } from './command.js';
import { quoted, ReferenceFailure } from './errors.js';

/** A local repository that git accepts. */
export interface SourceRepository {
  /** Real absolute path. */
  readonly path: string;
  readonly objectFormat: string;
}

export interface ChangedFile {
  /** Relative to the repository, with `/`, exactly as git stores it. */
  readonly file: string;
  /** added, modified, deleted, or type changed (a file became a link, say). */
  readonly status: 'A' | 'M' | 'D' | 'T';
  /** Lines; both 0 for a binary file. */
  readonly added: number;
  readonly deleted: number;
  readonly binary: boolean;
  /** False for symbolic links and submodules. */
  readonly regular: boolean;
}

export interface CheckoutOptions {
  readonly source: SourceRepository;
  /** Full commit ids; the first is checked out, the others are there to compare with. */
  readonly commits: readonly [string, ...string[]];
  /** Removed first when it exists: a second attempt starts clean. */
  readonly directory: string;
  /** False (the default) writes symbolic links as small text files, so that none can lead out of the checkout. */
  readonly symlinks?: boolean;
  readonly signal: AbortSignal;
}

const maxOutputBytes = 32 * 1024 * 1024;

// Set for every command: what the user's or the repository's settings could otherwise make git run or change.
const settings = {
  'core.hooksPath': '/dev/null',
  'core.fsmonitor': 'false',
  'core.excludesFile': '/dev/null',
  'core.attributesFile': '/dev/null',
  'core.autocrlf': 'false',
  'core.quotePath': 'false',
  'core.whitespace': 'blank-at-eol,space-before-tab,blank-at-eof,cr-at-eol',
  'commit.gpgSign': 'false',
  'push.gpgSign': 'false',
  'diff.noprefix': 'false',
  'diff.mnemonicPrefix': 'false',
  'diff.algorithm': 'histogram',
  'gc.auto': '0',
  'maintenance.auto': 'false',
  'init.templateDir': '',
  'protocol.version': '2',
  'advice.detachedHead': 'false',
} as const;

const diffFlags = ['--no-color', '--no-ext-diff', '--no-textconv', '--no-renames', '--ignore-submodules=none'];

/**
 * Opens a local repository (bare or not) for reading.
 * Throws `NOT_A_REPOSITORY` for a URL, a relative path, a missing directory, or one that is not itself a repository.
 */
export async function openRepository(path: string, signal: AbortSignal): Promise<SourceRepository> {
  if (!isAbsolute(path) || path.includes('\0')) throw notARepository(path, 'it is not an absolute path');
  const real = await realpath(path).catch(() => null);
  if (real === null || !(await stat(real)).isDirectory()) throw notARepository(path, 'there is no such directory');
  const answer = await runGit(real, ['rev-parse', '--show-object-format'], signal);
  if (answer.exitCode !== 0) throw notARepository(path, firstLine(answer.stderr));
  return { path: real, objectFormat: answer.stdout.trim() };
}

/**
 * The full commit id a branch, tag or abbreviated id stands for.
 * Throws `UNSAFE_REF` for what git could read as an option or a pattern, `UNKNOWN_COMMIT` when there is none.
 */
export async function resolveCommit(source: SourceRepository, ref: string, signal: AbortSignal): Promise<string> {
  assertSafeRef(ref);
  const answer = await runGit(
    source.path,
    ['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`],
    signal,
  );
  const commit = answer.stdout.trim();
  if (answer.exitCode !== 0 || !/^[0-9a-f]{40,64}$/.test(commit)) throw unknownCommit(source, ref);
  return commit;
}

/** The newest common ancestor of two commits, or `null` when their histories never met. */
export async function mergeBase(
  source: SourceRepository,
  one: string,
  two: string,
  signal: AbortSignal,
): Promise<string | null> {
  const answer = await runGit(source.path, ['merge-base', '--', one, two], signal);
  return answer.exitCode === 0 ? answer.stdout.trim() : null;
}

/** Copies commits, without their history, into a new repository at `directory`; no remote is configured. */
export async function checkout(options: CheckoutOptions): Promise<void> {
  const { source, commits, directory, signal } = options;
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await git(directory, ['init', '--quiet', `--object-format=${source.objectFormat}`], signal);
  // In the checkout's own settings, so that later commands, and the tests run in it, see the same.
  await git(directory, ['config', 'core.symlinks', String(options.symlinks ?? false)], signal);
  await git(directory, ['fetch', '--quiet', '--no-tags', '--depth=1', '--', source.path, ...commits], signal);
  await git(directory, ['checkout', '--quiet', '--detach', commits[0]], signal);
}

/** Tracked regular files of a commit, relative, sorted. */
export async function listFiles(directory: string, commit: string, signal: AbortSignal): Promise<string[]> {
  const listing = await git(directory, ['ls-tree', '-r', '-z', '--full-tree', commit], signal);
  return listing
    .split('\0')
    .filter((entry) => entry.startsWith('100'))
    .map((entry) => entry.slice(entry.indexOf('\t') + 1))
    .sort();
}

/** The files that differ between two commits of a checkout, in git's order. Safe for any file name. */
export async function changedFiles(
  directory: string,
  base: string,
  head: string,
  signal: AbortSignal,
): Promise<ChangedFile[]> {
  const listing = await git(directory, ['diff', ...diffFlags, '--raw', '--numstat', '-z', base, head, '--'], signal);
  const fields = listing.split('\0').filter((field) => field !== '');
  const raw = new Map<string, { status: ChangedFile['status']; regular: boolean }>();
  const changed: ChangedFile[] = [];
  for (let at = 0; at < fields.length; at++) {
    const field = fields[at]!;
    const header = /^:(\d{6}) (\d{6}) \S+ \S+ ([AMDT])$/.exec(field);
    if (header !== null) {
      const mode = header[3] === 'D' ? header[1]! : header[2]!;
      raw.set(fields[++at]!, { status: header[3] as ChangedFile['status'], regular: mode.startsWith('100') });
      continue;
    }
    const counts = /^(\d+|-)\t(\d+|-)\t([\s\S]+)$/.exec(field)!;
    const file = counts[3]!;
    const binary = counts[1] === '-';
    const known = raw.get(file) ?? { status: 'M', regular: true };
    changed.push({
      file,
      binary,
      added: binary ? 0 : Number(counts[1]),
      deleted: binary ? 0 : Number(counts[2]),
      ...known,
    });
  }
  return changed;
}

/** The patch between two commits without context lines, for a parser. At most 32 MiB, else `TOO_LARGE`. */
export function diffText(directory: string, base: string, head: string, signal: AbortSignal): Promise<string> {
  const flags = [...diffFlags, '-U0', '--src-prefix=a/', '--dst-prefix=b/'];
  return git(directory, ['diff', ...flags, base, head, '--'], signal);
}

/** What `git diff --check` says about the added lines: `file:line: complaint.`, each followed by the line itself. */
export async function whitespaceComplaints(
  directory: string,
  base: string,
  head: string,
  signal: AbortSignal,
): Promise<string> {
  const answer = await runGit(directory, ['diff', ...diffFlags, '--check', base, head, '--'], signal);
  // 0: clean; 2: complaints. Anything else is git itself failing.
  if (answer.exitCode !== 0 && answer.exitCode !== 2) throw gitFailed(['diff', '--check'], answer);
  return answer.stdout;
}

/**
 * Runs git in `directory` and returns its standard output.
 * Throws `GIT_FAILED` with git's own words, `TOO_LARGE` above 32 MiB, or the signal's reason.
 */
export async function git(
  directory: string,
  args: readonly string[],
  signal: AbortSignal,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const answer = await runGit(directory, args, signal, env);
  if (answer.exitCode !== 0) throw gitFailed(args, answer);
  if (answer.truncated) throw tooLarge(args);
  return answer.stdout;
}

/** Like `git`, but a refusal is a result: for questions whose answer may be no. */
export function runGit(
  directory: string,
  args: readonly string[],
  signal: AbortSignal,
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return runCommand('git', [...flags, ...args], {
    cwd: directory,
    signal,
    headBytes: maxOutputBytes,
    env: {
      GIT_TERMINAL_PROMPT: '0',
      GIT_OPTIONAL_LOCKS: '0',
      GIT_LITERAL_PATHSPECS: '1',
      GIT_LFS_SKIP_SMUDGE: '1',
      // Without it a plain folder inside another repository would silently be taken for that repository.
      GIT_CEILING_DIRECTORIES: dirname(directory),
      ...env,
    },
  });
}

/** Throws `UNSAFE_REF` unless the name can only be read as a branch, tag or commit. */
export function assertSafeRef(ref: string): void {
  const odd = /^[-:^/]|[\x00-\x20\x7f:?*[\\]|\.\.|@\{|\.lock$|\/$/.test(ref);
  if (ref !== '' && !odd) return;
  throw new ReferenceFailure('UNSAFE_REF', {
    why: `${quoted(ref)} cannot be a branch, tag or commit.`,
    effect: 'It was not passed to git.',
    next: 'Give a branch or tag name, or a commit id.',
  });
}

function notARepository(path: string, reason: string): ReferenceFailure {
  return new ReferenceFailure('NOT_A_REPOSITORY', {
    why: `${quoted(path)} is not a git repository this agent can read: ${reason}.`,
    effect: 'Nothing was read.',
    next: 'Give the absolute path of the top directory of a local git repository that belongs to the same user.',
  });
}

function unknownCommit(source: SourceRepository, ref: string): ReferenceFailure {
  return new ReferenceFailure('UNKNOWN_COMMIT', {
    why: `${quoted(source.path)} has no commit named ${quoted(ref)}.`,
    effect: 'Nothing was checked out.',
    next: 'Check the name with `git rev-parse`, or fetch the branch into that repository first.',
  });
}

function gitFailed(args: readonly string[], answer: CommandResult): ReferenceFailure {
  const reason = answer.timedOut ? 'it took longer than 120 s' : firstLine(answer.stderr);
  return new ReferenceFailure('GIT_FAILED', {
    why: `git ${args[0]} failed: ${reason}.`,
    effect: 'The step was not finished.',
    next: 'Run it by hand in the repository to see more; the task may simply be tried again.',
  });
}

function tooLarge(args: readonly string[]): ReferenceFailure {
  return new ReferenceFailure('TOO_LARGE', {
    why: `git ${args[0]} answered with more than ${maxOutputBytes / 1024 / 1024} MiB.`,
    effect: 'Nothing was concluded from a part of it.',
    next: 'Work on a smaller range of commits.',
  });
}

function firstLine(text: string): string {
  const line = text.split('\n').find((each) => each.trim() !== '') ?? 'no message';
  return line
    .trim()
    .replace(/^fatal: /, '')
    .replace(/\.$/, '')
    .slice(0, 300);
}
