/** Turns a finished review into a Markdown page for people. Pure; file names and messages from the repository
 *  are shown as code, so they cannot draw headings or links of their own. */
import type { CodeReviewOutput } from './code-review.js';

const verdicts = { approve: 'Approve', comment: 'Comment', request_changes: 'Changes requested' } as const;

/** The page; ends with a newline. */
export function reviewReport(review: Omit<CodeReviewOutput, 'files'>): string {
  const findings = review.findings.map(
    (each) => `| ${each.severity} | ${code(`${each.file}:${each.line}`)} | ${each.rule} | ${cell(each.message)} |`,
  );
  const table = ['| Severity | Where | Rule | What |', '|---|---|---|---|', ...findings];
  const left = review.omitted > 0 ? [`\n${review.omitted} more findings are not listed.`] : [];
  return `${[
    `# ${verdicts[review.verdict]}`,
    '',
    review.summary,
    '',
    `Commit ${code(review.commit)} compared with ${code(review.base)}.`,
    '',
    ...(findings.length === 0 ? ['Nothing to remark.'] : [...table, ...left]),
    '',
    '## Checks',
    '',
    ...review.checks.map((check) => `- ${check.name}: ${check.status}. ${cell(check.note)}`),
  ].join('\n')}\n`;
}

/** Inline code, whatever the text contains. */
export function code(text: string): string {
  const shown = text.replace(/[\x00-\x1f\x7f]/g, (char) => JSON.stringify(char).slice(1, -1)).replaceAll('|', '\\|');
  const longest = Math.max(0, ...[...shown.matchAll(/`+/g)].map((run) => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return longest === 0 ? `\`${shown}\`` : `${fence} ${shown} ${fence}`;
}

/** Plain text in a table cell or list: what Markdown or HTML would act on is escaped. */
export function cell(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_[\]|]/g, '\\$&')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;');
}
