/** The capability run-tests: real test runs of real commits. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runTests, runTestsInput, runTestsOutput } from '../../src/reference/cicd.js';
import { makeDemoRepository } from '../../src/reference/demo-repository.js';
import { aContext, aDirectory, aRepository, failure, type TestContext } from './support.js';

const run = async (input: object, context?: TestContext) => {
  const output = await runTests(runTestsInput.parse(input), context ?? (await aContext()));
  expect(runTestsOutput.parse(output)).toEqual(output);
  return output;
};
const manifest = (test: string, rest: object = {}) => JSON.stringify({ scripts: { test }, ...rest });

it('runs the tests of the demo repository and counts them', async () => {
  const demo = await makeDemoRepository(join(await aDirectory(), 'demo'));
  const outputDirectory = await aDirectory();
  const output = await run({ repo: demo.repo, head: 'change', outputDirectory });
  expect(output).toMatchObject({
    commit: demo.commits.head,
    status: 'passed',
    exitCode: 0,
    command: ['npm', 'test'],
    tests: { runner: 'node', total: 6, passed: 6, failed: 0, skipped: 0 },
    dependencies: 'It needs no packages.',
  });
  expect(await readFile(join(outputDirectory, 'run-tests', 'output.txt'), 'utf8')).toBe(output.output);
});

it('gives failing tests as a result', async () => {
  const test =
    "const { test } = require('node:test');\ntest('a', () => { throw new Error('on purpose'); });\ntest('b', () => {});\n";
  const repo = await aRepository({ 'package.json': manifest('node --test'), 'test/a.test.js': test });
  const output = await run({ repo, head: 'main' });
  expect(output).toMatchObject({ status: 'failed', exitCode: 1, tests: { total: 2, passed: 1, failed: 1 } });
  expect(output.reason).toBe('1 of 2 tests passed, 1 failed; the command ended with exit code 1.');
  expect(output.output).toContain('on purpose');
});

it('tests the commit, not the working directory', async () => {
  const repo = await aRepository({ 'package.json': manifest('node a.js'), 'a.js': '' });
  await writeFile(join(repo, 'a.js'), 'process.exit(9)');
  expect(await run({ repo, head: 'main' })).toMatchObject({ status: 'passed' });
});

it('stops tests that take too long', async () => {
  const repo = await aRepository({ 'package.json': manifest('node a.js'), 'a.js': 'setInterval(() => {}, 1000)' });
  const output = await run({ repo, head: 'main', timeoutMs: 1_500 });
  expect(output).toMatchObject({ status: 'timed_out', reason: 'It was stopped after 1500 ms.' });
});

it('stops at once when the task is cancelled', async () => {
  const repo = await aRepository({ 'package.json': manifest('node a.js'), 'a.js': 'setInterval(() => {}, 1000)' });
  const cancel = new AbortController();
  const context = await aContext({}, cancel.signal);
  const reason = new Error('cancelled by request');
  const progress = async (fraction: number) => {
    if (fraction >= 0.3) setImmediate(() => cancel.abort(reason));
  };
  await expect(run({ repo, head: 'main' }, { ...context, progress })).rejects.toBe(reason);
});

it('shows the start and the end of a long output', async () => {
  const loud = "console.log('start'); for (let i = 0; i < 20000; i++) console.log('line ' + i); console.log('end')";
  const repo = await aRepository({ 'package.json': manifest('node a.js'), 'a.js': loud });
  const output = await run({ repo, head: 'main' });
  expect(output.truncated).toBe(true);
  expect(output.output.length).toBeLessThan(42_000);
  expect(output.output).toMatch(/start\n[\s\S]+bytes left out[\s\S]+end\n$/);
});

describe('without its packages', () => {
  const needy = manifest('node a.js', { dependencies: { left: '1' } });

  it('checks the syntax of what changed, and gives the reason', async () => {
    const repo = await aRepository(
      { 'package.json': needy, 'package-lock.json': '{}', 'old.js': 'const' },
      { 'a.js': 'a()\n' },
    );
    const output = await run({ repo, head: 'main', base: 'main~1' });
    expect(output).toMatchObject({ status: 'checked', exitCode: 0, tests: null, command: ['node', '--check'] });
    expect(output.reason).toBe(
      'It needs packages that are not installed, and `install` was not asked for. Instead of the tests the syntax was looked at: 1 changed JavaScript files.',
    );
    const whole = await run({ repo, head: 'main' });
    expect(whole).toMatchObject({ status: 'failed', exitCode: 1 });
    expect(whole.output).toContain('old.js:1: ');
  });

  it('uses those of the source repository when the lockfile is the same', async () => {
    const lock = JSON.stringify({ lockfileVersion: 3 });
    const files = {
      'package.json': needy,
      'package-lock.json': lock,
      '.gitignore': 'node_modules\n',
      'a.js': "require('left')",
    };
    const repo = await aRepository(files);
    await mkdir(join(repo, 'node_modules', 'left'), { recursive: true });
    await writeFile(join(repo, 'node_modules', 'left', 'index.js'), '');
    expect(await run({ repo, head: 'main' })).toMatchObject({ status: 'passed' });
    await writeFile(join(repo, 'package-lock.json'), `${lock}\n`);
    expect(await run({ repo, head: 'main' })).toMatchObject({ status: 'checked' });
  });

  it('installs only when asked, and says why it could not', async () => {
    const repo = await aRepository({ 'package.json': needy, 'package-lock.json': 'not a lockfile', 'a.js': '' });
    const output = await run({ repo, head: 'main', install: true });
    expect(output).toMatchObject({ status: 'checked', dependencies: expect.stringMatching(/^npm ci failed: /) });
  });
});

it('says so when there is nothing to run or check', async () => {
  const repo = await aRepository({ 'README.md': 'x\n' });
  expect(await run({ repo, head: 'main' })).toMatchObject({ status: 'not_run', exitCode: null, command: [] });
  const fresh = await aRepository({ 'package.json': manifest('echo "Error: no test specified" && exit 1') });
  expect(await run({ repo: fresh, head: 'main' })).toMatchObject({ status: 'not_run' });
});

it('runs another command on request, but only node or npm', async () => {
  const repo = await aRepository({ 'a.js': "console.log('a', process.argv[2])" });
  const output = await run({ repo, head: 'main', command: ['node', 'a.js', '$HOME; id'] });
  expect(output).toMatchObject({ status: 'passed', output: 'a $HOME; id\n', command: ['node', 'a.js', '$HOME; id'] });
  for (const program of ['sh', '/bin/sh', 'constructor', '../node', 'npx']) {
    await expect(run({ repo, head: 'main', command: [program] })).rejects.toEqual(failure('COMMAND_NOT_ALLOWED'));
  }
});

it('refuses what is not a repository or not a commit', async () => {
  const repo = await aRepository({ a: '' });
  await expect(run({ repo, head: 'gone' })).rejects.toEqual(failure('UNKNOWN_COMMIT'));
  await expect(run({ repo, head: '--all' })).rejects.toEqual(failure('UNSAFE_REF'));
  await expect(run({ repo: await aDirectory(), head: 'main' })).rejects.toEqual(failure('NOT_A_REPOSITORY'));
});
