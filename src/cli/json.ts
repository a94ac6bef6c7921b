// JSON from people: parsed as ever, but a mistake is told with line, column and what was expected there.
// Node's own message names no position for short texts, so the text is walked a second time when parsing failed.
import { InvalidInput } from '../errors.js';

/** Throws INVALID_INPUT with the position. `what` begins the message: 'The input', a file's name. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const mistake = mistakeIn(text);
    if (mistake === undefined) throw InvalidInput(what, error instanceof Error ? error.message : 'it is not JSON');
    const before = text.slice(0, mistake.at).split('\n');
    const position = `line ${before.length}, column ${before.at(-1)!.length + 1}`;
    const found =
      mistake.at >= text.length
        ? 'the text ends'
        : `there is ${JSON.stringify(text.slice(mistake.at, mistake.at + 12))}`;
    throw InvalidInput(what, `${position}: expected ${mistake.expected}, but ${found}`);
  }
}

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SCALAR = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)/y;

type Wanted = 'value' | 'value or ]' | 'name' | 'name or }' | ':' | ', or end' | 'end';
const WORDS: Readonly<Record<Exclude<Wanted, ', or end'>, string>> = {
  value: 'a value',
  'value or ]': "a value or ']'",
  name: 'a name in double quotes',
  'name or }': "a name in double quotes or '}'",
  ':': "':'",
  end: 'nothing more',
};

/** Where a text stops being JSON. Keeps its own stack: depth is no matter. */
function mistakeIn(text: string): { at: number; expected: string } | undefined {
  const inside: ('{' | '[')[] = [];
  let wanted: Wanted = 'value';
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const closed = (): Wanted => (inside.length === 0 ? 'end' : ', or end');
  const leave = (): void => {
    at += 1;
    inside.pop();
    wanted = closed();
  };
  for (;;) {
    take(SPACE);
    const next = text[at];
    if (wanted === 'end') return next === undefined ? undefined : { at, expected: WORDS.end };
    if (wanted === 'value' || wanted === 'value or ]') {
      if (wanted === 'value or ]' && next === ']') leave();
      else if (next === '{' || next === '[') {
        inside.push(next);
        at += 1;
        wanted = next === '{' ? 'name or }' : 'value or ]';
      } else if (take(STRING) || take(SCALAR)) wanted = closed();
      else return { at, expected: WORDS[wanted] };
    } else if (wanted === ':') {
      if (next !== ':') return { at, expected: WORDS[wanted] };
      at += 1;
      wanted = 'value';
    } else if (wanted === ', or end') {
      const open = inside.at(-1)!;
      if (next === (open === '{' ? '}' : ']')) leave();
      else if (next !== ',') return { at, expected: open === '{' ? "',' or '}'" : "',' or ']'" };
      else {
        at += 1;
        wanted = open === '{' ? 'name' : 'value';
      }
    } else if (wanted === 'name or }' && next === '}') leave();
    else if (take(STRING)) wanted = ':';
    else return { at, expected: WORDS[wanted] };
  }
}
