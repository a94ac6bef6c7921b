/** The capability deploy-site, asked over real HTTP. */
import { rm, stat, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { makeDemoRepository } from '../../src/reference/demo-repository.js';
import { deploySite, deploySiteInput, deploySiteOutput, stopDeployments } from '../../src/reference/infrastructure.js';
import { checkHealth } from '../../src/reference/site-health.js';
import { startSite } from '../../src/reference/site-server.js';
import { aCommit, aContext, aDirectory, aRepository, failure, never } from './support.js';

afterEach(stopDeployments);

const deploy = async (input: object, results: Record<string, unknown> = {}) => {
  const output = await deploySite(deploySiteInput.parse(input), await aContext(results));
  expect(deploySiteOutput.parse(output)).toEqual(output);
  return output;
};

interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly location: string | undefined;
  readonly body: string;
}

/** Sends the path as it is, which `fetch` would tidy up first. */
const ask = (url: string, path: string, method = 'GET'): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    request({ hostname, port, path, method, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        body += chunk;
      });
      const { 'content-type': type, location } = response.headers;
      response.once('end', () => resolve({ status: response.statusCode ?? 0, type, location, body }));
    })
      .once('error', reject)
      .end();
  });

it('builds, serves and checks the demo site', async () => {
  const demo = await makeDemoRepository(join(await aDirectory(), 'demo'));
  const outputDirectory = await aDirectory();
  const output = await deploy({ repo: demo.repo, head: 'change', outputDirectory });
  expect(output).toMatchObject({
    commit: demo.commits.head,
    served: 'dist',
    fileCount: 2,
    replaced: false,
    docsUrl: null,
  });
  expect(output.build).toMatch(/^Built with npm run build/);
  expect(output.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
  expect(output.checks).toMatchObject([
    { path: '/', status: 200, contentType: 'text/html; charset=utf-8' },
    { path: '/style.css', status: 200, contentType: 'text/css; charset=utf-8' },
  ]);
  const home = await ask(output.url, '/');
  expect(home.body).toContain('<li>Apples: 2.50 per kg</li>');
  expect(Buffer.byteLength(home.body)).toBe(output.checks[0]?.bytes);
  expect(output.directory.startsWith(join(outputDirectory, 'deploy-site'))).toBe(true);
});

it('keeps its address when a new commit replaces the old one, and stops on request', async () => {
  const repo = await aRepository({ 'public/index.html': 'one' }, { 'public/index.html': 'two' });
  const first = await deploy({ repo, head: 'main~1' });
  const second = await deploy({ repo, head: 'main' });
  expect(second).toMatchObject({ url: first.url, replaced: true, served: 'public' });
  expect((await ask(first.url, '/')).body).toBe('two');
  await expect(stat(first.directory)).rejects.toThrow('ENOENT');
  const named = await deploy({ repo, head: 'main~1', name: 'beside' });
  expect(named.url).not.toBe(first.url);
  await stopDeployments();
  await stopDeployments();
  await expect(ask(first.url, '/')).rejects.toThrow('ECONNREFUSED');
  await expect(stat(second.directory)).rejects.toThrow('ENOENT');
});

it('leaves what is served alone when the new commit cannot be deployed', async () => {
  const broken = JSON.stringify({ scripts: { build: 'node -e "console.log(\'no such theme\'); process.exit(2)"' } });
  const repo = await aRepository(
    { 'site/index.html': 'one' },
    { 'package.json': broken },
    { 'site/index.html': 'three' },
  );
  const first = await deploy({ repo, head: 'main~2' });
  const failed = deploy({ repo, head: 'main~1' });
  await expect(failed).rejects.toEqual(failure('BUILD_FAILED'));
  await expect(failed).rejects.toThrow(/no such theme/);
  expect((await ask(first.url, '/')).body).toBe('one');
  const forced = await deploy({ repo, head: 'main', build: false });
  expect(forced).toMatchObject({ build: 'Not built: not asked for.', replaced: true });
});

describe('after other tasks', () => {
  const page = { name: 'api/a.js.md' };
  const written = async () => {
    const directory = await aDirectory();
    await writeFile(join(directory, 'README.md'), '# Docs\n\n- [a](a.md)\n');
    await writeFile(join(directory, 'a.md'), '# `a`\n');
    return { directory, files: [{ name: 'README.md' }, { name: 'a.md' }] };
  };

  it('serves the documentation beside the site', async () => {
    const repo = await aRepository({ 'site/index.html': 'home' });
    const output = await deploy({ repo, head: 'main' }, { docs: await written() });
    expect(output).toMatchObject({ served: 'site', docsUrl: `${output.url}docs/` });
    expect((await ask(output.url, '/docs/')).body).toContain('<a href="a.html">a</a>');
    expect((await ask(output.url, '/docs/a.html')).body).toContain('<h1><code>a</code></h1>');
  });

  it('serves the documentation alone when there is no site', async () => {
    const repo = await aRepository({ 'a.js': '' });
    const output = await deploy({ repo, head: 'main' }, { docs: await written() });
    expect(output).toMatchObject({ served: 'generated documentation', docsUrl: output.url });
    await expect(deploy({ repo, head: 'main' })).rejects.toEqual(failure('NOTHING_TO_DEPLOY'));
    const gone = { docs: { directory: '/nowhere', files: [page] } };
    await expect(deploy({ repo, head: 'main' }, gone)).rejects.toEqual(failure('NOTHING_TO_DEPLOY'));
  });

  it('takes no page from outside the documentation', async () => {
    const repo = await aRepository({ 'site/index.html': 'home' });
    const hostile = { ...(await written()), files: [{ name: '../../etc/motd.md' }] };
    await expect(deploy({ repo, head: 'main' }, { docs: hostile })).rejects.toEqual(failure('UNSAFE_PATH'));
  });

  it('refuses when tests failed, and repeats what the review objects to', async () => {
    const repo = await aRepository({ 'site/index.html': 'home' });
    const tests = { status: 'failed', exitCode: 1, reason: '1 of 2 tests passed.' };
    await expect(deploy({ repo, head: 'main' }, { tests })).rejects.toEqual(failure('TESTS_FAILED'));
    const review = { verdict: 'request_changes', summary: '2 errors.' };
    const output = await deploy({ repo, head: 'main', requireTests: false }, { tests, review });
    expect(output.notes).toEqual(['review requests changes: 2 errors.']);
  });
});

it('serves no link that leads out of the commit', async () => {
  const repo = await aRepository({ 'other/index.html': 'x' });
  const build = JSON.stringify({ scripts: { build: 'ln -s /etc site && ln -s / dist' } });
  await symlink('/etc', join(repo, 'public'));
  await writeFile(join(repo, 'package.json'), build);
  await aCommit(repo, {});
  await expect(deploy({ repo, head: 'main' })).rejects.toEqual(failure('NOTHING_TO_DEPLOY'));
  await expect(deploy({ repo, head: 'main', directory: 'public' })).rejects.toEqual(failure('UNSAFE_PATH'));
  await expect(deploy({ repo, head: 'main', directory: '../..' })).rejects.toEqual(failure('UNSAFE_PATH'));
  expect(await deploy({ repo, head: 'main', directory: 'other' })).toMatchObject({ served: 'other', fileCount: 1 });
});

it('does not go live when the site answers anything but its files', async () => {
  const root = await aDirectory();
  await writeFile(join(root, 'index.html'), 'right');
  const other = await aDirectory();
  await writeFile(join(other, 'index.html'), 'wrong');
  const server = await startSite(other);
  await expect(checkHealth(server.url, root, ['index.html'], never)).rejects.toThrow(/the bytes differ/);
  await expect(checkHealth(server.url, root, ['gone.html'], never)).rejects.toEqual(failure('UNHEALTHY'));
  server.exchange(root);
  expect(await checkHealth(server.url, root, ['index.html'], never)).toHaveLength(1);
  await server.stop();
  await expect(checkHealth(server.url, root, ['index.html'], never)).rejects.toThrow(/ECONNREFUSED/);
});

describe('the server', () => {
  const site = async () => {
    const root = await aDirectory();
    const repo = await aRepository({});
    await writeFile(join(root, 'index.html'), '<p>hello');
    await writeFile(join(root, 'ünï cödé.txt'), 'text');
    await writeFile(join(root, 'empty.js'), '');
    await writeFile(join(root, '.env'), 'SECRET=1');
    await symlink('/etc', join(root, 'etc'));
    await symlink(join(repo, '.git'), join(root, 'linked'));
    return { root, server: await startSite(root) };
  };

  it('gives files with their types, and nothing from outside', async () => {
    const { root, server } = await site();
    try {
      expect(await ask(server.url, '/?q=1')).toMatchObject({ status: 200, body: '<p>hello' });
      expect(await ask(server.url, '/', 'HEAD')).toMatchObject({ status: 200, body: '' });
      expect(await ask(server.url, '/empty.js')).toMatchObject({
        status: 200,
        type: 'text/javascript; charset=utf-8',
        body: '',
      });
      expect(await ask(server.url, `/${encodeURIComponent('ünï cödé.txt')}`)).toMatchObject({
        status: 200,
        body: 'text',
      });
      expect(await ask(server.url, '/', 'POST')).toMatchObject({ status: 405 });
      const hostile = [
        '/../etc/passwd',
        '/%2e%2e/%2e%2e/etc/passwd',
        '/..%2f..%2fetc/passwd',
        '/etc/passwd',
        '/linked/HEAD',
      ];
      const odd = ['/.env', '/%00', '/%', '//etc/passwd', '/..\\etc', '/index.html/', '/empty.js/x', '/etc/'];
      for (const path of [...hostile, ...odd])
        expect([path, (await ask(server.url, path)).status]).toEqual([path, 404]);
      await rm(join(root, 'index.html'));
      expect((await ask(server.url, '/')).status).toBe(404);
    } finally {
      await server.stop();
      await server.stop();
    }
  });

  it('sends folders to their index, on this site only', async () => {
    const repo = await aRepository({
      'site/index.html': 'home',
      'site/sub dir/index.html': 'sub',
      'site/.env': 'x',
      'site/a\\b': 'x',
    });
    const output = await deploy({ repo, head: 'main' });
    expect(output.fileCount).toBe(2);
    expect(await ask(output.url, '/sub%20dir')).toMatchObject({ status: 308, location: '/sub%20dir/' });
    expect((await ask(output.url, '/sub%20dir/')).body).toBe('sub');
    expect((await ask(output.url, '//sub%20dir')).status).toBe(404);
  });
});
