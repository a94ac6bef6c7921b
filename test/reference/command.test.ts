/** Starting programs: nothing of the agent's environment leaks in, nothing of the program is left behind. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, watch } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../src/reference/command.js';
import { eventually } from '../support/eventually.js';
import { aDirectory, failure, never, withEnvironment } from './support.js';

const script = async (body: string, options: object = {}) =>
  runCommand(process.execPath, ['-e', body], { cwd: await aDirectory(), signal: never, ...options });

/** True once the process runs no more; a dead one nobody has collected yet still has its number. */
const gone = (pid: number) => {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout.trim() === '' || stdout.trim().startsWith('Z');
};

async function appears(directory: string, name: string): Promise<void> {
  for await (const event of watch(directory)) if (event.filename === name) return;
}

/** The child starts a grandchild, prints both process ids, then does `rest`. */
const family = (rest: string) => `
  const { spawn } = require('node:child_process');
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
  child.once('spawn', () => {
    console.log(process.pid, child.pid);
    ${rest}
  });`;

it('keeps credentials and git settings of the agent away from the program', async () => {
  const ours = { AMQP_URL: 'amqp://u:p@h/', GIT_DIR: '/elsewhere', NODE_OPTIONS: '--no-warnings', JEST_WORKER_ID: '1' };
  await withEnvironment(ours, async () => {
    const { stdout, exitCode } = await script('console.log(JSON.stringify(process.env))', { env: { MINE: '1' } });
    const seen = JSON.parse(stdout);
    expect(exitCode).toBe(0);
    expect(seen).toMatchObject({ PATH: process.env.PATH, MINE: '1', CI: '1' });
    for (const name of Object.keys(ours)) expect(seen).not.toHaveProperty(name);
  });
});

it('passes arguments as they are, never through a shell', async () => {
  const odd = ['$(id)', '; ls', '`x`', 'a b', '"', '*'];
  const args = ['-e', 'console.log(JSON.stringify(process.argv.slice(1)))', '--', ...odd];
  const { stdout } = await runCommand(process.execPath, args, { cwd: await aDirectory(), signal: never });
  expect(JSON.parse(stdout)).toEqual(odd);
});

it('keeps the beginning and the end of a long output', async () => {
  const body = "process.stdout.write('first' + 'x'.repeat(3_000_000) + 'last'); process.exitCode = 3";
  const result = await script(body, { headBytes: 10, tailBytes: 10 });
  expect(result).toMatchObject({ exitCode: 3, truncated: true, timedOut: false });
  expect(result.stdout).toBe('firstxxxxx\n… 2999989 bytes left out …\nxxxxxxlast');
  expect((await script("console.log('short')")).truncated).toBe(false);
});

it('ends the program and its children when the task is cancelled, even stubborn ones', async () => {
  const cancel = new AbortController();
  const reason = new Error('cancelled by request');
  const directory = await aDirectory();
  const told = appears(directory, 'told');
  const stubborn = `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000);
    require('node:fs').writeFileSync('told.tmp', process.pid + ' ' + child.pid);
    require('node:fs').renameSync('told.tmp', 'told');`;
  const running = script(family(stubborn), { signal: cancel.signal, cwd: directory });
  const settled = expect(running).rejects.toBe(reason);
  await told;
  cancel.abort(reason);
  await settled;
  const pids = (await readFile(join(directory, 'told'), 'utf8')).split(' ').map(Number);
  expect(pids.map(gone)).toEqual([true, true]);
});

it('ends what takes too long, and what is left in the background', async () => {
  const slow = await script(family(''), { timeoutMs: 700 });
  expect(slow).toMatchObject({ timedOut: true, exitCode: null });
  const left = await script(family('process.exit(0);'));
  expect(left).toMatchObject({ timedOut: false, exitCode: 0 });
  const pids = `${slow.stdout} ${left.stdout}`.split(/\s+/).filter((word) => word !== '');
  expect(pids).toHaveLength(4);
  expect(pids.map(Number).map(gone)).toEqual([true, true, true, true]);
});

it('takes its programs along when the agent itself is killed', async () => {
  const directory = await aDirectory();
  const told = appears(directory, 'told');
  const command = join(__dirname, '..', '..', 'src', 'reference', 'command.ts');
  const body = `require('node:fs').writeFileSync('told.tmp', String(process.pid));
    require('node:fs').renameSync('told.tmp', 'told'); setInterval(() => {}, 1000)`;
  const agent = spawn(process.execPath, [
    '-r',
    join(__dirname, '..', 'support', 'register.cjs'),
    '-e',
    `require(${JSON.stringify(command)}).runCommand(process.execPath, ['-e', ${JSON.stringify(body)}],
      { cwd: ${JSON.stringify(directory)}, signal: new AbortController().signal })`,
  ]);
  await told;
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  const pid = Number(await readFile(join(directory, 'told'), 'utf8'));
  await eventually(
    () => gone(pid),
    (yes) => yes,
  );
  expect(gone(pid)).toBe(true);
});

it('says when a program is missing', async () => {
  const start = runCommand('no-such-program-at-all', [], { cwd: await aDirectory(), signal: never });
  await expect(start).rejects.toEqual(failure('COMMAND_MISSING'));
});
