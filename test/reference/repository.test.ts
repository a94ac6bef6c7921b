/** Git for the reference agents, on real repositories, bad ones included. */
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addedLines } from '../../src/reference/patch.js';
import { inside } from '../../src/reference/paths.js';
import {
  changedFiles,
  checkout,
  diffText,
  git,
  listFiles,
  mergeBase,
  openRepository,
  resolveCommit,
} from '../../src/reference/repository.js';
import { aCommit, aDirectory, aRepository, failure, never } from './support.js';

describe('opening a repository', () => {
  it('takes a plain, a bare and a sha256 one', async () => {
    const repo = await aRepository({ a: '1\n' });
    const bare = join(await aDirectory(), 'bare.git');
    await git(repo, ['clone', '--quiet', '--bare', repo, bare], never);
    const wide = await aDirectory();
    await git(wide, ['init', '--quiet', '--object-format=sha256'], never);
    await aCommit(wide, { a: '1\n' });

    expect(await openRepository(repo, never)).toEqual({ path: repo, objectFormat: 'sha1' });
    expect(await openRepository(bare, never)).toEqual({ path: bare, objectFormat: 'sha1' });
    const source = await openRepository(wide, never);
    const commit = await resolveCommit(source, 'HEAD', never);
    const directory = join(await aDirectory(), 'checkout');
    await checkout({ source, commits: [commit], directory, signal: never });
    expect(commit).toHaveLength(64);
    expect(await readFile(join(directory, 'a'), 'utf8')).toBe('1\n');
  });

  it.each([
    ['a directory that is no repository', () => aDirectory()],
    ['a path that does not exist', async () => join(await aDirectory(), 'gone')],
    ['a file', async () => join(await aRepository({ a: '1\n' }), 'a')],
    ['a relative path', async () => 'some/where'],
    ['a URL', async () => 'https://example.org/repo.git'],
    ['what git would take for an option', async () => '--upload-pack=touch /tmp/x'],
    ['a folder inside a repository', async () => join(await aRepository({ 'sub/a': '1\n' }), 'sub')],
  ])('refuses %s', async (_what, place) => {
    await expect(openRepository(await place(), never)).rejects.toEqual(failure('NOT_A_REPOSITORY'));
  });
});

describe('finding a commit', () => {
  it('takes branches, tags, ancestors and abbreviated ids', async () => {
    const repo = await aRepository({ a: '1\n' }, { a: '2\n' });
    await git(repo, ['tag', 'v1', 'main~1'], never);
    const source = await openRepository(repo, never);
    const [main, before] = await Promise.all(['main', 'main~1'].map((ref) => resolveCommit(source, ref, never)));
    expect(await resolveCommit(source, 'v1', never)).toBe(before);
    expect(await resolveCommit(source, main!.slice(0, 10), never)).toBe(main);
    expect(await mergeBase(source, main!, before!, never)).toBe(before);
  });

  it('says which commit is unknown', async () => {
    const source = await openRepository(await aRepository({ a: '1\n' }), never);
    await expect(resolveCommit(source, 'nowhere', never)).rejects.toEqual(failure('UNKNOWN_COMMIT'));
    await expect(resolveCommit(source, 'deadbeef'.repeat(5), never)).rejects.toEqual(failure('UNKNOWN_COMMIT'));
    await expect(resolveCommit(source, 'nowhere', never)).rejects.toThrow(/no commit named "nowhere"/);
  });

  it.each(['--output=/tmp/owned', '-h', 'a..b', ':/text', '^main', 'a b', 'main@{1}', 'x\0y', '', 'a\nb', 'refs/'])(
    'never passes %j to git',
    async (ref) => {
      const source = await openRepository(await aRepository({ a: '1\n' }), never);
      await expect(resolveCommit(source, ref, never)).rejects.toEqual(failure('UNSAFE_REF'));
    },
  );
});

