// docs/cli.md says what the commands say of themselves, and every error has an exit code. Needs no services.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { EXIT_OF_ERROR, EXITS, exitOf } from '../../src/cli/exits.js';
import { createProgram } from '../../src/cli/main.js';
import { commandReference, exitReference } from '../../src/cli/reference.js';
import { errorTable, MusterError } from '../../src/errors.js';

const page = path.resolve(__dirname, '../../docs/cli.md');

describe.each([
  ['commands', () => `\n${commandReference(createProgram())}`],
  ['exits', () => `\n${exitReference()}\n`],
])('the part of docs/cli.md on %s', (name, make) => {
  it('is what the program says', () => {
    const text = readFileSync(page, 'utf8');
    const begin = new RegExp(`<!-- ${name}: begin .*-->\\n`).exec(text)!;
    const start = begin.index + begin[0].length;
    const stop = text.indexOf(`<!-- ${name}: end -->`);
    expect(stop).toBeGreaterThan(0);
    if (process.env.UPDATE_DOCS === '1') writeFileSync(page, text.slice(0, start) + make() + text.slice(stop));
    else expect(text.slice(start, stop)).toBe(make());
  });
});

it('has no command or option in its prose that is not there', () => {
  const reference = commandReference(createProgram());
  const prose = readFileSync(page, 'utf8').replace(reference, '');
  const commands = [...prose.matchAll(/\bmuster ((?:task|agent|queue) [a-z]+|[a-z]+)/g)].map((match) => match[1]!);
  expect(commands.length).toBeGreaterThan(4);
  for (const command of commands.filter((word) => word !== 'in')) expect(reference).toContain(`muster ${command}`);
  const known = new Set(reference.match(/--[a-z-]+/g));
  for (const option of prose.match(/--[a-z][a-z-]+/g)!.filter((one) => !['--json', '--help'].includes(one)))
    expect([...known]).toContain(option);
});

it('gives every error of the table an exit code, and knows no others', () => {
  expect(Object.keys(EXIT_OF_ERROR).sort()).toEqual([...errorTable.keys()].sort());
});

it('has each exit code once', () => {
  const codes = Object.values(EXITS).map(({ code }) => code);
  expect(codes).toEqual([...new Set(codes)]);
});

it('goes by the status of an error that only one command knows', () => {
  const one = (status: number) => exitOf(new MusterError('ODD', { status, retryable: false }, 'odd'));
  expect([409, 404, 500].map(one)).toEqual([5, 3, 1]);
});
