/** Reads a JSDoc or TSDoc comment into its parts. Pure; unknown tags are kept as plain lines.
 *  The first step from a source file to its page. */

export interface DocComment {
  /** The comment as written, with its delimiters. */
  readonly raw: string;
  readonly description: string;
  readonly params: readonly { readonly name: string; readonly type: string; readonly text: string }[];
  /** `type` and `text`, either may be empty. */
  readonly returns: { readonly type: string; readonly text: string } | null;
  readonly throws: readonly string[];
  readonly examples: readonly string[];
  readonly deprecated: string | null;
}

const tagStart = /^@(\w+)\s?(.*)$/;

/** `comment` includes its delimiters. */
export function parseDoc(comment: string): DocComment {
  const rows = comment
    .replace(/^\/\*\*+/, '')
    .replace(/\*+\/$/, '')
    .split('\n')
    .map((row) => row.replace(/^\s*\* ?/, '').trimEnd());
  const description: string[] = [];
  const tags: { tag: string; rows: string[] }[] = [];
  let fenced = false;
  for (const row of rows) {
    if (row.trimStart().startsWith('```')) fenced = !fenced;
    const tag = fenced ? null : tagStart.exec(row.trimStart());
    if (tag !== null) tags.push({ tag: tag[1]!, rows: [tag[2]!] });
    else (tags.at(-1)?.rows ?? description).push(row);
  }
  const bodies = (...names: string[]) =>
    tags.filter((each) => names.includes(each.tag)).map((each) => inline(each.rows.join('\n').trim()));
  return {
    raw: comment,
    description: inline(description.join('\n').trim()),
    params: bodies('param', 'arg', 'argument').map(parseParam),
    returns: bodies('returns', 'return').map(parseReturns)[0] ?? null,
    throws: bodies('throws', 'exception').map((body) => withType(body)),
    examples: tags.filter((each) => each.tag === 'example').map((each) => each.rows.join('\n').trim()),
    deprecated: bodies('deprecated')[0] ?? null,
  };
}

/** `{@link Thing}` and `{@link Thing text}` become code. */
function inline(text: string): string {
  return text.replace(/\{@(?:link|linkcode|see)\s+([^\s{}|]{1,200})[^{}]{0,300}\}/g, '`$1`');
}

function parseParam(body: string): { name: string; type: string; text: string } {
  const { type, rest } = splitType(body);
  const match = /^\[?([\w$.]+)[^\]\s]*\]?\s*(?:-\s*)?([\s\S]*)$/.exec(rest);
  return { name: match?.[1] ?? rest.slice(0, 80), type, text: flat(match?.[2] ?? '') };
}

function parseReturns(body: string): { type: string; text: string } {
  const { type, rest } = splitType(body);
  return { type, text: flat(rest) };
}

function withType(body: string): string {
  const { type, rest } = splitType(body);
  return [type === '' ? '' : `\`${type}\``, flat(rest)].filter((part) => part !== '').join(' ');
}

/** `{Map<string, {a: number}>} rest`: braces inside the type are counted. */
function splitType(body: string): { type: string; rest: string } {
  if (!body.startsWith('{')) return { type: '', rest: body };
  let open = 0;
  for (let at = 0; at < body.length; at++) {
    if (body[at] === '{') open++;
    if (body[at] === '}' && --open === 0) return { type: body.slice(1, at).trim(), rest: body.slice(at + 1).trim() };
  }
  return { type: '', rest: body };
}

function flat(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}