describe('a checkout', () => {
  it('runs no hook of the source and reads none of its settings', async () => {
    const repo = await aRepository({ a: '1\n' });
    const trap = join(await aDirectory(), 'sprung');
    await mkdir(join(repo, '.git', 'hooks'), { recursive: true });
    for (const hook of ['post-checkout', 'pre-commit', 'reference-transaction']) {
      await writeFile(join(repo, '.git', 'hooks', hook), `#!/bin/sh\ntouch ${trap}\n`, { mode: 0o755 });
    }
    await git(repo, ['config', 'diff.external', `touch ${trap}`], never);
    const source = await openRepository(repo, never);
    const commit = await resolveCommit(source, 'main', never);
    const directory = join(await aDirectory(), 'checkout');
    await checkout({ source, commits: [commit], directory, signal: never });
    await diffText(directory, commit, commit, never);
    await expect(stat(trap)).rejects.toThrow('ENOENT');
  });

  it('replaces what an earlier attempt left behind', async () => {
    const source = await openRepository(await aRepository({ a: '1\n' }), never);
    const commit = await resolveCommit(source, 'main', never);
    const directory = join(await aDirectory(), 'checkout');
    await mkdir(directory);
    await writeFile(join(directory, 'stale'), 'x');
    await checkout({ source, commits: [commit], directory, signal: never });
    await expect(stat(join(directory, 'stale'))).rejects.toThrow('ENOENT');
  });

  it('writes symbolic links as text unless asked, so none leads out', async () => {
    const repo = await aRepository({ a: '1\n' });
    await symlink('/etc', join(repo, 'etc'));
    await aCommit(repo, {});
    const source = await openRepository(repo, never);
    const commit = await resolveCommit(source, 'main', never);
    const directory = join(await aDirectory(), 'checkout');
    await checkout({ source, commits: [commit], directory, signal: never });
    expect(await readFile(join(directory, 'etc'), 'utf8')).toBe('/etc');
    expect(await listFiles(directory, commit, never)).toEqual(['a']);
    await checkout({ source, commits: [commit], directory, symlinks: true, signal: never });
    await expect(inside(directory, 'etc/passwd')).rejects.toEqual(failure('UNSAFE_PATH'));
  });

  it('stops when the task is cancelled', async () => {
    const source = await openRepository(await aRepository({ a: '1\n' }), never);
    const reason = new Error('cancelled by request');
    const commits: [string] = ['0'.repeat(40)];
    const options = { source, commits, directory: join(await aDirectory(), 'c'), signal: AbortSignal.abort(reason) };
    await expect(checkout(options)).rejects.toBe(reason);
  });
});

describe('comparing two commits', () => {
  const odd = ['plain.js', 'with space.js', '-rf', 'tab\tname', 'line\nbreak.js', '"quoted".js', 'üñí.js', 'a:1: x.'];

  it('gets every file name right, however hostile', async () => {
    const repo = await aRepository({ keep: '1\n' }, Object.fromEntries(odd.map((name) => [name, '+++ b/fake\n'])));
    const source = await openRepository(repo, never);
    const [head, base] = await Promise.all(['main', 'main~1'].map((ref) => resolveCommit(source, ref, never)));
    const directory = join(await aDirectory(), 'checkout');
    await checkout({ source, commits: [head!, base!], directory, signal: never });

    const changed = await changedFiles(directory, base!, head!, never);
    expect(changed.map((each) => each.file).sort()).toEqual([...odd].sort());
    expect(changed.every((each) => each.status === 'A' && each.added === 1 && each.regular)).toBe(true);
    const lines = addedLines(await diffText(directory, base!, head!, never));
    expect([...lines.keys()].sort()).toEqual([...odd].sort());
    expect([...lines.values()]).toEqual(odd.map(() => [{ line: 1, text: '+++ b/fake' }]));
  });

  it('tells added, modified, deleted and binary files apart', async () => {
    const repo = await aRepository({ old: '1\n', same: 'x\n', text: 'a\nb\n' });
    await git(repo, ['rm', '--quiet', 'old'], never);
    await aCommit(repo, { text: 'a\nc\nd\n', blob: Buffer.from([0, 1, 2, 0]) });
    const source = await openRepository(repo, never);
    const [head, base] = await Promise.all(['main', 'main~1'].map((ref) => resolveCommit(source, ref, never)));
    const directory = join(await aDirectory(), 'checkout');
    await checkout({ source, commits: [head!, base!], directory, signal: never });
    expect(await changedFiles(directory, base!, head!, never)).toEqual([
      { file: 'blob', status: 'A', added: 0, deleted: 0, binary: true, regular: true },
      { file: 'old', status: 'D', added: 0, deleted: 1, binary: false, regular: true },
      { file: 'text', status: 'M', added: 2, deleted: 1, binary: false, regular: true },
    ]);
  });
});

describe('paths from outside', () => {
  it.each(['../up', 'a/../../up', '/etc/passwd', '.git/config', 'a/.GIT/hooks', '', 'a\0b', '..\\up', '.git /x'])(
    'refuses %j',
    async (name) => {
      await expect(inside(await aDirectory(), name)).rejects.toEqual(failure('UNSAFE_PATH'));
    },
  );

  it('refuses a link that leads out, whole or in part, dangling too', async () => {
    const root = await aDirectory();
    await symlink('/tmp', join(root, 'out'));
    await symlink('/nowhere/at/all', join(root, 'dangling'));
    for (const name of ['out', 'out/new.txt', 'dangling', 'dangling/x']) {
      await expect(inside(root, name)).rejects.toEqual(failure('UNSAFE_PATH'));
    }
    expect(await inside(root, 'new/file..txt')).toBe(join(root, 'new/file..txt'));
    expect(await inside(root, '.gitignore')).toBe(join(root, '.gitignore'));
  });
});
