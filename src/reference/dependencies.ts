/** Gives a checkout the packages its code needs, without running anything it did not ask for:
 *  links those of the source repository when the lockfile is the same, installs only on request. */
import { cp, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { runCommand } from './command.js';
import { exists } from './paths.js';

export interface DependencyOptions {
  /** The repository the checkout came from. */
  readonly sourcePath: string;
  readonly checkout: string;
  /** Allows `npm ci --ignore-scripts`, which needs the network or a filled cache. */
  readonly install: boolean;
  readonly signal: AbortSignal;
}

export interface Dependencies {
  /** `missing` means: code that needs packages cannot run here. */
  readonly state: 'none' | 'present' | 'linked' | 'installed' | 'missing';
  /** One sentence for people. */
  readonly note: string;
}

const lockfiles = ['package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml', 'yarn.lock'] as const;
const packages = z.record(z.string(), z.unknown()).optional();
const manifestSchema = z.object({
  scripts: z.record(z.string(), z.string()).optional(),
  dependencies: packages,
  devDependencies: packages,
  optionalDependencies: packages,
  workspaces: z.unknown().optional(),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** The package.json of a checkout, or `null` when there is none that can be read. */
export async function readManifest(checkout: string): Promise<Manifest | null> {
  const text = await readFile(join(checkout, 'package.json'), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Makes `node_modules` available in the checkout if that can be done safely, and says what was done. */
export async function provideDependencies(options: DependencyOptions): Promise<Dependencies> {
  const manifest = await readManifest(options.checkout);
  const needed = { ...manifest?.dependencies, ...manifest?.devDependencies, ...manifest?.optionalDependencies };
  if (Object.keys(needed).length === 0) return { state: 'none', note: 'It needs no packages.' };
  if (await exists(join(options.checkout, 'node_modules'))) {
    return { state: 'present', note: 'Its packages are part of the commit.' };
  }
  const lockfile = await firstLockfile(options.checkout);
  if (lockfile === null) return { state: 'missing', note: 'It needs packages, and the commit has no lockfile.' };
  if (await canLink(options, manifest, lockfile)) {
    await linkPackages(join(options.sourcePath, 'node_modules'), join(options.checkout, 'node_modules'));
    return { state: 'linked', note: 'The packages of the source repository are used: its lockfile is the same.' };
  }
  if (!options.install) {
    return { state: 'missing', note: 'It needs packages that are not installed, and `install` was not asked for.' };
  }
  if (lockfile !== 'package-lock.json' && lockfile !== 'npm-shrinkwrap.json') {
    return { state: 'missing', note: `Only npm can be asked to install, and the commit has a ${lockfile}.` };
  }
  return install(options);
}

/**
 * Package by package, in a folder of the checkout's own: a test script that runs `npm ci` empties `node_modules`, and were that
 * folder itself a link, it would empty the user's.
 */
async function linkPackages(installed: string, linked: string): Promise<void> {
  await mkdir(linked);
  for (const entry of await readdir(installed, { withFileTypes: true })) {
    const [from, to] = [join(installed, entry.name), join(linked, entry.name)];
    if (entry.isFile()) await cp(from, to);
    // Caches are written to: a commit under test must leave no trace in the user's.
    else if (entry.name !== '.cache') await symlink(from, to);
  }
}

async function install(options: DependencyOptions): Promise<Dependencies> {
  const result = await runCommand('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: options.checkout,
    signal: options.signal,
    timeoutMs: 300_000,
    headBytes: 4_096,
    tailBytes: 4_096,
  });
  if (result.exitCode === 0) return { state: 'installed', note: 'Installed with npm ci, without running scripts.' };
  const reason = /npm (?:error|ERR!) (?!code)(.*)/.exec(result.output)?.[1] ?? 'see npm';
  return { state: 'missing', note: `npm ci failed: ${result.timedOut ? 'it took longer than 300 s' : reason}.` };
}

async function firstLockfile(directory: string): Promise<(typeof lockfiles)[number] | null> {
  for (const name of lockfiles) if (await exists(join(directory, name))) return name;
  return null;
}

async function canLink(options: DependencyOptions, manifest: Manifest | null, lockfile: string): Promise<boolean> {
  // In a workspace node_modules links back to the source tree: another commit would be tested than the one asked for.
  if (manifest?.workspaces !== undefined) return false;
  if (!(await exists(join(options.sourcePath, 'node_modules')))) return false;
  const [ours, theirs] = await Promise.all(
    [options.checkout, options.sourcePath].map((directory) => readFile(join(directory, lockfile)).catch(() => null)),
  );
  return ours != null && theirs != null && ours.equals(theirs);
}
