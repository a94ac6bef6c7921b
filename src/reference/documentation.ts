/** The capability write-docs: API documentation in Markdown from the source of one commit.
 *  Reads only; the code it documents is never executed. */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import {
  commitFields,
  headField,
  outputDirectoryField,
  type ReferenceContext,
  repoField,
  targetOf,
} from './context.js';
import { type DocumentedFile, indexPage, modulePage } from './docs-markdown.js';
import { scanExports } from './export-scan.js';
import { copyFiles, inside } from './paths.js';
import { checkout, listFiles, openRepository, resolveCommit } from './repository.js';

export const writeDocsInput = z.object({
  repo: repoField,
  head: headField,
  folders: z
    .array(z.string().min(1).max(1024))
    .max(100)
    .optional()
    .describe('Only below these; the whole repository when absent'),
  maxFiles: z.int().min(1).max(2000).default(500).describe('Source files read; the rest are counted in `skipped`'),
  outputDirectory: outputDirectoryField,
});

export const writeDocsOutput = z.object({
  ...commitFields,
  directory: z.string().describe('Absolute path; `README.md` in it is the index'),
  files: z.array(
    z.object({
      path: z.string().describe('Absolute path'),
      name: z.string().describe('Relative to `directory`'),
      bytes: z.int(),
      exported: z.int().describe('Things documented on this page; 0 for the index'),
    }),
  ),
  counts: z.object({
    sources: z.int().describe('Source files read'),
    exported: z.int(),
    documented: z.int().describe('Of those, with a doc comment'),
    bytes: z.int(),
    skipped: z.int().describe('Source files too large, or beyond maxFiles'),
  }),
});

export type WriteDocsInput = z.infer<typeof writeDocsInput>;
export type WriteDocsOutput = z.infer<typeof writeDocsOutput>;

const sourceFile = /(?<!\.d)\.(?:[cm]?js|[cm]?ts)$/;
const notSource =
  /(?:^|\/)(?:node_modules|dist|build|out|coverage|vendor|fixtures|tests?|__tests__|bench)\/|\.(?:test|spec|min|config)\.[^/]+$/;
const maxSourceBytes = 512 * 1024;

/**
 * Writes one page per source file that exports something, and an index.
 * Throws `NOT_A_REPOSITORY`, `UNKNOWN_COMMIT`, `UNSAFE_REF`, `UNSAFE_PATH` or `COMMIT_MISSING`.
 */
export async function writeDocs(input: WriteDocsInput, context: ReferenceContext): Promise<WriteDocsOutput> {
  const { signal } = context;
  const target = await targetOf(input, context);
  const source = await openRepository(target.repo, signal);
  const commit = await resolveCommit(source, target.head, signal);
  const directory = join(context.workspace, 'checkout');
  await checkout({ source, commits: [commit], directory, signal });
  for (const folder of input.folders ?? []) await inside(directory, folder);
  await context.progress(0.2, 'checked out');

  const all = (await listFiles(directory, commit, signal)).filter((file) => wanted(file, input.folders));
  const { documented, skipped } = await scanAll(directory, all, input.maxFiles, context);
  const pages = [
    { name: 'README.md', body: indexPage(basename(source.path), commit, documented), exported: 0 },
    ...documented.map((file) => ({ name: file.page, body: modulePage(file), exported: file.exported.length })),
  ];
  const written = join(context.workspace, 'docs');
  for (const page of pages) {
    const path = await inside(context.workspace, `docs/${page.name}`);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, page.body);
  }
  const home = input.outputDirectory === undefined ? written : join(input.outputDirectory, 'write-docs');
  if (home !== written)
    await copyFiles(
      written,
      pages.map((page) => page.name),
      home,
    );

  const things = documented.flatMap((file) => file.exported).filter((each) => each.kind !== 're-export');
  const files = pages.map(({ name, body, exported }) => ({
    path: join(home, name),
    name,
    bytes: Buffer.byteLength(body),
    exported,
  }));
  const counts = {
    sources: Math.min(all.length, input.maxFiles),
    exported: things.length,
    documented: things.filter((each) => each.doc !== null).length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    skipped,
  };
  context.log.info('wrote documentation', { commit, files: files.length, ...counts });
  await context.progress(1, `${files.length} pages`);
  return { repo: source.path, commit, directory: home, files, counts };
}

function wanted(file: string, folders: readonly string[] | undefined): boolean {
  if (!sourceFile.test(file) || notSource.test(file)) return false;
  return folders?.some((folder) => file.startsWith(`${folder.replace(/^\.\/|\/+$/g, '')}/`)) ?? true;
}

async function scanAll(directory: string, files: readonly string[], maxFiles: number, context: ReferenceContext) {
  const documented: DocumentedFile[] = [];
  let skipped = Math.max(0, files.length - maxFiles);
  for (const file of files.slice(0, maxFiles)) {
    context.signal.throwIfAborted();
    const path = await inside(directory, file);
    if ((await stat(path)).size > maxSourceBytes) {
      skipped++;
      continue;
    }
    const scanned = scanExports(await readFile(path, 'utf8'));
    if (scanned.exported.length > 0) documented.push({ ...scanned, source: file, page: `api/${file}.md` });
  }
  return { documented, skipped };
}
