// What a command prints: people's text or, with --json, one document (one per line for streams) on stdout and nothing else there.
// Notes and errors go to stderr. Colours only where a terminal shows them.
import { writeSync } from 'node:fs';
import colors from 'picocolors';

export class Output {
  readonly json: boolean;

  constructor(json: boolean) {
    this.json = json;
  }

  /** The command's answer. `text` is asked only where people read it. */
  answer(document: unknown, text: () => string | readonly string[]): void {
    if (this.json) write(1, `${JSON.stringify(document, undefined, 2)}\n`);
    else write(1, `${[text()].flat().map(printable).join('\n')}\n`);
  }

  /** One item of a stream. */
  item(document: unknown, text: () => string): void {
    write(1, `${this.json ? JSON.stringify(document) : printable(text())}\n`);
  }

  note(text: string): void {
    write(2, `${printable(text)}\n`);
  }

  /** Overwrites the last line of a terminal; elsewhere nothing: a log full of progress helps nobody. */
  progress(text: string): void {
    if (process.stderr.isTTY === true) write(2, `\r\u001b[2K${printable(text)}`);
  }

  error(text: string, document: unknown): void {
    if (this.json) write(1, `${JSON.stringify({ error: document }, undefined, 2)}\n`);
    write(2, `${paintErr.red('error')}: ${printable(text)}\n`);
  }
}

/** Written at once: the process may be about to exit. A reader that went away (`| head`) ends us quietly. */
export function write(stream: 1 | 2, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(stream, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') process.exit(0);
      // A slow reader of a non-blocking pipe: it takes the rest in a moment.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      else throw error;
    }
  }
}

/** Names and messages come from anywhere: none may move the cursor or set the title of someone's terminal. */
function printable(text: string): string {
  return text.replace(/\u001b(?!\[[0-9;]*m)/g, '␛').replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001a\u009b]/g, '�');
}

const allowed = process.env.NO_COLOR === undefined || process.env.NO_COLOR === '';
export const paint = colors.createColors(allowed && process.stdout.isTTY === true);
const paintErr = colors.createColors(allowed && process.stderr.isTTY === true);

/** A state in its colour: green is done, red is lost, yellow waits for someone. */
export function painted(state: string): string {
  if (/^(completed|active|healthy|ok)$/.test(state)) return paint.green(state);
  if (/^(dead|failed|offline|unhealthy|error)$/.test(state)) return paint.red(state);
  if (/^(blocked|retrying|busy|paused|draining|degraded|warning|cancelled)$/.test(state)) return paint.yellow(state);
  return /^(running|dispatched)$/.test(state) ? paint.cyan(state) : state;
}

/** Columns under their titles, two spaces apart. Cells may be coloured; widths are those of what is seen. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = titles.map((title, i) => Math.max(title.length, ...rows.map((row) => seen(row[i] ?? ''))));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === cells.length - 1 ? cell : cell + ' '.repeat(Math.max(0, widths[i]! - seen(cell)))))
      .join('  ')
      .trimEnd();
  return [paint.dim(line(titles)), ...rows.map(line)];
}

/** 'name  value' lines, the values under each other. Pairs without a value are left out. */
export function pairs(entries: readonly (readonly [string, string | undefined])[]): string[] {
  const given = entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined);
  const width = Math.max(0, ...given.map(([name]) => name.length));
  return given.map(([name, value]) => `${paint.dim(name.padEnd(width))}  ${value}`);
}

function seen(text: string): number {
  return text.replace(/\u001b\[[0-9;]*m/g, '').length;
}

export function columns(): number {
  return process.stdout.columns ?? 100;
}
