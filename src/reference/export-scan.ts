/** Finds what a JavaScript or TypeScript file exports: names, signatures, doc comments, methods of classes.
 *  A scanner over masked text, not a compiler: it reads declarations at the top level and believes them. */
import { type DocComment, parseDoc } from './doc-comment.js';
import { type MaskedSource, maskSource } from './source-mask.js';

export interface Exported {
  readonly name: string;
  readonly kind: 'function' | 'class' | 'const' | 'interface' | 'type' | 'enum' | 're-export';
  /** As written, without the body. */
  readonly signature: string;
  /** 1-based. */
  readonly line: number;
  readonly doc: DocComment | null;
  /** Public methods, for a class. */
  readonly methods: readonly Pick<Exported, 'name' | 'signature' | 'line' | 'doc'>[];
}

export interface ScannedFile {
  /** The file's opening doc comment, when it does not belong to a declaration. */
  readonly intro: DocComment | null;
  readonly exported: readonly Exported[];
}

interface Declaration extends Exported {
  readonly exportedHere: boolean;
  readonly isDefault: boolean;
}

const declarationStart =
  /(?<![\w$.])(export\s+)?(default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(function\b\s*\*?|class\b|const\b(?!\s+enum)|let\b|var\b|interface\b|type\b|(?:const\s+)?enum\b)\s*([A-Za-z_$][\w$]*)?/g;

/** Exported things in the order they are written. Takes time about proportional to the text. */
export function scanExports(source: string): ScannedFile {
  const masked = maskSource(source);
  const declared = declarations(masked);
  const byName = new Map(declared.map((each) => [each.name, each]));
  const found = new Map<string, Exported>();
  const add = (name: string, thing: Declaration | undefined) => {
    if (thing !== undefined && !found.has(name)) found.set(name, strip({ ...thing, name }));
  };
  for (const each of declared)
    if (each.exportedHere) add(each.isDefault && each.name === '' ? 'default' : each.name, each);
  for (const { name, local } of listedExports(masked)) add(name, byName.get(local));
  for (const each of assignedExports(masked)) if (!found.has(each.name)) found.set(each.name, each);
  for (const each of reExports(masked)) found.set(each.name, each);
  const exported = [...found.values()].sort((a, b) => a.line - b.line);
  return { intro: intro(masked, declared), exported };
}

function declarations(masked: MaskedSource): Declaration[] {
  const found: Declaration[] = [];
  for (const match of masked.code.matchAll(declarationStart)) {
    const start = match.index;
    const word = match[3]!.replace(/[\s*]/g, '').replace('constenum', 'enum');
    const name = match[4] ?? '';
    const isDefault = match[2] !== undefined;
    if (masked.depth[start] !== 0 || (name === '' && !isDefault) || !startsStatement(masked, start)) continue;
    const kind = word === 'let' || word === 'var' ? 'const' : (word as Declaration['kind']);
    const body = bodyStart(masked, match.index + match[0].length, kind);
    const end = kind === 'interface' || kind === 'enum' || kind === 'type' ? statementEnd(masked, body) : body;
    found.push({
      name,
      kind: kind === 'const' && isFunctionValue(masked, body) ? 'function' : kind,
      signature: tidySignature(masked, start, end),
      line: masked.lineOf(start),
      doc: docBefore(masked, start),
      methods: kind === 'class' ? methods(masked, body) : [],
      exportedHere: match[1] !== undefined,
      isDefault,
    });
  }
  return found;
}

/** True when only the start of the file, a line break, `;` or `}` stands before: not `a.type = b`, not a label. */
function startsStatement(masked: MaskedSource, start: number): boolean {
  const before = masked.code.slice(Math.max(0, start - 200), start);
  const last = before.trimEnd().at(-1);
  return last === undefined || last === ';' || last === '}' || /\n[ \t]*$/.test(before);
}

/** Where the signature ends: the body's brace, the value of a const, or the end of the statement. */
function bodyStart(masked: MaskedSource, from: number, kind: Exported['kind']): number {
  const { code, depth, partner } = masked;
  const limit = headLimit(masked, from);
  for (let at = from; at < limit; at++) {
    if (depth[at] !== 0) continue;
    const char = code[at]!;
    if (char === ';') return at;
    if (char === '=' && kind === 'const') return code[at + 1] === '>' ? at + 2 : valueEnd(masked, at + 1);
    if (char === '=' && kind === 'type') return at;
    if (char !== '{') continue;
    // A brace right after one of these belongs to a type, as in `): { a: string } {`.
    if (
      kind === 'const' ||
      (kind === 'function' && /(?:[:|&<,(]|\bextends)\s*$/.test(code.slice(Math.max(from, at - 80), at)))
    ) {
      at = partner[at]!;
      continue;
    }
    return at;
  }
  return limit;
}

/** A signature longer than this is cut: looking further for its end would cost the square of the text. */
function headLimit(masked: MaskedSource, from: number): number {
  return Math.min(masked.code.length, from + 8_000);
}

/** For `= (a, b) => …` and `= function (a) …` the end of the head; for other values the end of the line. */
function valueEnd(masked: MaskedSource, from: number): number {
  const { code, depth } = masked;
  if (!/^\s*(?:async\b\s*)?(?:function\b|\(|<|[\w$]+\s*=>)/.test(code.slice(from, from + 200)))
    return endOfRow(masked, from);
  for (let at = from; at < headLimit(masked, from); at++) {
    if (depth[at] !== 0) continue;
    if (code.startsWith('=>', at)) return at + 2;
    if (code[at] === '{') return at;
    if (code[at] === ';') break;
  }
  return endOfRow(masked, from);
}

function isFunctionValue(masked: MaskedSource, end: number): boolean {
  const before = masked.code.slice(Math.max(0, end - 500), end).trimEnd();
  return before.endsWith('=>') || (masked.code[end] === '{' && /\)\s*(?::[^=]*)?$/.test(before));
}

function endOfRow(masked: MaskedSource, from: number): number {
  const limit = headLimit(masked, from);
  const end = masked.code.slice(from, limit).search(/[\n;]/);
  return end === -1 ? limit : from + end;
}

function statementEnd(masked: MaskedSource, from: number): number {
  const { code, depth, partner } = masked;
  if (code[from] === '{') return Math.min(partner[from]! + 1, code.length);
  const limit = headLimit(masked, from);
  for (let at = from; at < limit; at++) {
    if (depth[at] !== 0) continue;
    if (code[at] === ';') return at;
    // Without semicolons a type ends at a line break that neither follows nor precedes an operator.
    if (code[at] !== '\n') continue;
    const open = /[=|&<,?:]\s*$/.test(code.slice(Math.max(from, at - 80), at));
    if (!open && !/^\s*[|&?:]/.test(code.slice(at, at + 80))) return at;
  }
  return limit;
}

function methods(masked: MaskedSource, open: number): Declaration['methods'] {
  const { code, depth, partner } = masked;
  const found: { name: string; signature: string; line: number; doc: DocComment | null }[] = [];
  const end = partner[open]!;
  const head =
    /(?<=[{};\n])[ \t]*((?:(?:public|static|async|override|get|set)\s+)*\*?\s*([A-Za-z_$][\w$]*)\s*(?:<[^<>(){}]*>)?)\(/g;
  head.lastIndex = open;
  for (let match = head.exec(code); match !== null && match.index < end; match = head.exec(code)) {
    const paren = match.index + match[0].length - 1;
    const start = match.index + match[0].length - match[1]!.length - 1;
    if (depth[paren] !== depth[open]! + 1 || match[2]!.startsWith('_')) continue;
    let body = partner[paren]! + 1;
    while (body < end && code[body] !== '{' && code[body] !== ';') body++;
    if (code[body] !== '{') continue;
    const signature = tidySignature(masked, start, body);
    found.push({ name: match[2]!, signature, line: masked.lineOf(start), doc: docBefore(masked, start) });
  }
  return found;
}

/** `export { a, b as c }`, `export default a`, `module.exports = { a, b: c }`, `module.exports = a`, `exports.a = a`. */
function listedExports(masked: MaskedSource): { name: string; local: string }[] {
  const listed: { name: string; local: string }[] = [];
  const lists = /(?<![\w$.])(?:export\s*(?:type\s*)?|(module\.exports)\s*=\s*)\{([^{}]*)\}(?!\s*from\b)/g;
  for (const match of masked.code.matchAll(lists)) {
    if (masked.depth[match.index] !== 0) continue;
    for (const item of match[2]!.split(',')) {
      const renamed = match[1] === undefined ? /^\s*(?:type\s+)?([\w$]+)\s+as\s+([\w$]+)\s*$/.exec(item) : null;
      const keyed = match[1] === undefined ? null : /^\s*([\w$]+)\s*:\s*([\w$]+)\s*$/.exec(item);
      const plain = /^\s*(?:type\s+)?([\w$]+)\s*$/.exec(item);
      if (renamed !== null) listed.push({ name: renamed[2]!, local: renamed[1]! });
      else if (keyed !== null) listed.push({ name: keyed[1]!, local: keyed[2]! });
      else if (plain !== null) listed.push({ name: plain[1]!, local: plain[1]! });
    }
  }
  const single =
    /(?<![\w$.])(?:export\s+default\s+|module\.exports\s*=\s*|(?:module\.)?exports\.([\w$]+)\s*=\s*)([\w$]+)\s*(?=;|\n|$)/g;
  for (const match of masked.code.matchAll(single)) {
    if (masked.depth[match.index] === 0) listed.push({ name: match[1] ?? match[2]!, local: match[2]! });
  }
  return listed;
}

/** `exports.a = function (…) {` and `exports.a = (…) => …`, `exports.a = 1`. */
function assignedExports(masked: MaskedSource): Exported[] {
  const found: Exported[] = [];
  for (const match of masked.code.matchAll(/(?<![\w$.])(?:module\.)?exports\.([A-Za-z_$][\w$]*)\s*=(?!=)/g)) {
    if (masked.depth[match.index] !== 0) continue;
    const end = valueEnd(masked, match.index + match[0].length);
    found.push({
      name: match[1]!,
      kind: isFunctionValue(masked, end) ? 'function' : 'const',
      signature: tidySignature(masked, match.index, end),
      line: masked.lineOf(match.index),
      doc: docBefore(masked, match.index),
      methods: [],
    });
  }
  return found;
}

function reExports(masked: MaskedSource): Exported[] {
  return [
    ...masked.code.matchAll(/(?<![\w$.])export\s*(?:type\s*)?(?:\*(?:\s*as\s+[\w$]+)?|\{[^{}]*\})\s*from\b[^\n;]*/g),
  ]
    .filter((match) => masked.depth[match.index] === 0)
    .map((match) => {
      const text = masked.source.slice(match.index, match.index + match[0].length);
      const signature = text.replace(/\s+/g, ' ').trim().slice(0, 400);
      const kind = 're-export' as const;
      return { name: signature, kind, signature, line: masked.lineOf(match.index), doc: null, methods: [] };
    });
}

function tidySignature(masked: MaskedSource, start: number, end: number): string {
  const text = masked.source
    .slice(start, end)
    .trim()
    .replace(/\s*=>$/, '')
    .replace(/[([{]$/, '$& …'); // a value that goes on for more lines
  return text.length > 2_000 ? `${text.slice(0, 2_000)} …` : text;
}

function docBefore(masked: MaskedSource, start: number): DocComment | null {
  // Binary search: the last comment that ends before the declaration.
  let low = -1;
  let high = masked.comments.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (masked.comments[middle]!.end <= start) low = middle;
    else high = middle;
  }
  const comment = masked.comments[low];
  if (comment === undefined || !comment.text.startsWith('/**')) return null;
  const between = masked.code.slice(comment.end, start);
  // Decorators and modifiers may stand between; anything else means the comment is about something else.
  return /^\s*(?:@[\w$.]+(?:\([^()]*\))?\s*)*$/.test(between) ? parseDoc(comment.text) : null;
}

function intro(masked: MaskedSource, declared: readonly Declaration[]): DocComment | null {
  const first = masked.comments.find((comment) => comment.text.startsWith('/**'));
  // Only 'use strict' may stand before it; masked, that leaves at most its semicolon.
  if (first === undefined || masked.code.slice(0, first.start).trim().length > 1) return null;
  const owner = declared.find((each) => each.doc !== null && each.doc.raw === first.text);
  return owner === undefined || /=\s*require\b/.test(owner.signature) ? parseDoc(first.text) : null;
}

function strip(each: Declaration): Exported {
  const { exportedHere: _here, isDefault: _default, ...rest } = each;
  return rest;
}
