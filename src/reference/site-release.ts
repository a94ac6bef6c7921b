/** Puts together the directory that will be served: the built or ready-made site, the generated documentation, or both.
 *  A copy, because the task's workspace goes away and a site must not change while it is served. */
import { mkdir, mkdtemp, readFile, realpath, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { docsHtml, htmlName } from './docs-html.js';
import { quoted, ReferenceFailure } from './errors.js';
import { copyFiles, exists, filesBelow, inside } from './paths.js';

export interface AssembleOptions {
  readonly checkout: string;
  /** Directory asked for, relative to the checkout. */
  readonly wanted: string | undefined;
  /** Results of the tasks depended on; those of write-docs are used. */
  readonly results: Record<string, unknown>;
  /** Existing empty directory to fill. */
  readonly release: string;
}

export interface AssembledSite {
  readonly served: string;
  /** Relative to the release, sorted. */
  readonly files: readonly string[];
  /** Address of the documentation relative to the site, or `null`. */
  readonly docs: string | null;
  readonly notes: readonly string[];
}

const maxFiles = 5_000;
// What builds usually fill comes first: after a build it is newer than what is checked in.
const usualPlaces = ['dist', 'build', 'out', '_site', 'site', 'public', 'docs'] as const;
const docsResult = z.object({
  directory: z.string().min(1),
  files: z.array(z.object({ name: z.string().regex(/\.md$/) })).min(1),
});

/** A new directory for one deployment: below the user's outputs, or temporary. */
export async function newRelease(
  outputDirectory: string | undefined,
  commit: string,
): Promise<{ path: string; temporary: boolean }> {
  const home = outputDirectory === undefined ? tmpdir() : join(outputDirectory, 'deploy-site');
  await mkdir(home, { recursive: true });
  const path = await mkdtemp(
    join(home, `${outputDirectory === undefined ? 'muster-site-' : ''}${commit.slice(0, 12)}-`),
  );
  return { path, temporary: outputDirectory === undefined };
}

/** Fills the release. Throws `NOTHING_TO_DEPLOY`, `UNSAFE_PATH`, or `TOO_LARGE` above 5,000 files. */
export async function assembleSite(options: AssembleOptions): Promise<AssembledSite> {
  const place = await findSite(options);
  if (place !== null) {
    const names = await filesBelow(join(options.checkout, place), notServed, maxFiles);
    await copyFiles(join(options.checkout, place), names, options.release);
  }
  const notes: string[] = [];
  const docs = await addDocs(options, place !== null, notes);
  if (place === null && docs === null) throw nothing(options.checkout);
  return {
    served: place ?? 'generated documentation',
    files: await filesBelow(options.release, () => false, maxFiles * 2),
    docs,
    notes,
  };
}

// What the server would never give out: hidden files, and names no address can carry.
function notServed(name: string): boolean {
  return name.startsWith('.') || name.includes('\\') || name === 'node_modules';
}

async function findSite({ checkout, wanted }: AssembleOptions): Promise<string | null> {
  if (wanted !== undefined) {
    const path = await inside(checkout, wanted);
    if (await isFile(join(path, 'index.html'))) return wanted;
    throw nothing(wanted);
  }
  for (const place of usualPlaces) {
    const real = await realpath(join(checkout, place)).catch(() => null);
    // The build may have left a link: what it points at is not part of the commit's site.
    if (real !== join(await realpath(checkout), place)) continue;
    if (await isFile(join(real, 'index.html'))) return place;
  }
  return null;
}

/** Writes the pages of write-docs as HTML; returns where they are, relative to the site. */
async function addDocs(options: AssembleOptions, haveSite: boolean, notes: string[]): Promise<string | null> {
  for (const [key, result] of Object.entries(options.results)) {
    const parsed = docsResult.safeParse(result);
    if (!parsed.success) continue;
    const { directory, files } = parsed.data;
    if (!(await exists(join(directory, 'README.md')))) {
      notes.push(`The documentation of ${key} is no longer in ${directory}; give it an outputDirectory.`);
      continue;
    }
    const taken = await exists(join(options.release, 'docs'));
    const folder = !haveSite ? '' : taken ? 'api-docs/' : 'docs/';
    for (const { name } of files) {
      const page = docsHtml(name.replace(/\.md$/, ''), await readFile(await inside(directory, name), 'utf8'));
      const target = await inside(options.release, `${folder}${htmlName(name)}`);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, page);
    }
    return folder === '' ? './' : folder;
  }
  return null;
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

function nothing(place: string): ReferenceFailure {
  return new ReferenceFailure('NOTHING_TO_DEPLOY', {
    why: `There is no index.html in ${quoted(place)}, nor in ${usualPlaces.join(', ')} below it, and no documentation was written.`,
    effect: 'Nothing was deployed; what was being served still is.',
    next: 'Name the `directory` of the site, give the repository a build script, or depend on write-docs.',
  });
}
