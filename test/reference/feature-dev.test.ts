/** The capability apply-change: edits become a commit on a branch, once, and nothing else changes. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { applyChange, applyChangeInput, applyChangeOutput } from '../../src/reference/feature-dev.js';
import { git } from '../../src/reference/repository.js';
import { aCommit, aContext, aDirectory, aRepository, failure, never } from './support.js';

const apply = async (input: object) => {
  const output = await applyChange(applyChangeInput.parse(input), await aContext());
  expect(applyChangeOutput.parse(output)).toEqual(output);
  return output;
};
const ask = async (repo: string, ...args: string[]) => (await git(repo, args, never)).trim();
const edits = [
  { file: 'a.txt', find: 'two', replace: '$& 2' },
  { file: 'a.txt', append: 'four\n' },
  { file: 'new/b.txt', append: 'b\n' },
];
const message = 'Count on\n\nBecause.';

it('commits the edits on a branch of the source, and touches nothing else in it', async () => {
  const repo = await aRepository({ 'a.txt': 'one\ntwo\nthree' });
  const base = await ask(repo, 'rev-parse', 'main');
  const outputDirectory = await aDirectory();
  const output = await apply({ repo, head: 'main', edits, message, push: true, outputDirectory });
  expect(output).toMatchObject({
    repo,
    base,
    pushed: true,
    branch: expect.stringMatching(/^muster\/count-on-[0-9a-f]{8}$/),
  });
  expect(output.diffstat).toEqual({
    files: [
      { file: 'a.txt', added: 3, deleted: 2 },
      { file: 'new/b.txt', added: 1, deleted: 0 },
    ],
    added: 4,
    deleted: 2,
  });
  expect(await ask(repo, 'rev-parse', output.branch)).toBe(output.commit);
  expect(await ask(repo, 'log', '-1', '--format=%P %an%n%B', output.commit)).toBe(
    `${base} Muster feature-dev\n${message}`,
  );
  expect(await ask(repo, 'show', `${output.commit}:a.txt`)).toBe('one\n$& 2\nthree\nfour');
  expect(await ask(repo, 'rev-parse', 'main')).toBe(base);
  expect(await ask(repo, 'status', '--porcelain')).toBe('');
  expect(await readFile(output.files[0]!, 'utf8')).toContain('+four');
});

it('gives the same commit when it is attempted again', async () => {
  const repo = await aRepository({ 'a.txt': 'one\ntwo\n' });
  const first = await apply({ repo, head: 'main', edits, message, push: true });
  const [again, atOnce] = await Promise.all(
    [1, 2].map(() => apply({ repo, head: 'main', edits, message, push: true })),
  );
  expect([again?.commit, atOnce?.commit]).toEqual([first.commit, first.commit]);
});

it('never overwrites a branch with other content', async () => {
  const repo = await aRepository({ 'a.txt': 'one\ntwo\n' });
  const branch = 'mine';
  const first = await apply({ repo, head: 'main', edits, message, branch, push: true });
  expect(first.branch).toBe('muster/mine');
  const other = apply({ repo, head: 'main', edits: edits.slice(1), message, branch: 'muster/mine', push: true });
  await expect(other).rejects.toEqual(failure('BRANCH_TAKEN'));
  expect(await ask(repo, 'rev-parse', 'muster/mine')).toBe(first.commit);
});

it('without push leaves the source alone, and hands on a copy that holds old and new', async () => {
  const repo = await aRepository({ 'a.txt': 'one\ntwo\n' });
  const outputDirectory = await aDirectory();
  const output = await apply({ repo, head: 'main', edits, message, outputDirectory });
  expect(output).toMatchObject({ pushed: false, repo: join(outputDirectory, 'apply-change', 'repository.git') });
  expect(await ask(repo, 'branch', '--format=%(refname:short)')).toBe('main');
  expect(await ask(output.repo, 'rev-parse', `${output.commit}~1`, 'main')).toBe(`${output.base}\n${output.base}`);
  expect(await apply({ repo, head: 'main', edits, message, outputDirectory })).toMatchObject({ repo: output.repo });
});

it('runs no hook of the user while committing', async () => {
  const repo = await aRepository({ 'a.txt': 'one\ntwo\n' });
  await mkdir(join(repo, '.git', 'hooks'), { recursive: true });
  await writeFile(join(repo, '.git', 'hooks', 'pre-commit'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  expect(await apply({ repo, head: 'main', edits, message })).toMatchObject({ pushed: false });
});

it('says what a hook of the source has against the branch', async () => {
  const repo = await aRepository({ 'a.txt': 'one\ntwo\n' });
  await mkdir(join(repo, '.git', 'hooks'), { recursive: true });
  await writeFile(join(repo, '.git', 'hooks', 'pre-receive'), '#!/bin/sh\necho frozen >&2\nexit 1\n', { mode: 0o755 });
  const pushed = apply({ repo, head: 'main', edits, message, push: true });
  await expect(pushed).rejects.toEqual(failure('GIT_FAILED'));
  await expect(pushed).rejects.toThrow(/frozen/);
});

it.each([
  ['../outside.txt', 'UNSAFE_PATH'],
  ['/etc/motd', 'UNSAFE_PATH'],
  ['.git/hooks/post-commit', 'UNSAFE_PATH'],
  ['sub/../.git/config', 'UNSAFE_PATH'],
] as const)('refuses to write %s', async (file, code) => {
  const repo = await aRepository({ 'a.txt': 'one\n' });
  const hostile = [{ file, append: 'x' }];
  await expect(apply({ repo, head: 'main', edits: hostile, message })).rejects.toEqual(failure(code));
});

it.each([
  [{ file: 'gone.txt', find: 'x', replace: 'y' }, 'EDIT_NOT_FOUND'],
  [{ file: 'a.txt', find: 'x', replace: 'y' }, 'EDIT_NOT_FOUND'],
  [{ file: 'a.txt', find: 'o', replace: 'y' }, 'EDIT_AMBIGUOUS'],
  [{ file: 'a.txt', find: 'one', replace: 'one' }, 'EMPTY_CHANGE'],
  [{ file: 'blob', append: 'x' }, 'EDIT_NOT_FOUND'],
  [{ file: 'sub', append: 'x' }, 'EDIT_NOT_FOUND'],
] as const)('makes no commit of %j', async (edit, code) => {
  const repo = await aRepository({ 'a.txt': 'one\ntwo\n', blob: Buffer.from([0xff, 0xfe, 0]), 'sub/x': '' });
  await expect(apply({ repo, head: 'main', edits: [edit], message, push: true })).rejects.toEqual(failure(code));
  expect(await ask(repo, 'branch', '--format=%(refname:short)')).toBe('main');
});

it('takes odd file names and branch names for what they are', async () => {
  const repo = await aRepository({ 'a.txt': 'one\n' });
  const odd = ['-rf', ':(top)x', 'a b\n"c"', '*'];
  const output = await apply({
    repo,
    head: 'main',
    edits: odd.map((file) => ({ file, append: 'x\n' })),
    message,
    push: true,
  });
  expect(output.diffstat.files.map((each) => each.file).sort()).toEqual([...odd].sort());
  for (const branch of ['a..b', '-d', 'a b', 'x.lock']) {
    const named = apply({ repo, head: 'main', edits: [{ file: 'a', append: 'x' }], message, branch });
    await expect(named).rejects.toEqual(failure('UNSAFE_REF'));
  }
});

it('builds on any commit, and refuses unknown ones', async () => {
  const repo = await aRepository({ 'a.txt': 'one\ntwo\n' });
  await aCommit(repo, { 'a.txt': 'changed\n' });
  expect((await apply({ repo, head: 'main~1', edits, message, push: true })).diffstat.files).toHaveLength(2);
  await expect(apply({ repo, head: 'gone', edits, message })).rejects.toEqual(failure('UNKNOWN_COMMIT'));
  await expect(apply({ repo: '/gone', head: 'main', edits, message })).rejects.toEqual(failure('NOT_A_REPOSITORY'));
});
