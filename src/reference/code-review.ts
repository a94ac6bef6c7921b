/** The capability code-review: reads what changed between two commits and says what a careful reviewer would.
 *  Runs the repository's compiler at most; nothing of the reviewed code is executed. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
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
import { provideDependencies } from './dependencies.js';
import { addedLines, complaints } from './patch.js';
import { inside } from './paths.js';
import {
  type ChangedFile,
  changedFiles,
  checkout,
  diffText,
  mergeBase,
  openRepository,
  resolveCommit,
  whitespaceComplaints,
} from './repository.js';
import { reviewReport } from './review-report.js';
import { type Finding, riskFindings } from './risk-rules.js';
import { changeSizeFinding, sizeFindings } from './size-rules.js';
import { type SyntaxCheckOptions, syntaxCheck, typeCheck } from './syntax-check.js';

export const codeReviewInput = z.object({
  repo: repoField,
  base: refField.describe('What to compare with; the review starts where the two histories parted'),
  head: headField,
  outputDirectory: outputDirectoryField,
});

export const findingSchema = z.object({
  file: z.string(),
  line: z.int().min(1),
  rule: z.string(),
  severity: z.enum(['error', 'warning', 'info']),
  message: z.string(),
});

export const codeReviewOutput = z.object({
  ...commitFields,
  base: z.string().describe('Full id of the commit compared with'),
  verdict: z.enum(['approve', 'comment', 'request_changes']),
  summary: z.string(),
  counts: z.object({ error: z.int(), warning: z.int(), info: z.int() }),
  changed: z.object({ files: z.int(), added: z.int(), deleted: z.int() }),
  findings: z.array(findingSchema).describe('Gravest first, at most 200'),
  omitted: z.int().describe('Findings beyond those listed; they are counted'),
  checks: z.array(z.object({ name: z.string(), status: z.enum(['done', 'skipped']), note: z.string() })),
  files: z.array(z.string()).describe('Absolute paths of reports written'),
});

export type CodeReviewInput = z.infer<typeof codeReviewInput>;
export type CodeReviewOutput = z.infer<typeof codeReviewOutput>;

const maxFindings = 200;
const maxSourceBytes = 512 * 1024;
const ranks = { error: 0, warning: 1, info: 2 } as const;

/**
 * Reviews `head` against the point where it left `base`.
 * Throws `NOT_A_REPOSITORY`, `UNKNOWN_COMMIT`, `UNSAFE_REF`, `COMMIT_MISSING`, or `TOO_LARGE` for a patch above 32 MiB.
 */
export async function codeReview(input: CodeReviewInput, context: ReferenceContext): Promise<CodeReviewOutput> {
  const { signal } = context;
  const target = await targetOf(input, context);
  const source = await openRepository(target.repo, signal);
  const head = await resolveCommit(source, target.head, signal);
  const tip = await resolveCommit(source, input.base, signal);
  const base = (await mergeBase(source, tip, head, signal)) ?? tip;
  const directory = join(context.workspace, 'checkout');
  await checkout({ source, commits: [head, base], directory, signal });
  const changed = await changedFiles(directory, base, head, signal);
  await context.progress(0.2, `${many(changed.length, 'file')} changed`);

  const present = changed.filter((each) => each.status !== 'D' && each.regular).map((each) => each.file);
  const scratch = join(context.workspace, 'scratch');
  await mkdir(scratch, { recursive: true });
  const dependencies = await provideDependencies({
    // The commit may be in a bare copy that a dependency made; packages are where the user works.
    sourcePath: input.repo,
    checkout: directory,
    install: false,
    signal,
  });
  const options: SyntaxCheckOptions = { checkout: directory, scratch, files: present, dependencies, signal };
  const checks = [await syntaxCheck(options), await typeCheck(options)];
  await context.progress(0.6, 'syntax and types checked');

  const findings = [
    ...checks.flatMap((check) => check.findings),
    ...(await whitespaceFindings(directory, base, head, changed, signal)),
    ...(await textFindings(directory, base, head, changed, signal)),
  ].sort(byGravity);
  const review = {
    repo: source.path,
    commit: head,
    base,
    ...concluded(findings, changed),
    checks: checks.map(({ name, status, note }) => ({ name, status, note })),
  };
  const report = await deliver(input.outputDirectory, 'code-review', 'review.md', reviewReport(review));
  context.log.info('reviewed', { commit: head, verdict: review.verdict, ...review.counts });
  await context.progress(1, review.summary);
  return { ...review, files: report === null ? [] : [report] };
}

async function whitespaceFindings(
  directory: string,
  base: string,
  head: string,
  changed: readonly ChangedFile[],
  signal: AbortSignal,
): Promise<Finding[]> {
  const text = await whitespaceComplaints(directory, base, head, signal);
  return complaints(
    text,
    changed.map((each) => each.file),
  ).map(({ file, line, message }) => {
    const conflict = message.includes('conflict marker');
    return {
      file,
      line,
      rule: conflict ? 'conflict-marker' : 'whitespace',
      severity: conflict ? 'error' : 'info',
      message: `${message[0]?.toUpperCase()}${message.slice(1)}.`,
    };
  });
}

async function textFindings(
  directory: string,
  base: string,
  head: string,
  changed: readonly ChangedFile[],
  signal: AbortSignal,
): Promise<Finding[]> {
  const added = addedLines(await diffText(directory, base, head, signal));
  const findings: Finding[] = [];
  for (const each of changed) {
    signal.throwIfAborted();
    const lines = added.get(each.file) ?? [];
    if (lines.length === 0 || !each.regular) continue;
    const body = await readFile(await inside(directory, each.file), 'utf8');
    // A larger file is generated or bundled: its lines are searched, its structure is not.
    const source = body.length > maxSourceBytes ? '' : body;
    findings.push(...riskFindings(each.file, source, lines));
    findings.push(...sizeFindings(each.file, source, lines, each.added - each.deleted));
  }
  const largest = [...changed].sort((a, b) => b.added + b.deleted - a.added - a.deleted)[0];
  const size = changed.reduce((sum, each) => sum + each.added + each.deleted, 0);
  const remark = largest === undefined ? null : changeSizeFinding(size, largest.file);
  return remark === null ? findings : [...findings, remark];
}

function concluded(findings: readonly Finding[], changed: readonly ChangedFile[]) {
  const count = (severity: Finding['severity']) => findings.filter((each) => each.severity === severity).length;
  const counts = { error: count('error'), warning: count('warning'), info: count('info') };
  const verdict: CodeReviewOutput['verdict'] =
    counts.error > 0 ? 'request_changes' : counts.warning > 0 ? 'comment' : 'approve';
  const added = changed.reduce((sum, each) => sum + each.added, 0);
  const deleted = changed.reduce((sum, each) => sum + each.deleted, 0);
  const size = `${many(changed.length, 'file')} changed (+${added} -${deleted})`;
  return {
    verdict,
    counts,
    summary: `${size}: ${many(counts.error, 'error')}, ${many(counts.warning, 'warning')}, ${many(counts.info, 'remark')}; ${verdict.replace('_', ' ')}.`,
    changed: { files: changed.length, added, deleted },
    findings: findings.slice(0, maxFindings),
    omitted: Math.max(0, findings.length - maxFindings),
  };
}

function byGravity(a: Finding, b: Finding): number {
  return ranks[a.severity] - ranks[b.severity] || (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line);
}

function many(n: number, one: string): string {
  return `${n} ${one}${n === 1 ? '' : 's'}`;
}
