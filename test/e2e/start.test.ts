// `npm start`: the real program from dist/, seen as a user and `ps` see it.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { settingsPath } from '../../src/config.js';
import { git } from '../../src/reference/repository.js';
import { descendants, stillRunning } from '../local/processes.js';
import { aRepository, never } from '../reference/support.js';
import { eventually } from '../support/eventually.js';
import { aFolder, anAgent, GONE, muster, printed, root, settingsOf } from '../support/muster-program.js';

function answersAt(url: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connectSocket(Number(new URL(url).port), '127.0.0.1');
    socket.once('connect', () => done(true)).once('error', () => done(false));
    socket.once('close', () => undefined).setTimeout(2000, () => done(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Folders of a demo in the system's temporary directory. */
const temporary = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('muster-demo-'));

describe('muster demo', () => {
  it('does one real run, says what came of it, and leaves only what it produced', async () => {
    const folder = aFolder();
    const before = temporary();
    const program = muster(folder, 'demo', '--once', '--json');
    await printed(program, 'Agents:');
    const processes = descendants(program.process.pid);
    expect(await program.ended).toBe(0);
    const document = JSON.parse(program.out());
    expect(document).toMatchObject({
      status: 'completed',
      tasks: {
        change: { status: 'completed', result: { pushed: true } },
        review: { result: { verdict: 'request_changes' } },
        tests: { result: { status: 'passed', tests: { total: 7, passed: 7 } } },
        docs: { result: { counts: { exported: 7 } } },
        deploy: { result: { served: 'dist', url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/$/) } },
      },
    });
    const names = document.files.map((file: string) => file.slice(document.outputs.length + 1).split('/')[0]);
    expect([...new Set(names)]).toEqual(['apply-change', 'code-review', 'deploy-site', 'run-tests', 'write-docs']);
    expect(document.files.filter((file: string) => !existsSync(file))).toEqual([]);
    expect(program.err()).toMatch(/✓ deploy +infrastructure +[\d.]+ m?s {2}serving at http/);
    // Five agents, a manager, two guards, and the servers.
    expect(processes.length).toBeGreaterThanOrEqual(8);
    expect(stillRunning(processes)).toEqual([]);
    expect(existsSync(settingsPath(folder))).toBe(false);
    expect(temporary().filter((name) => !before.includes(name))).toEqual([]);
    expect(await answersAt(document.tasks.deploy.result.url)).toBe(false);
  }, 120_000);

  it("looks at a user's repository without changing it, its packages included", async () => {
    const script = "require('left'); require('fs').rmSync('node_modules/left', { recursive: true })";
    const manifest = { name: 'mine', scripts: { test: 'node check.js' }, devDependencies: { left: '1.0.0' } };
    const repo = await aRepository(
      { 'index.js': '/** One. */\nexports.one = 1;\n', '.gitignore': 'node_modules\n' },
      { 'package.json': JSON.stringify(manifest), 'package-lock.json': '{}', 'check.js': script },
    );
    mkdirSync(join(repo, 'node_modules/left'), { recursive: true });
    writeFileSync(join(repo, 'node_modules/left/index.js'), '');
    const before = await git(repo, ['for-each-ref'], never);
    const program = muster(aFolder(), 'demo', '--once', '--json', '--repo', repo);
    expect(await program.ended).toBe(0);
    const { tasks, status } = JSON.parse(program.out());
    expect(status).toBe('completed');
    expect(tasks.review.result).toMatchObject({ changed: { files: 4 } });
    expect(tasks.tests.result).toMatchObject({ status: 'passed', command: ['npm', 'test'] });
    expect(tasks.deploy.result).toMatchObject({ served: 'generated documentation' });
    expect(existsSync(join(repo, 'node_modules/left/index.js'))).toBe(true);
    expect(await git(repo, ['for-each-ref'], never)).toBe(before);
    expect(await git(repo, ['status', '--porcelain'], never)).toBe('');
  }, 120_000);

  it('exits 1 when the run does not complete, and says why', async () => {
    const manifest = JSON.stringify({ name: 'sad', scripts: { test: 'echo it rains; exit 3' } });
    const repo = await aRepository({ 'package.json': manifest });
    const program = muster(aFolder(), 'demo', '--once', '--repo', repo);
    expect(await program.ended).toBe(1);
    expect(program.out()).toContain('The run failed.');
    expect(program.out()).toContain('it rains');
    expect(program.out()).toMatch(/Deploy +dead \(not_retryable\): The tests of "tests" did not pass/);
  }, 120_000);

  it.each([
    [['--repo', '/nowhere/at/all'], 'is not a git repository'],
    [['--repo', root, '--base', 'no-such-branch'], 'has no commit named "no-such-branch"'],
    [['--head', 'main'], 'add --repo PATH'],
    [['--nonsense'], "unknown option '--nonsense'"],
  ])('starts nothing when it is called wrongly: %j', async (words, said) => {
    const folder = aFolder();
    const program = muster(folder, 'demo', '--once', ...words);
    expect(await program.ended).toBe(2);
    expect(program.err()).toContain(said);
    expect(program.out()).toBe('');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('stays up until Ctrl-C, however often that is sent', async () => {
    const folder = aFolder();
    const program = muster(folder, 'demo');
    await printed(program, 'Ctrl-C stops everything.');
    const processes = descendants(program.process.pid);
    const { metrics } = settingsOf(folder);
    expect(await (await fetch(`${metrics}`)).text()).toContain('agent_registry_size{status="active"} 5');
    expect(program.out()).toContain(`npx muster task show ${/^run (\S+)/m.exec(program.out())![1]} --trace`);
    // The terminal sends it, and so does npm.
    program.process.kill('SIGINT');
    program.process.kill('SIGINT');
    expect(await program.ended).toBe(0);
    expect(stillRunning(processes)).toEqual([]);
    expect(existsSync(settingsPath(folder))).toBe(false);
  }, 120_000);

  it('leaves nothing when it is killed in the middle of the run, a hung agent included', async () => {
    const folder = aFolder();
    const before = temporary();
    const program = muster(folder, 'demo');
    await printed(program, '▸ change');
    const processes = descendants(program.process.pid);
    const settings = settingsOf(folder);
    process.kill(anAgent(processes).pid, 'SIGSTOP');
    program.process.kill('SIGKILL');
    await eventually(
      () => stillRunning(processes),
      (left) => left.length === 0,
      GONE,
    );
    expect(
      await Promise.all([settings.AMQP_URL, settings.REDIS_URL, settings.metrics].map((url) => answersAt(`${url}`))),
    ).toEqual([false, false, false]);
    await eventually(
      () => temporary().filter((name) => !before.includes(name)),
      (left) => left.length === 0,
      GONE,
    );
  }, 120_000);
});
