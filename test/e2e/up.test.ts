// `muster up` and its processes: the real programs from dist/, seen as a user and `ps` see them.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { settingsPath } from '../../src/config.js';
import { isRunning } from '../../src/local/stale.js';
import { descendants, stillRunning } from '../local/processes.js';
import { aRepository } from '../reference/support.js';
import { eventually } from '../support/eventually.js';
import { aFolder, anAgent, GONE, muster, printed, root, run, settingsOf } from '../support/muster-program.js';

describe('muster up', () => {
  it('serves every terminal of its folder, keeps its data, and comes back after a kill', async () => {
    const folder = aFolder();
    const first = muster(folder, 'up', '--agents');
    await printed(first, 'Ctrl-C stops everything');
    expect(statSync(settingsPath(folder)).mode & 0o777).toBe(0o600);
    expect(settingsOf(folder)).toEqual({
      AMQP_URL: expect.stringMatching(/^amqp:/),
      REDIS_URL: expect.stringMatching(/^redis:/),
      MUSTER_PREFIX: 'muster',
      pid: first.process.pid,
      metrics: expect.stringMatching(/^http:/),
    });
    const below = join(folder, 'deeper');
    mkdirSync(below);
    const repo = await aRepository({ 'index.js': '/** One. */\nexports.one = 1;\n' });
    const input = JSON.stringify({ repo, head: 'main' });
    const submit = muster(below, 'submit', 'write-docs', '--input', input, '--wait', '--json');
    expect(await submit.ended).toBe(0);
    const later = muster(below, 'submit', 'nobody-offers-this', '--json');
    expect(await later.ended).toBe(0);

    const second = muster(folder, 'up');
    expect(await second.ended).not.toBe(0);
    expect(second.err()).toContain(`Process ${first.process.pid} (muster up) already runs`);

    const processes = descendants(first.process.pid);
    first.process.kill('SIGKILL');
    await eventually(
      () => stillRunning(processes),
      (left) => left.length === 0,
      GONE,
    );

    const third = muster(folder, 'up', '--json');
    await printed(third, 'metrics');
    const list = muster(folder, 'task', 'list', '--json');
    expect(await list.ended).toBe(0);
    expect(list.out()).toContain('nobody-offers-this');
    third.process.kill('SIGTERM');
    expect(await third.ended).toBe(0);
    expect(existsSync(settingsPath(folder))).toBe(false);
  }, 180_000);

  it('starts an agent again that ended unasked', async () => {
    const program = muster(aFolder(), 'up', '--agents');
    await printed(program, 'Ctrl-C stops everything');
    const agent = anAgent(descendants(program.process.pid));
    process.kill(agent.pid, 'SIGKILL');
    await printed(program, 'back as process');
    expect(isRunning(agent)).toBe(false);
    program.process.kill('SIGINT');
    expect(await program.ended).toBe(0);
  }, 120_000);

  it('says what is wrong with half an address', async () => {
    const program = run(aFolder(), [join(root, 'bin/muster.cjs'), 'up'], { REDIS_URL: 'redis://127.0.0.1:1' });
    expect(await program.ended).toBe(2);
    expect(program.err()).toContain('AMQP_URL and REDIS_URL go together');
  });
});

describe('one agent process', () => {
  it.each([
    ['nowhere to connect to', {}, 'cicd', 1, 'AMQP_URL and REDIS_URL are not set'],
    [
      'nobody listens there',
      { AMQP_URL: 'amqp://127.0.0.1:1', REDIS_URL: 'redis://127.0.0.1:1' },
      'cicd',
      1,
      'It could not start. ',
    ],
    ['an unknown agent', {}, 'gardener', 2, "There is no reference agent 'gardener'"],
  ])(
    'ends with a clear message: %s',
    async (_case, environment, id, code, said) => {
      const program = run(tmpdir(), [join(root, 'dist/cli/reference-agent.js'), id], environment);
      expect(await program.ended).toBe(code);
      expect(program.err()).toContain(said);
    },
    60_000,
  );
});
