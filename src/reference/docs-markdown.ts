/** Turns scanned exports into Markdown: one page per source file and an index. Pure.
 *  Names and signatures come from the repository and are always shown as code. */
import type { DocComment } from './doc-comment.js';
import type { Exported, ScannedFile } from './export-scan.js';
import { code } from './review-report.js';

export interface DocumentedFile extends ScannedFile {
  /** Relative to the repository. */
  readonly source: string;
  /** Relative to the documentation, `/` between folders. */
  readonly page: string;
}

/** The page of one source file; ends with a newline. */
export function modulePage(file: DocumentedFile): string {
  const language = /\.[cm]?ts$/.test(file.source) ? 'ts' : 'js';
  const home = `${'../'.repeat(file.page.split('/').length - 1)}README.md`;
  const parts = [
    `# ${code(file.source)}`,
    ...(file.intro === null || file.intro.description === '' ? [] : [file.intro.description]),
    ...file.exported.flatMap((each) => section(each, language)),
    `[All modules](${home})`,
  ];
  return `${parts.join('\n\n')}\n`;
}

/** The index of all pages; ends with a newline. */
export function indexPage(title: string, commit: string, files: readonly DocumentedFile[]): string {
  const rows = files.map((file) => {
    const names = file.exported.filter((each) => each.kind !== 're-export').map((each) => code(each.name));
    const link = file.page.split('/').map(encodeURIComponent).join('/');
    return `- [${code(file.source)}](${link}): ${names.length === 0 ? 're-exports only' : names.join(', ')}`;
  });
  const body = rows.length === 0 ? 'Nothing is exported.' : rows.join('\n');
  return `# ${code(title)}\n\nExported functions, classes and values at commit ${code(commit)}.\n\n${body}\n`;
}

function section(each: Exported, language: string): string[] {
  const title = each.kind === 're-export' ? `## Re-export, line ${each.line}` : `## ${code(each.name)}`;
  const methods = each.methods.flatMap((method) => [
    `### ${code(`${each.name}.${method.name}`)}`,
    fenced(method.signature, language),
    ...prose(method.doc),
  ]);
  return [title, fenced(each.signature, language), ...prose(each.doc), ...methods];
}

function prose(doc: DocComment | null): string[] {
  if (doc === null) return [];
  const params = doc.params.map((param) => `- ${code(param.name)}${typed(param.type)}${said(param.text)}`);
  return [
    ...(doc.deprecated === null ? [] : [`**Deprecated.** ${doc.deprecated}`.trim()]),
    ...(doc.description === '' ? [] : [doc.description]),
    ...(params.length === 0 ? [] : ['**Parameters**', params.join('\n')]),
    ...(doc.returns === null ? [] : [`**Returns**${typed(doc.returns.type)}${said(doc.returns.text)}`]),
    ...(doc.throws.length === 0 ? [] : ['**Throws**', doc.throws.map((text) => `- ${text}`).join('\n')]),
    ...doc.examples.flatMap((text) => ['**Example**', text.includes('```') ? text : fenced(text, 'js')]),
  ];
}

function typed(type: string): string {
  return type === '' ? '' : ` (${code(type)})`;
}

function said(text: string): string {
  return text === '' ? '' : `: ${text}`;
}

/** A code block whose fence is longer than any inside it. */
function fenced(text: string, language: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((run) => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}
