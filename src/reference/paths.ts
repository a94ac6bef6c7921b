/** Paths that came from outside: everything a reference agent reads or writes by name passes `inside` first,
 *  so neither `../` nor a symbolic link leads out of the task's own directory. */
import { copyFile, lstat, mkdir, readdir, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { quoted, ReferenceFailure } from './errors.js';

/**
 * The absolute path of `name` below `root`, for reading or creating.
 * Throws `UNSAFE_PATH` for absolute names, `..`, `.git`, NUL, or a symbolic link that leads out.
 */
export async function inside(root: string, name: string): Promise<string> {
  const parts = name.split(/[/\\]/);
  const hostile =
    name === '' ||
    name.includes('\0') ||
    isAbsolute(name) ||
    parts.some((part) => part === '..' || /^(\.git|git~1)[ .]*$/i.test(part));
  if (hostile) throw unsafePath(name);
  const path = resolve(root, name);
  if (!contains(await realpath(root), await nearestReal(path))) throw unsafePath(name);
  return path;
}

/** True when `path` is `root` or lies below it. Both absolute; no file is touched. */
export function contains(root: string, path: string): boolean {
  const step = relative(root, path);
  return step === '' || (step !== '..' && !step.startsWith(`..${sep}`) && !isAbsolute(step));
}

/** Regular files below `root`, relative, with `/`, sorted. Skips symbolic links and names in `skip`; at most `limit`. */
export async function filesBelow(root: string, skip: (name: string) => boolean, limit: number): Promise<string[]> {
  const found: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    const entries = await readdir(join(root, folder), { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (skip(entry.name)) continue;
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) await visit(name);
      if (!entry.isFile()) continue;
      if (found.length === limit) throw tooMany(root, limit);
      found.push(name);
    }
  };
  await visit('');
  return found.sort();
}

/** Copies the named files from one directory to another, making folders; returns the new absolute paths. */
export async function copyFiles(from: string, names: readonly string[], to: string): Promise<string[]> {
  const copies: string[] = [];
  for (const name of names) {
    const target = join(to, name);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(join(from, name), target);
    copies.push(target);
  }
  return copies;
}

/** True when something, of whatever kind, has this name. */
export async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

/** The real path of `path`, or of its nearest existing parent plus the rest, for files yet to be made. */
async function nearestReal(path: string): Promise<string> {
  if (await exists(path)) return realpath(path).catch(() => '/'); // a dangling link leads out
  const parent = dirname(path);
  return parent === path ? path : join(await nearestReal(parent), path.slice(parent.length));
}

function unsafePath(name: string): ReferenceFailure {
  return new ReferenceFailure('UNSAFE_PATH', {
    why: `The path ${quoted(name)} does not stay inside the checkout.`,
    effect: 'Nothing was read or written.',
    next: 'Give a path relative to the repository, without "..", ".git" or links that lead out.',
  });
}

function tooMany(root: string, limit: number): ReferenceFailure {
  return new ReferenceFailure('TOO_LARGE', {
    why: `${quoted(root)} holds more than ${limit} files.`,
    effect: 'Nothing was copied.',
    next: 'Name a smaller directory.',
  });
}
