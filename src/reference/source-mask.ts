/** Reads JavaScript and TypeScript just far enough to tell code from comments and strings, so that the review
 *  and the documentation can search text without being fooled by it. Pure; offsets and lines never shift. */

export interface Comment {
  /** Offset of the first character; `end` is one past the last. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface MaskedSource {
  readonly source: string;
  /** Comments, strings and regular expressions blanked with spaces. */
  readonly code: string;
  /** Only comments blanked. */
  readonly withoutComments: string;
  readonly comments: readonly Comment[];
  /** Bracket depth before each character of `code`, counting (), [] and {}. */
  readonly depth: Int32Array;
  /** For each bracket the offset of the one it pairs with; the end of the text for one never closed. */
  readonly partner: Int32Array;
  /** 1-based line of an offset. */
  lineOf(offset: number): number;
}

const wordsBeforeRegex = /(?:^|[^\w$.])(?:return|typeof|case|in|of|delete|void|throw|new|else|do|await|yield)$/;

/** Takes time proportional to the text. Broken code gives a best effort, never an error. */
export function maskSource(source: string): MaskedSource {
  const code = source.split('');
  const withoutComments = source.split('');
  const comments: Comment[] = [];
  // One number per open template literal: how many braces are open inside its current ${ }.
  const templates: number[] = [];
  let lastCode = -1; // offset of the last character that is neither blank nor comment

  const comment = (start: number, end: number) => {
    blank(code, start, end);
    blank(withoutComments, start, end);
    comments.push({ start, end, text: source.slice(start, end) });
    return end;
  };
  const literal = (start: number, end: number) => {
    blank(code, start, end);
    lastCode = end - 1;
    return end;
  };
  /** From inside a template's text to just past its closing backtick, or past the next `${`. */
  const templateText = (start: number): number => {
    let i = start;
    while (i < source.length && source[i] !== '`' && !source.startsWith('${', i)) i += source[i] === '\\' ? 2 : 1;
    if (source.startsWith('${', i)) {
      templates.push(0);
      return literal(start, i + 2);
    }
    return literal(start, Math.min(i + 1, source.length));
  };

  let at = source.startsWith('#!') ? comment(0, endOfLine(source, 0)) : 0;
  while (at < source.length) {
    const char = source[at]!;
    const open = templates.length - 1;
    if (char === '/' && source[at + 1] === '/') at = comment(at, endOfLine(source, at));
    else if (char === '/' && source[at + 1] === '*') at = comment(at, endOfComment(source, at));
    else if (char === '"' || char === "'") at = literal(at, endOfString(source, at));
    else if (char === '`') {
      code[at] = ' ';
      at = templateText(at + 1);
    } else if (char === '/' && startsRegex(source, lastCode)) at = literal(at, endOfRegex(source, at));
    else if (char === '}' && open >= 0 && templates[open] === 0) {
      templates.pop();
      at = templateText(at);
    } else {
      if (open >= 0 && char === '{') templates[open]!++;
      if (open >= 0 && char === '}') templates[open]!--;
      if (char > ' ') lastCode = at;
      at++;
    }
  }
  const masked = code.join('');
  return {
    source,
    code: masked,
    withoutComments: withoutComments.join(''),
    comments,
    ...brackets(masked),
    lineOf: lineFinder(source),
  };
}

function blank(text: string[], start: number, end: number): void {
  for (let at = start; at < end; at++) if (text[at] !== '\n') text[at] = ' ';
}

function brackets(code: string): { depth: Int32Array; partner: Int32Array } {
  const depth = new Int32Array(code.length + 1);
  const partner = new Int32Array(code.length + 1).fill(code.length);
  const open: number[] = [];
  for (let at = 0; at < code.length; at++) {
    depth[at] = open.length;
    const char = code[at]!;
    if (char === '(' || char === '[' || char === '{') open.push(at);
    else if (char === ')' || char === ']' || char === '}') {
      const start = open.pop();
      if (start === undefined) continue;
      partner[start] = at;
      partner[at] = start;
    }
  }
  depth[code.length] = open.length;
  return { depth, partner };
}

function lineFinder(source: string): (offset: number) => number {
  const starts = [0];
  for (let at = source.indexOf('\n'); at !== -1; at = source.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}

function endOfLine(source: string, start: number): number {
  const end = source.indexOf('\n', start);
  return end === -1 ? source.length : end;
}

function endOfComment(source: string, start: number): number {
  const end = source.indexOf('*/', start + 2);
  return end === -1 ? source.length : end + 2;
}

// Ends at the line break too: an apostrophe in JSX text must not swallow the rest of the file.
function endOfString(source: string, start: number): number {
  const quote = source[start]!;
  let at = start + 1;
  while (at < source.length && source[at] !== quote && source[at] !== '\n') at += source[at] === '\\' ? 2 : 1;
  return Math.min(at + (source[at] === quote ? 1 : 0), source.length);
}

function startsRegex(source: string, lastCode: number): boolean {
  if (lastCode < 0) return true;
  const before = source[lastCode]!;
  if ('(,=:[!&|?{};+-*%<>~^'.includes(before)) return true;
  return /[a-z]/.test(before) && wordsBeforeRegex.test(source.slice(Math.max(0, lastCode - 12), lastCode + 1));
}

function endOfRegex(source: string, start: number): number {
  let inClass = false;
  let at = start + 1;
  // Bounded: in a long line of divisions each slash would otherwise be followed to the end of the line.
  const limit = Math.min(source.length, start + 1_000);
  for (; at < limit && source[at] !== '\n'; at++) {
    if (source[at] === '\\') at++;
    else if (source[at] === '[') inClass = true;
    else if (source[at] === ']') inClass = false;
    else if (source[at] === '/' && !inClass) break;
  }
  if (source[at] !== '/') return start + 1; // no end on this line: it was a division
  at++;
  while (/[a-z]/.test(source[at] ?? '')) at++;
  return at;
}
