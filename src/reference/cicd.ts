/** The capability run-tests: copies one commit into the task's workspace and runs its tests there.
 *  This executes the repository's own code with the rights of the agent: give it repositories you trust. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type CommandResult, runCommand } from './command.js';
import {
  commitFields,
  deliver,
  headField,
  outputDirectoryField,
  type ReferenceContext,
  refField,
  repoField,
  targetOf,
} from './context.js';
import { type Dependencies, provideDependencies, readManifest } from './dependencies.js';
import { quoted, ReferenceFailure } from './errors.js';
import { changedFiles, checkout, listFiles, mergeBase, openRepository, resolveCommit } from './repository.js';
import { type CheckReport, syntaxCheck } from './syntax-check.js';
import { testCounts, testCountsSchema } from './test-counts.js';

export const runTestsInput = z.object({
  repo: repoField,
  head: headField,
  base: refField.optional().describe('Without runnable tests only files changed since then are checked'),
  install: z.boolean().default(false).describe('Allows npm ci --ignore-scripts when packages are missing'),
  command: z
    .array(z.string().max(4096))
    .min(1)
    .max(64)
    .optional()
    .describe('Run this instead of npm test; the first item is "node" or "npm"'),
  timeoutMs: z.int().min(1_000).max(3_600_000).default(600_000),
  outputDirectory: outputDirectoryField,
});

export const runTestsOutput = z.object({
  ...commitFields,
  status: z
    .enum(['passed', 'failed', 'timed_out', 'checked', 'not_run'])
    .describe('checked: the tests could not run, the syntax is right; not_run: there was nothing to run or check'),
  reason: z.string().describe('One sentence: why this status'),
  command: z.array(z.string()).describe('What was run'),
  exitCode: z.int().nullable(),
  tests: testCountsSchema.nullable().describe('When the output is of node --test or jest'),
  dependencies: z.string().describe('Where its packages came from'),
  output: z.string().describe('Both streams, the middle left out when long; at most about 40 KiB'),
  truncated: z.boolean(),
  durationMs: z.int(),
  files: z.array(z.string()).describe('Absolute paths of files written'),
});

export type RunTestsInput = z.infer<typeof runTestsInput>;
export type RunTestsOutput = z.infer<typeof runTestsOutput>;

type Verdict = Omit<RunTestsOutput, 'repo' | 'commit' | 'dependencies' | 'files'>;

const programs: Readonly<Record<string, string>> = { node: process.execPath, npm: 'npm' };

/**
 * Runs the tests of `head`. Failing tests are a result (`status: 'failed'`), not an error.
 * Throws `COMMAND_NOT_ALLOWED`, `NOT_A_REPOSITORY`, `UNKNOWN_COMMIT`, `UNSAFE_REF` or `COMMIT_MISSING`.
 */
export async function runTests(input: RunTestsInput, context: ReferenceContext): Promise<RunTestsOutput> {
  const { signal } = context;
  if (input.command !== undefined) assertAllowed(input.command);
  const target = await targetOf(input, context);
  const source = await openRepository(target.repo, signal);
  const commit = await resolveCommit(source, target.head, signal);
  const since = input.base === undefined ? null : await resolveCommit(source, input.base, signal);
  const base = since === null ? null : ((await mergeBase(source, since, commit, signal)) ?? since);
  const directory = join(context.workspace, 'checkout');
  const commits: [string, ...string[]] = base === null ? [commit] : [commit, base];
  await checkout({ source, commits, directory, symlinks: true, signal });
  await context.progress(0.2, 'checked out');

  const packages = await provideDependencies({
    // The commit may be in a bare copy that a dependency made; packages are where the user works.
    sourcePath: input.repo,
    checkout: directory,
    install: input.install,
    signal,
  });
  await context.progress(0.3, packages.note);
  const plan = await planFor(input, directory, packages);
  const verdict =
    'command' in plan
      ? await runPlanned(plan.command, directory, input.timeoutMs, signal)
      : await checkInstead(plan.reason, { directory, commit, base, packages, context });
  const log = await deliver(input.outputDirectory, 'run-tests', 'output.txt', verdict.output);
  context.log.info('ran tests', { commit, status: verdict.status, ...verdict.tests });
  await context.progress(1, verdict.reason);
  return { repo: source.path, commit, dependencies: packages.note, ...verdict, files: log === null ? [] : [log] };
}

