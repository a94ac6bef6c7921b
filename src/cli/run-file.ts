// A run from a file, YAML or JSON: what is wrong in it is told with file, line and column, whether its syntax or its meaning.
import { LineCounter, parseDocument } from 'yaml';
import type { RunSpec } from '../contracts/task.js';
import { InvalidInput, MusterError } from '../errors.js';
import { validateRunSpec } from '../tasks/prepare.js';
import { parseJson } from './json.js';
import { readText } from './read.js';

export function readRunFile(file: string): RunSpec {
  const name = file === '-' ? 'stdin' : file;
  const text = readText(file === '-' ? 0 : file, name);
  // Shorthand: a list of tasks is a run of them.
  const wrap = (value: unknown): unknown => (Array.isArray(value) ? { tasks: value } : value);
  if (/\.json$/i.test(file)) return validateRunSpec(wrap(parseJson(text, name)));
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });
  if (document.errors.length > 0) {
    const problems = document.errors.slice(0, 5).map((error) => `${place(lines, error.pos[0])}: ${error.message}`);
    throw InvalidInput(name, problems.join('; '));
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw InvalidInput(name, error instanceof Error ? error.message : String(error));
  }
  try {
    return validateRunSpec(wrap(value));
  } catch (error) {
    const issues = error instanceof MusterError ? (error.details.issues as Issue[] | undefined) : undefined;
    if (issues === undefined) throw error;
    const list = Array.isArray(value);
    const problems = issues.slice(0, 10).map(({ path, message }) => {
      const node = nearest(document, list && path[0] === 'tasks' ? path.slice(1) : path);
      return `${node === undefined ? '' : `${place(lines, node)}: `}${path.length === 0 ? '' : `${path.join('.')}: `}${message}`;
    });
    throw InvalidInput(name, problems.join('; '), { details: { issues } });
  }
}

interface Issue {
  readonly path: readonly string[];
  readonly message: string;
}

/** Offset of the value at the path, or of the closest one around it: what is missing has no place of its own. */
function nearest(document: ReturnType<typeof parseDocument>, path: readonly string[]): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const keys = path.slice(0, length).map((key) => (/^\d+$/.test(key) ? Number(key) : key));
    const node = (length === 0 ? document.contents : document.getIn(keys, true)) as
      | { range?: [number] }
      | null
      | undefined;
    if (node?.range !== undefined) return node.range[0];
  }
  return undefined;
}

function place(lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `line ${line}, column ${col}`;
}
