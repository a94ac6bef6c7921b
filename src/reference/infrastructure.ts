/** The capability deploy-site: builds the site of one commit, serves it on this machine, and proves that it answers.
 *  The build runs the repository's own code. A site stays up until replaced or `stopDeployments()`. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { runCommand } from './command.js';
import {
  commitFields,
  headField,
  outputDirectoryField,
  type ReferenceContext,
  repoField,
  targetOf,
} from './context.js';
import { provideDependencies, readManifest } from './dependencies.js';
import { quoted, ReferenceFailure } from './errors.js';
import { checkout, openRepository, resolveCommit } from './repository.js';
import { checkHealth, checkSchema } from './site-health.js';
import { assembleSite, newRelease } from './site-release.js';
import { type Site, startSite } from './site-server.js';

export const deploySiteInput = z.object({
  repo: repoField,
  head: headField,
  name: z
    .string()
    .min(1)
    .max(100)
    .optional()
    .describe('A later deployment of the same name replaces this one; default: the repository'),
  build: z.boolean().default(true).describe('Runs the build script of package.json when there is one'),
  install: z.boolean().default(false).describe('Allows npm ci --ignore-scripts when the build needs packages'),
  directory: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .describe('Where the site is, relative to the repository; found when absent'),
  requireTests: z
    .boolean()
    .default(true)
    .describe('Refuses to deploy when a task this one depends on ran tests that failed'),
  outputDirectory: outputDirectoryField,
});

export const deploySiteOutput = z.object({
  ...commitFields,
  url: z.string(),
  docsUrl: z.string().nullable().describe('The generated documentation, when a dependency wrote some'),
  served: z.string().describe('What is served: a directory of the repository, or "generated documentation"'),
  directory: z.string().describe('Absolute path of the copy being served'),
  fileCount: z.int(),
  build: z.string().describe('One sentence'),
  replaced: z.boolean().describe('True when an earlier deployment gave way; the address stays'),
  checks: z.array(checkSchema).describe('Every one succeeded, or the task would have failed'),
  notes: z.array(z.string()),
});

export type DeploySiteInput = z.infer<typeof deploySiteInput>;
export type DeploySiteOutput = z.infer<typeof deploySiteOutput>;

interface Deployment {
  readonly site: Site;
  /** Removed with the deployment; `null` when the files are the user's to keep. */
  temporary: string | null;
}

const deployments = new Map<string, Deployment>();
const failedTests = z.object({
  status: z.enum(['failed', 'timed_out']),
  exitCode: z.int().nullable(),
  reason: z.string(),
});
const objection = z.object({ verdict: z.literal('request_changes'), summary: z.string() });

/**
 * Deploys `head`. The earlier deployment keeps serving until the new one has passed its checks.
 * Throws `TESTS_FAILED`, `BUILD_FAILED`, `NOTHING_TO_DEPLOY`, `UNHEALTHY`, `UNSAFE_PATH`, `TOO_LARGE`,
 * `NOT_A_REPOSITORY`, `UNKNOWN_COMMIT`, `UNSAFE_REF` or `COMMIT_MISSING`.
 */
export async function deploySite(input: DeploySiteInput, context: ReferenceContext): Promise<DeploySiteOutput> {
  const { signal } = context;
  const results = await context.dependencies();
  if (input.requireTests) assertTestsPassed(results);
  const target = await targetOf(input, context);
  const source = await openRepository(target.repo, signal);
  const commit = await resolveCommit(source, target.head, signal);
  const directory = join(context.workspace, 'checkout');
  await checkout({ source, commits: [commit], directory, symlinks: true, signal });
  await context.progress(0.2, 'checked out');

  const build = await buildSite(input, directory, signal);
  await context.progress(0.5, build);
  const release = await newRelease(input.outputDirectory, commit);
  let live = false;
  try {
    const made = await assembleSite({ checkout: directory, wanted: input.directory, results, release: release.path });
    const candidate = await startSite(release.path);
    const { site, replaced, checks } = await replaceWhenHealthy(
      input.name ?? source.path,
      candidate,
      release,
      made.files,
      signal,
    );
    live = true;
    context.log.info('deployed', { commit, url: site.url, files: made.files.length, replaced });
    await context.progress(1, `serving at ${site.url}`);
    return {
      repo: source.path,
      commit,
      url: site.url,
      docsUrl: made.docs === null ? null : new URL(made.docs, site.url).href,
      served: made.served,
      directory: release.path,
      fileCount: made.files.length,
      build,
      replaced,
      checks,
      notes: [...made.notes, ...objections(results)],
    };
  } finally {
    if (!live) await rm(release.path, { recursive: true, force: true });
  }
}