/** The command to run, or the reason why there is none. */
async function planFor(
  input: RunTestsInput,
  directory: string,
  packages: Dependencies,
): Promise<{ command: string[] } | { reason: string }> {
  if (input.command !== undefined) return { command: input.command };
  const script = (await readManifest(directory))?.scripts?.test;
  // What npm init writes is not a test that fails, it is no test.
  if (script === undefined || script.includes('no test specified')) return { reason: 'The commit has no test script.' };
  if (packages.state === 'missing') return { reason: packages.note };
  return { command: ['npm', 'test'] };
}

async function runPlanned(
  command: readonly string[],
  directory: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Verdict> {
  const [program, ...args] = command;
  const result = await runCommand(programs[program!]!, args, {
    cwd: directory,
    signal,
    timeoutMs,
    headBytes: 8 * 1024,
    tailBytes: 32 * 1024,
    env: { npm_config_update_notifier: 'false', npm_config_fund: 'false', npm_config_audit: 'false' },
  });
  const tests = testCounts(result.output);
  const status = result.timedOut ? 'timed_out' : result.exitCode === 0 ? 'passed' : 'failed';
  return {
    status,
    reason: explain(result, tests, timeoutMs),
    command: [...command],
    exitCode: result.exitCode,
    tests,
    output: result.output,
    truncated: result.truncated,
    durationMs: result.durationMs,
  };
}

function explain(result: CommandResult, tests: Verdict['tests'], timeoutMs: number): string {
  if (result.timedOut) return `It was stopped after ${timeoutMs} ms.`;
  const ending = result.exitCode === null ? 'was ended by a signal' : `ended with exit code ${result.exitCode}`;
  if (tests === null) return `The command ${ending}.`;
  return `${tests.passed} of ${tests.total} tests passed, ${tests.failed} failed; the command ${ending}.`;
}

async function checkInstead(
  why: string,
  at: {
    readonly directory: string;
    readonly commit: string;
    readonly base: string | null;
    readonly packages: Dependencies;
    readonly context: ReferenceContext;
  },
): Promise<Verdict> {
  const { signal, workspace } = at.context;
  const files =
    at.base === null
      ? await listFiles(at.directory, at.commit, signal)
      : (await changedFiles(at.directory, at.base, at.commit, signal))
          .filter((each) => each.status !== 'D' && each.regular)
          .map((each) => each.file);
  const scratch = join(workspace, 'scratch');
  await mkdir(scratch, { recursive: true });
  const startedAt = performance.now();
  const check = await syntaxCheck({ checkout: at.directory, scratch, files, dependencies: at.packages, signal });
  const status = statusOf(check);
  return {
    status,
    reason: `${why} Instead of the tests the syntax was looked at: ${check.note}`,
    command: check.status === 'done' ? ['node', '--check'] : [],
    exitCode: check.status === 'done' ? Number(status === 'failed') : null,
    tests: null,
    output: check.findings
      .map((each) => `${each.file}:${each.line}: ${each.message}\n`)
      .join('')
      .slice(0, 40_000),
    truncated: false,
    durationMs: Math.round(performance.now() - startedAt),
  };
}

function statusOf(check: CheckReport): Verdict['status'] {
  if (check.findings.length > 0) return 'failed';
  return check.status === 'done' ? 'checked' : 'not_run';
}

function assertAllowed(command: readonly string[]): void {
  const program = command[0]!;
  if (Object.hasOwn(programs, program) && !command.some((part) => part.includes('\0'))) return;
  throw new ReferenceFailure('COMMAND_NOT_ALLOWED', {
    why: `${quoted(program)} is not a program this agent runs.`,
    effect: 'Nothing was run.',
    next: 'Let `command` begin with "node" or "npm", or leave it out to run npm test.',
  });
}
