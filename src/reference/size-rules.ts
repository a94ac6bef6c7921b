/** How big a change, its functions and its files are; big ones are harder to review, and said to be so.
 *  Pure; works on masked source. */
import type { AddedLine } from './patch.js';
import { type Finding, testFile } from './risk-rules.js';
import { type MaskedSource, maskSource } from './source-mask.js';

/** Lines. Beyond `changeError` nobody reads with care any more. */
export const sizeLimits = { change: 500, changeError: 3000, functionLines: 60, fileLines: 500 } as const;

export interface FunctionSpan {
  /** `(anonymous)` when it has none. */
  readonly name: string;
  /** 1-based, both included. */
  readonly firstLine: number;
  readonly lastLine: number;
}

const scriptFile = /\.(?:[cm]?[jt]s|[jt]sx)$/i;
const notFunctions = /^(?:if|for|while|switch|catch|with|await)$/;

/** Long functions that gained lines, and long files that grew. */
export function sizeFindings(file: string, source: string, added: readonly AddedLine[], grewBy: number): Finding[] {
  const findings: Finding[] = [];
  const lines = source.split('\n').length - (source.endsWith('\n') ? 1 : 0);
  if (scriptFile.test(file) && lines > sizeLimits.fileLines && grewBy > 0) {
    const message = `The file has ${lines} lines (more than ${sizeLimits.fileLines}) and grew by ${grewBy}.`;
    findings.push({ file, line: 1, rule: 'long-file', severity: 'info', message });
  }
  // A block of test cases is as long as there are cases.
  if (!scriptFile.test(file) || testFile.test(file)) return findings;
  for (const span of functionSpans(maskSource(source))) {
    const length = span.lastLine - span.firstLine + 1;
    const touched = added.some(({ line }) => line >= span.firstLine && line <= span.lastLine);
    if (length <= sizeLimits.functionLines || !touched) continue;
    const message = `${span.name} is ${length} lines long (more than ${sizeLimits.functionLines}); split it by what it does.`;
    findings.push({ file, line: span.firstLine, rule: 'long-function', severity: 'warning', message });
  }
  return findings;
}

/** A remark on the change as a whole, or `null` when it is small enough. `file` is the largest one. */
export function changeSizeFinding(changedLines: number, file: string): Finding | null {
  if (changedLines <= sizeLimits.change) return null;
  const severity = changedLines > sizeLimits.changeError ? 'warning' : 'info';
  const message = `The change touches ${changedLines} lines (more than ${sizeLimits.change}); smaller ones are reviewed better.`;
  return { file, line: 1, rule: 'large-change', severity, message };
}

/** Every function, method and arrow function with a body in braces, outer before inner. */
export function functionSpans(masked: MaskedSource): FunctionSpan[] {
  const spans: FunctionSpan[] = [];
  for (let open = masked.code.indexOf('{'); open !== -1; open = masked.code.indexOf('{', open + 1)) {
    const head = headOf(masked, open);
    if (head === null) continue;
    spans.push({
      name: head.name,
      firstLine: masked.lineOf(head.start),
      lastLine: masked.lineOf(masked.partner[open]!),
    });
  }
  return spans;
}

/** What stands before a brace: the name and start of a function, or `null` when the brace opens something else. */
function headOf(masked: MaskedSource, open: number): { name: string; start: number } | null {
  const before = masked.code.slice(Math.max(0, open - 400), open).trimEnd();
  const from = Math.max(0, open - 400);
  const arrow = before.endsWith('=>');
  const shown = arrow ? before.slice(0, -2).trimEnd() : before;
  const typed = /\)\s*(?::[^{};=()]+)?$/.exec(shown);
  if (typed === null) {
    const single = arrow ? /(?:([\w$]+)\s*=\s*)?(?:async\s+)?[\w$]+$/.exec(shown) : null;
    return single === null ? null : { name: single[1] ?? '(anonymous)', start: from + single.index };
  }
  const start = masked.partner[from + typed.index]!;
  if (masked.code[start] !== '(') return null;
  const lead = masked.code
    .slice(Math.max(0, start - 200), start)
    .replace(/<[^<>;{}]*>$/, '')
    .trimEnd();
  const word = /([\w$#]+)$/.exec(lead)?.[1];
  if (arrow) {
    const target = /([\w$]+)\s*(?::[^=;{}]+)?[=:]\s*(?:async)?$/.exec(lead)?.[1];
    return { name: target ?? '(anonymous)', start };
  }
  if (word === undefined || notFunctions.test(word)) return null;
  return { name: word === 'function' ? '(anonymous)' : word, start };
}
