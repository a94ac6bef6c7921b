/** The capability code-review on real repositories. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeReview, codeReviewInput, codeReviewOutput } from '../../src/reference/code-review.js';
import { makeDemoRepository } from '../../src/reference/demo-repository.js';
import { git } from '../../src/reference/repository.js';
import { aCommit, aContext, aDirectory, aRepository, failure } from './support.js';

const review = async (input: object, results: Record<string, unknown> = {}) => {
  const output = await codeReview(codeReviewInput.parse(input), await aContext(results));
  expect(codeReviewOutput.parse(output)).toEqual(output);
  return output;
};
const brief = (output: Awaited<ReturnType<typeof review>>) =>
  output.findings.map((each) => `${each.severity} ${each.rule} ${each.file}:${each.line}`);

it('objects to the change in the demo repository, and says why', async () => {
  const demo = await makeDemoRepository(join(await aDirectory(), 'demo'));
  const outputDirectory = await aDirectory();
  const output = await review({ repo: demo.repo, base: demo.base, head: demo.head, outputDirectory });
  expect(output).toMatchObject({
    repo: demo.repo,
    commit: demo.commits.head,
    base: demo.commits.base,
    verdict: 'request_changes',
    counts: { error: 2, warning: 1, info: 1 },
    changed: { files: 3 },
    omitted: 0,
  });
  const rules = output.findings.map((each) => each.rule);
  expect(rules).toEqual(['hard-coded-credential', 'no-eval', 'long-function', 'whitespace']);
  const report = await readFile(join(outputDirectory, 'code-review', 'review.md'), 'utf8');
  expect(output.files).toEqual([join(outputDirectory, 'code-review', 'review.md')]);
  expect(report).toContain('# Changes requested');
  expect(report).toContain('`src/discounts.js:4`');
  expect(report).not.toContain('orchard-demo-key');
});

it('approves a change without faults', async () => {
  const repo = await aRepository({ 'a.js': 'exports.a = 1;\n' }, { 'b.js': 'exports.b = 2;\n' });
  const output = await review({ repo, base: 'main~1', head: 'main' });
  expect(output).toMatchObject({ verdict: 'approve', findings: [], changed: { files: 1, added: 1, deleted: 0 } });
  expect(output.checks).toEqual([
    { name: 'node --check', status: 'done', note: '1 changed JavaScript files.' },
    { name: 'tsc', status: 'skipped', note: 'There is no tsconfig.json.' },
  ]);
  expect(await review({ repo, base: 'main', head: 'main' })).toMatchObject({
    verdict: 'approve',
    changed: { files: 0 },
  });
});

it('looks at what the branch changed, not at what main did meanwhile', async () => {
  const repo = await aRepository({ 'a.js': 'exports.a = 1;\n' });
  await git(repo, ['checkout', '--quiet', '-b', 'branch'], new AbortController().signal);
  await aCommit(repo, { 'b.js': 'exports.b = 2;\n' });
  await git(repo, ['checkout', '--quiet', 'main'], new AbortController().signal);
  await aCommit(repo, { 'c.js': 'eval(process.argv[2]);\n' });
  expect(await review({ repo, base: 'main', head: 'branch' })).toMatchObject({
    verdict: 'approve',
    changed: { files: 1 },
  });
});

it('finds syntax errors, and takes modules in plain .js files for what they are', async () => {
  const repo = await aRepository(
    { a: '' },
    { 'bad.js': 'const a = 1;\nconst = 2;\n', 'module.js': 'export const a = 1;\n', 'bad.mjs': 'export {\n' },
  );
  const output = await review({ repo, base: 'main~1', head: 'main' });
  expect(brief(output)).toEqual(['error syntax bad.js:2', expect.stringMatching(/^error syntax bad\.mjs:\d$/)]);
  expect(output.findings[0]?.message).toMatch(/Unexpected token|Missing initializer/);
});

it('type-checks with tsc, and tells the change from what it merely broke elsewhere', async () => {
  const config = JSON.stringify({ compilerOptions: { strict: true, module: 'nodenext', types: [], noEmit: true } });
  const repo = await aRepository(
    {
      'tsconfig.json': config,
      'a.ts': 'export const a: number = 1;\n',
      'b.ts': "import { a } from './a.js';\na.toFixed();\n",
    },
    { 'a.ts': "export const a = '1';\nexport const c: number = a;\n" },
  );
  const output = await review({ repo, base: 'main~1', head: 'main' });
  expect(brief(output)).toEqual(['error type-check a.ts:2', 'warning type-check b.ts:2']);
  expect(output.checks[1]).toMatchObject({ name: 'tsc', status: 'done' });
  const fine = await aRepository({ 'tsconfig.json': config, 'a.ts': '' }, { 'a.ts': 'export const a = 1;\n' });
  expect(await review({ repo: fine, base: 'main~1', head: 'main' })).toMatchObject({ verdict: 'approve' });
});

it('skips tsc, and says so, when the packages it would need are not there', async () => {
  const manifest = JSON.stringify({ dependencies: { zod: '4' } });
  const repo = await aRepository(
    { 'package.json': manifest, 'tsconfig.json': '{}', 'package-lock.json': '{}' },
    { 'a.ts': 'x' },
  );
  const output = await review({ repo, base: 'main~1', head: 'main' });
  expect(output.checks[1]).toEqual({ name: 'tsc', status: 'skipped', note: expect.stringContaining('not installed') });
});

it('reports whitespace and conflict markers in files of any name', async () => {
  const name = 'a b\n"c".txt';
  const repo = await aRepository({ a: '' }, { [name]: 'x \n', 'm.txt': '<<<<<<< ours\n', crlf: 'fine\r\n' });
  const output = await review({ repo, base: 'main~1', head: 'main' });
  expect(brief(output)).toEqual(['error conflict-marker m.txt:1', `info whitespace ${name}:1`]);
});

it('counts all findings but lists only the gravest 200', async () => {
  const many = Array.from({ length: 250 }, (_, at) => `eval(${at});`).join('\n');
  const repo = await aRepository({ a: '' }, { 'a.js': `${many}\ndebugger; \n` });
  const output = await review({ repo, base: 'main~1', head: 'main' });
  expect(output).toMatchObject({ counts: { error: 251, info: 1 }, omitted: 52 });
  expect(output.findings).toHaveLength(200);
});

it('remarks on large changes and long files', async () => {
  const lines = Array.from({ length: 600 }, (_, at) => `exports.a${at} = ${at};\n`).join('');
  const repo = await aRepository({ a: '' }, { 'a.js': lines });
  const output = await review({ repo, base: 'main~1', head: 'main' });
  expect(brief(output)).toEqual(['info long-file a.js:1', 'info large-change a.js:1']);
});

it('runs nothing of what it reviews', async () => {
  const trap = join(await aDirectory(), 'sprung');
  const touch = `require('node:fs').writeFileSync(${JSON.stringify(trap)}, '');\n`;
  const manifest = JSON.stringify({
    type: 'commonjs',
    scripts: { test: 'node a.js', build: 'node a.js', prepare: 'node a.js' },
  });
  const repo = await aRepository(
    { a: '' },
    { 'a.js': touch, 'package.json': manifest, '.gitattributes': '* diff=evil\n' },
  );
  await review({ repo, base: 'main~1', head: 'main' });
  await expect(readFile(trap)).rejects.toThrow('ENOENT');
});

describe('the commit to review', () => {
  it('may come from a task it depends on', async () => {
    const repo = await aRepository({ 'a.js': '' }, { 'a.js': 'debugger;\n' });
    const first = await review({ repo, base: 'main~1', head: 'main' });
    const other = { review: { commit: first.commit, repo }, noise: 'text', empty: null };
    expect(await review({ repo: '/replaced', base: 'main~1' }, other)).toEqual(first);
  });

  it('must be named once, and exist', async () => {
    const repo = await aRepository({ a: '' });
    await expect(review({ repo, base: 'main' })).rejects.toEqual(failure('COMMIT_MISSING'));
    const two = { one: { commit: 'a'.repeat(40) }, two: { commit: 'b'.repeat(40) } };
    await expect(review({ repo, base: 'main' }, two)).rejects.toEqual(failure('COMMITS_DISAGREE'));
    await expect(review({ repo, base: 'main', head: 'gone' })).rejects.toEqual(failure('UNKNOWN_COMMIT'));
    await expect(review({ repo, base: '-x', head: 'main' })).rejects.toEqual(failure('UNSAFE_REF'));
    await expect(review({ repo: '/nowhere', base: 'main', head: 'main' })).rejects.toEqual(failure('NOT_A_REPOSITORY'));
  });
});
