/** What a demo run brought about, for people: verdict and findings, tests, documentation, site, files. Pure but for the colours.
 *  Reads the results as their contracts describe them; a task without a result says why. */
import type { Task } from '../contracts/task.js';
import { formatDuration } from '../decide/waterfall.js';
import { runTestsOutput } from '../reference/cicd.js';
import { codeReviewOutput } from '../reference/code-review.js';
import { writeDocsOutput } from '../reference/documentation.js';
import { applyChangeOutput } from '../reference/feature-dev.js';
import { deploySiteOutput } from '../reference/infrastructure.js';
import { paint } from './output.js';
import { oneLine } from './task-line.js';

const MOST_FINDINGS = 6;
const MOST_WORDS = 10;

/** One paragraph per task: a title and lines. */
export function summaryLines(tasks: readonly Task[]): string[] {
  return tasks.flatMap((task) => {
    const lines = task.status === 'completed' ? resultLines(task) : [notDone(task)];
    return lines.map((line, i) => `${paint.bold((i === 0 ? titleOf(task) : '').padEnd(9))} ${oneLine(line)}`);
  });
}

function titleOf({ key }: Task): string {
  return `${key.charAt(0).toUpperCase()}${key.slice(1)}`;
}

function notDone(task: Task): string {
  return `${task.status} (${task.reason ?? 'no reason given'})${task.error === undefined ? '' : `: ${task.error.message}`}`;
}

function resultLines({ capability, result }: Task): string[] {
  const describe = DESCRIPTIONS[capability];
  return describe === undefined ? ['completed'] : describe(result);
}

const DESCRIPTIONS: Readonly<Record<string, (result: unknown) => string[]>> = {
  'apply-change'(result) {
    const { branch, commit, diffstat, pushed } = applyChangeOutput.parse(result);
    const files = plural(diffstat.files.length, 'file');
    const where = pushed ? `branch ${branch}` : 'kept apart, the repository is as it was';
    return [`commit ${commit.slice(0, 10)}: ${files} +${diffstat.added} -${diffstat.deleted} (${where})`];
  },
  'code-review'(result) {
    const { verdict, changed, counts, findings } = codeReviewOutput.parse(result);
    const tally = `${plural(counts.error, 'error')}, ${plural(counts.warning, 'warning')}, ${plural(counts.info, 'remark')}`;
    const shown = findings.slice(0, MOST_FINDINGS).map((finding) => {
      // What to do about it is in the report.
      const says = finding.message.split(/[.;](?: |$)/, 1)[0];
      return `  ${finding.severity.padEnd(7)} ${finding.file}:${finding.line}  ${says} (${finding.rule})`;
    });
    const left = counts.error + counts.warning + counts.info - shown.length;
    return [
      `${verdict.replaceAll('_', ' ')}: ${tally} in ${plural(changed.files, 'file')} (+${changed.added} -${changed.deleted})`,
      ...shown,
      ...(left > 0 ? [`  and ${left} more in the report`] : []),
    ];
  },
  'run-tests'(result) {
    const { status, reason, durationMs, output } = runTestsOutput.parse(result);
    const isBad = status === 'failed' || status === 'timed_out';
    const words = isBad ? output.trimEnd().split('\n').slice(-MOST_WORDS) : [];
    return [
      `${status.replaceAll('_', ' ')} in ${formatDuration(durationMs)}: ${reason}`,
      ...words.map((line) => `  ${line}`),
    ];
  },
  'write-docs'(result) {
    const { counts, files } = writeDocsOutput.parse(result);
    const { sources, exported, documented } = counts;
    return [
      `${plural(files.length, 'page')} from ${plural(sources, 'source file')}: ${exported} exports, ${documented} with a comment`,
    ];
  },
  'deploy-site'(result) {
    const { url, docsUrl, served, fileCount, checks, build } = deploySiteOutput.parse(result);
    return [
      `${url}  healthy: ${plural(checks.length, 'address', 'addresses')} of ${plural(fileCount, 'file')} answered as built`,
      ...(docsUrl === null ? [] : [`${docsUrl}  the documentation`]),
      `${served === 'generated documentation' ? 'The generated documentation' : served} is served. ${build}`,
    ];
  },
};

function plural(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