/** Stops every site this process serves and removes their temporary copies. Safe to call at any time, twice too. */
export async function stopDeployments(): Promise<void> {
  const all = [...deployments.values()];
  deployments.clear();
  await Promise.all(all.map((each) => each.site.stop()));
  for (const { temporary } of all) if (temporary !== null) await rm(temporary, { recursive: true, force: true });
}

async function replaceWhenHealthy(
  name: string,
  candidate: Site,
  release: { readonly path: string; readonly temporary: boolean },
  files: readonly string[],
  signal: AbortSignal,
) {
  const temporary = release.temporary ? release.path : null;
  let taken = false;
  try {
    const checks = await checkHealth(candidate.url, release.path, files, signal);
    signal.throwIfAborted();
    const live = deployments.get(name);
    // Nothing is awaited between reading and writing the map: of two deployments at once, the later wins, none leaks.
    if (live === undefined) {
      deployments.set(name, { site: candidate, temporary });
      taken = true;
      return { site: candidate, replaced: false, checks };
    }
    const former = live.temporary;
    live.site.exchange(release.path);
    live.temporary = temporary;
    // The new site is up: a former copy that cannot be removed must not make this a failure.
    if (former !== null) await rm(former, { recursive: true, force: true }).catch(() => undefined);
    return { site: live.site, replaced: true, checks };
  } finally {
    if (!taken) await candidate.stop();
  }
}

async function buildSite(input: DeploySiteInput, directory: string, signal: AbortSignal): Promise<string> {
  if (!input.build) return 'Not built: not asked for.';
  if ((await readManifest(directory))?.scripts?.build === undefined) return 'Not built: there is no build script.';
  const packages = await provideDependencies({
    sourcePath: input.repo,
    checkout: directory,
    install: input.install,
    signal,
  });
  if (packages.state === 'missing') return `Not built. ${packages.note}`;
  const result = await runCommand('npm', ['run', 'build'], {
    cwd: directory,
    signal,
    timeoutMs: 300_000,
    headBytes: 2 * 1024,
    tailBytes: 4 * 1024,
    env: { npm_config_update_notifier: 'false' },
  });
  if (result.exitCode === 0) return `Built with npm run build in ${result.durationMs} ms.`;
  throw new ReferenceFailure('BUILD_FAILED', {
    why: `npm run build ${result.timedOut ? 'took longer than 300 s' : 'failed'}: ${result.output.trim().slice(-600)}`,
    effect: 'Nothing was deployed; what was being served still is.',
    next: 'Make the build pass, or deploy with `build: false`.',
  });
}

function assertTestsPassed(results: Record<string, unknown>): void {
  for (const [key, result] of Object.entries(results)) {
    const failed = failedTests.safeParse(result);
    if (!failed.success) continue;
    throw new ReferenceFailure('TESTS_FAILED', {
      why: `The tests of ${quoted(key)} did not pass: ${failed.data.reason}`,
      effect: 'Nothing was deployed; what was being served still is.',
      next: 'Make the tests pass, or deploy with `requireTests: false`.',
    });
  }
}

function objections(results: Record<string, unknown>): string[] {
  return Object.entries(results).flatMap(([key, result]) => {
    const parsed = objection.safeParse(result);
    return parsed.success ? [`${key} requests changes: ${parsed.data.summary}`] : [];
  });
}
