/** Reading source text: what is code and what is not, how long functions are, what is exported. */
import { parseDoc } from '../../src/reference/doc-comment.js';
import { scanExports } from '../../src/reference/export-scan.js';
import { complaints } from '../../src/reference/patch.js';
import { riskFindings } from '../../src/reference/risk-rules.js';
import { functionSpans } from '../../src/reference/size-rules.js';
import { maskSource } from '../../src/reference/source-mask.js';
import { testCounts } from '../../src/reference/test-counts.js';

const code = (source: string) => maskSource(source).code.replace(/\s+/g, ' ').trim();

describe('masking', () => {
  it.each([
    ['a; // eval(1)', 'a;'],
    ['a /* { */ + b', 'a + b'],
    ["const s = 'it\\'s { eval('; b", 'const s = ; b'],
    ['x = a / b / c; y', 'x = a / b / c; y'],
    ['x = /[/"{]/g.test(s); y', 'x = .test(s); y'],
    ['return /"/; y', 'return ; y'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the text to be read
    ['`a ${b + `c ${d}` } e` + f', 'b + d + f'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the text to be read
    ['`${ { a: "}" }.a }{`; g', '{ a: }.a ; g'],
    ["<p>it's</p>\nnext()", '<p>it\nnext()'.replace('\n', ' ')],
    ['#!/usr/bin/env node\na', 'a'],
    ["'unterminated\nb", 'b'],
    ['`unterminated', ''],
    ['/* unterminated', ''],
  ])('reads %j', (source, expected) => {
    expect(code(source)).toBe(expected);
    expect(maskSource(source).code).toHaveLength(source.length);
  });

  it('takes time proportional to the text, even for text made to hurt', () => {
    for (const piece of ['{', '`${', '/', "'\\", '/*', '()=>{', 'a=/[', '[](', 'export const a = {']) {
      const source = piece.repeat(Math.floor(300_000 / piece.length));
      const started = process.cpuUsage();
      functionSpans(maskSource(source));
      expect(process.cpuUsage(started).user / 1e6).toBeLessThan(5);
    }
  });
});

describe('functions', () => {
  it('are found with their names and lines', () => {
    const source = `function one(a = {}) {
  if (a) { return 1; }
}
const two = async (b) => {
  return b;
};
class C {
  three(c: number): Promise<void> {
    for (const x of []) { c; }
  }
}
const o = { four: function () { }, five: x => { } };
switch (a) { default: }
`;
    expect(functionSpans(maskSource(source))).toEqual([
      { name: 'one', firstLine: 1, lastLine: 3 },
      { name: 'two', firstLine: 4, lastLine: 6 },
      { name: 'three', firstLine: 8, lastLine: 10 },
      { name: '(anonymous)', firstLine: 12, lastLine: 12 },
      { name: '(anonymous)', firstLine: 12, lastLine: 12 },
    ]);
  });
});

describe('exports', () => {
  const names = (source: string) => scanExports(source).exported.map((each) => `${each.kind} ${each.name}`);

  it('of ES modules', () => {
    const source = `export function a() {}
export default class B {}
export const c = 1, notSeen = 2;
export async function* d() {}
function e() {}
const f = (x) => x;
export { e, f as g };
export { h } from './h.js';
export * from './i.js';
function hidden() { return { type: 1 }; }
`;
    expect(names(source)).toEqual([
      'function a',
      'class B',
      'const c',
      'function d',
      'function e',
      'function g',
      "re-export export { h } from './h.js'",
      "re-export export * from './i.js'",
    ]);
  });

  it('of CommonJS modules', () => {
    const source = `'use strict';
/** What this file is. */
const { x } = require('x');

function a(b) { exports.notThis = 1; }
class B { }
module.exports = { a, Bee: B, ...rest };
module.exports.c = (d) => d;
exports.e = function (f, g) { };
exports.h = 5;
`;
    expect(names(source)).toEqual(['function a', 'class Bee', 'function c', 'function e', 'const h']);
    expect(scanExports(source).intro?.description).toBe('What this file is.');
  });

  it('of TypeScript, with types in the signature', () => {
    const source = `/** Opening words. */
import type { z } from 'zod';

/** A shape. */
export interface Shape {
  readonly a: { b: string };
}
export type Either = 'x'
  | 'y';
export const enum Level { Low, High }
/** Makes one. */
export function make<T extends { a: 1 }>(from: T, options: { deep?: boolean } = {}): { made: T } | null {
  return null;
}
export abstract class Store<K> extends Map<K, string> {
  /** Reads. */
  async read(key: K, flags = [1]): Promise<string> { if (key) { call(); } return ''; }
  #hidden() {}
  private secret(): void {}
}
export const limit: number = 5;
export const made = build(
  1,
);
`;
    const { exported, intro } = scanExports(source);
    expect(intro?.description).toBe('Opening words.');
    expect(exported.map((each) => each.signature)).toEqual([
      'export interface Shape {\n  readonly a: { b: string };\n}',
      "export type Either = 'x'\n  | 'y'",
      'export const enum Level { Low, High }',
      'export function make<T extends { a: 1 }>(from: T, options: { deep?: boolean } = {}): { made: T } | null',
      'export abstract class Store<K> extends Map<K, string>',
      'export const limit: number = 5',
      'export const made = build( …',
    ]);
    expect(exported.map((each) => each.doc?.description)).toEqual([
      'A shape.',
      undefined,
      undefined,
      'Makes one.',
      undefined,
      undefined,
      undefined,
    ]);
    expect(exported[4]?.methods).toEqual([
      expect.objectContaining({ name: 'read', signature: 'async read(key: K, flags = [1]): Promise<string>' }),
    ]);
  });
});

it('doc comments are taken apart', () => {
  const doc = parseDoc(`/**
   * Adds, see {@link other}.
   *
   * @param {Map<string, {a: number}>} list - what to add
   *   to
   * @param [factor=2] how often
   * @returns {number} the sum
   * @throws {RangeError} when negative
   * @example
   * add(1, 2); // @notATag
   */`);
  expect(doc).toMatchObject({
    description: 'Adds, see `other`.',
    params: [
      { name: 'list', type: 'Map<string, {a: number}>', text: 'what to add to' },
      { name: 'factor', type: '', text: 'how often' },
    ],
    returns: { type: 'number', text: 'the sum' },
    throws: ['`RangeError` when negative'],
    examples: ['add(1, 2); // @notATag'],
  });
});

describe('risky patterns', () => {
  const rulesIn = (text: string, file = 'src/a.js') =>
    riskFindings(
      file,
      text,
      text.split('\n').map((line, at) => ({ line: at + 1, text: line })),
    ).map((each) => each.rule);

  it.each([
    ['eval(x)', ['no-eval']],
    ['f = new Function("return 1")', ['no-eval']],
    ['// eval(x)', []],
    ['const s = "eval(x)"', []],
    ['model.eval(x); retrieval(y)', []],
    ["const { exec } = require('child_process'); exec(cmd)", ['shell-command']],
    ["import cp from 'node:child_process'; cp.execSync(cmd)", ['shell-command']],
    ["spawn('a', [], { shell: true }) // child_process", ['shell-command']],
    ['pattern.exec(text)', []],
    ['const o = { rejectUnauthorized: false }', ['tls-verification-disabled']],
    ["process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'", ['tls-verification-disabled']],
    ['debugger;', ['debugger-left']],
    ["it.only('x', () => {})", ['focused-test']],
    ["fdescribe('x')", ['focused-test']],
    ["test.skip('x')", ['skipped-test']],
    ['node.innerHTML = text', ['unsafe-html']],
    ["crypto.createHash('md5')", ['weak-hash']],
    ["const apiKey = 'abcdef123456'", ['hard-coded-credential']],
    ["const dbPassword: string = 'hunter22'", ['hard-coded-credential']],
    ["const password = process.env.PASSWORD ?? ''", []],
    ["label({ password: 'Enter your password' })", []],
    ["const apiKey = 'changeme'", []],
    ["connect('amqp://admin:s3cr3tpw@broker.internal/')", ['hard-coded-credential']],
    ["connect('amqp://guest:guest@localhost/')", []],
  ])('%s', (text, expected) => {
    expect(rulesIn(text)).toEqual(expected);
  });

  it('are looked for in other files too, and credentials are never repeated', () => {
    const key = `AKIA${'A1B2'.repeat(4)}`;
    expect(rulesIn(`password: "hunter22"\nkey = ${key}`, 'deploy.yaml')).toEqual([
      'hard-coded-credential',
      'hard-coded-credential',
    ]);
    expect(rulesIn('You may call eval(x) here.', 'README.md')).toEqual([]);
    const [found] = riskFindings('a.js', "const token = 1, secret = 'tellnobody';", [
      { line: 1, text: "const token = 1, secret = 'tellnobody';" },
    ]);
    expect(found).toMatchObject({ severity: 'error', rule: 'hard-coded-credential' });
    expect(JSON.stringify(found)).not.toContain('tellnobody');
    expect(
      riskFindings('test/a.test.js', "secret = 'tellnobody'", [{ line: 1, text: "secret = 'tellnobody'" }]),
    ).toEqual([expect.objectContaining({ severity: 'warning' })]);
  });
});

it('whitespace complaints cannot be forged by a line of the file', () => {
  const text = 'a.js:3: trailing whitespace.\n+b.js:9: trailing whitespace. \na:b.js:1: new blank line at EOF.\n';
  expect(complaints(text, ['a.js', 'b.js', 'a:b.js'])).toEqual([
    { file: 'a.js', line: 3, message: 'trailing whitespace' },
    { file: 'a:b.js', line: 1, message: 'new blank line at EOF' },
  ]);
});

it.each([
  ['TAP', '# tests 4\n# pass 2\n# fail 1\n# cancelled 0\n# skipped 1\n# todo 0\n', ['node', 4, 2, 1, 1]],
  ['spec', 'ℹ tests 2\nℹ pass 2\nℹ fail 0\n', ['node', 2, 2, 0, 0]],
  ['two runs', '# tests 1\n# pass 1\n…\n# tests 2\n# pass 1\n# fail 1\n', ['node', 3, 2, 1, 0]],
  ['jest', 'Tests:       1 failed, 2 skipped, 3 passed, 6 total\n', ['jest', 6, 3, 1, 2]],
])('test counts are read from %s', (_what, output, [runner, total, passed, failed, skipped]) => {
  expect(testCounts(output)).toEqual({ runner, total, passed, failed, skipped });
  expect(testCounts('all is well')).toBeNull();
});
