/** Reads what git prints about a change: added lines from a patch, complaints from `git diff --check`.
 *  Pure; hunk lengths are counted, so a line that looks like a header cannot pass for one. */

export interface AddedLine {
  /** 1-based, in the new file. */
  readonly line: number;
  readonly text: string;
}

export interface Complaint {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Added lines by file, from a patch made with `-U0` and the prefixes `a/` and `b/`. */
export function addedLines(patch: string): Map<string, AddedLine[]> {
  const files = new Map<string, AddedLine[]>();
  const rows = patch.split('\n');
  let current: AddedLine[] | null = null;
  for (let at = 0; at < rows.length; at++) {
    const row = rows[at]!;
    if (row.startsWith('+++ ')) current = openFile(files, row.slice(4));
    const hunk = /^@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(row);
    if (hunk === null) continue;
    let removed = Number(hunk[1] ?? 1);
    let added = Number(hunk[3] ?? 1);
    let line = Number(hunk[2]);
    while (removed + added > 0 && at + 1 < rows.length) {
      const body = rows[++at]!;
      if (body.startsWith('-')) removed--;
      if (!body.startsWith('+')) continue;
      added--;
      current?.push({ line: line++, text: body.slice(1) });
    }
  }
  return files;
}

/** Whitespace complaints, with the changed files at hand to tell names that contain a line break or a colon. */
export function complaints(text: string, changed: readonly string[]): Complaint[] {
  const known = new Set(changed);
  const broken = changed.filter((file) => file.includes('\n'));
  return text.split('\n').flatMap((row) => {
    // The offending line follows each complaint, marked with a plus: it cannot pose as a complaint.
    const match = row.startsWith('+') && !known.has(row.split(':')[0]!) ? null : /^(.+):(\d+): (.+?)\.?$/.exec(row);
    if (match === null) return [];
    const file = known.has(match[1]!) ? match[1]! : broken.find((name) => name.endsWith(`\n${match[1]}`));
    return file === undefined ? [] : [{ file, line: Number(match[2]), message: match[3]! }];
  });
}

function openFile(files: Map<string, AddedLine[]>, header: string): AddedLine[] | null {
  const name = header.startsWith('"') ? unquote(header) : header.replace(/\t$/, '');
  if (!name.startsWith('b/')) return null; // /dev/null: the file was deleted
  const lines: AddedLine[] = [];
  files.set(name.slice(2), lines);
  return lines;
}

const escapes: Readonly<Record<string, number>> = { a: 7, b: 8, t: 9, n: 10, v: 11, f: 12, r: 13, '"': 34, '\\': 92 };

/** Undoes git's C-style quoting of odd file names, bytes and all. */
function unquote(name: string): string {
  const bytes: Buffer[] = [];
  for (const part of name.slice(1, name.lastIndexOf('"')).match(/\\[0-7]{3}|\\.|[^\\]+/gs) ?? []) {
    if (!part.startsWith('\\')) bytes.push(Buffer.from(part));
    else if (part.length === 4) bytes.push(Buffer.from([Number.parseInt(part.slice(1), 8)]));
    else bytes.push(Buffer.from([escapes[part[1]!] ?? part.charCodeAt(1)]));
  }
  return Buffer.concat(bytes).toString('utf8');
}
