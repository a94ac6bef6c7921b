/** The folder `.muster` of the working directory: one `muster up` or demo at a time owns it, and leaves there the addresses
 *  that every other terminal reads. What an owner that was killed left behind is replaced. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SETTINGS_DIRECTORY, settingsPath } from '../config.js';
import { MusterError } from '../errors.js';
import { isRunning, mark, type ProcessMark } from '../local/stale.js';

/** What `.muster/env.json` holds. */
export interface FolderSettings {
  readonly AMQP_URL: string;
  readonly REDIS_URL: string;
  readonly MUSTER_PREFIX: string;
  readonly pid: number;
  /** Address of /metrics. */
  readonly metrics: string;
}

export interface Claim {
  /** Absolute path of `.muster`. */
  readonly path: string;
  /** From now on other terminals find these addresses. */
  announce(settings: FolderSettings): void;
  /** Takes the addresses back and lets the next owner in. Safe to call twice. */
  release(): void;
}

const OWNER = 'owner.json';
type Owner = ProcessMark & { readonly command: string };

/** Makes this process the owner of `<directory>/.muster`. Throws ALREADY_RUNNING, naming the owner, when there is one. */
export function claimFolder(directory: string, command: string): Claim {
  const path = join(directory, SETTINGS_DIRECTORY);
  const ownerFile = join(path, OWNER);
  const settingsFile = settingsPath(directory);
  makeFolder(path);
  const before = readOwner(ownerFile);
  if (before !== undefined && isRunning(before)) throw alreadyRunning(before, directory);
  // Addresses of a run that was killed: a terminal that still believed them would wait for nobody.
  rmSync(settingsFile, { force: true });
  rmSync(ownerFile, { force: true });
  const owner: Owner = { ...mark(process.pid), command };
  try {
    writeFileSync(ownerFile, JSON.stringify(owner), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const other = readOwner(ownerFile);
    if (other === undefined) throw error;
    throw alreadyRunning(other, directory);
  }
  let isOurs = true;
  return {
    path,
    announce(settings) {
      // Renamed into place: a reader never sees half of it.
      const draft = `${settingsFile}.new`;
      writeFileSync(draft, `${JSON.stringify(settings, undefined, 2)}\n`, { mode: 0o600 });
      renameSync(draft, settingsFile);
    },
    release() {
      if (!isOurs) return;
      isOurs = false;
      rmSync(settingsFile, { force: true });
      rmSync(ownerFile, { force: true });
    },
  };
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    // Passwords and data live here: they must not end up in a commit of the project around it.
    writeFileSync(join(path, '.gitignore'), '*\n');
  } catch (cause) {
    throw new MusterError(
      'FOLDER_NOT_WRITABLE',
      { status: 500, retryable: false },
      `${path} cannot be written (${(cause as Error).message}), so nothing was started. Next: run this in a folder of your own.`,
      { cause },
    );
  }
}

function readOwner(file: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Owner;
  } catch {
    // Missing, or cut off in the middle of a write: nobody can be named, and the broker's own ports decide.
    return undefined;
  }
}

function alreadyRunning(owner: Owner, directory: string): MusterError {
  return new MusterError(
    'ALREADY_RUNNING',
    { status: 409, retryable: false },
    `Process ${owner.pid} (${owner.command}) already runs in ${directory}, so nothing was started. ` +
      `Next: use it as it is, stop it (\`kill ${owner.pid}\`), or change to another folder.`,
    { details: { pid: owner.pid } },
  );
}
