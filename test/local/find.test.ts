/**
 * Which binary is chosen, and what is said when none fits.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Found, findServices } from '../../src/local/find.js';

const root = mkdtempSync(join(tmpdir(), 'muster-find-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function program(path: string, text: string): string {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

async function find(service: 'rabbitmq' | 'redis', env: NodeJS.ProcessEnv): Promise<[Found | undefined, string[]]> {
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const found = await findServices({ services: [service], log, env: { ...process.env, ...env }, install: false });
  return [found[service], lines];
}

const path = (file: string) => ({ PATH: `${dirname(file)}:${process.env.PATH}` });

it('prefers the installation it is pointed at', async () => {
  const server = program('opt/rabbitmq_server-4.1.2/sbin/rabbitmq-server', 'exit 1');
  const [found, lines] = await find('rabbitmq', { MUSTER_RABBITMQ_HOME: dirname(dirname(server)) });
  expect(found).toMatchObject({ kind: 'binary', path: server, version: '4.1.2' });
  expect(lines).toEqual([`RabbitMQ: using ${server} (4.1.2)`]);
});

it("passes over a distribution's script that changes to another account", async () => {
  const script = program(
    'wrapped/rabbitmq-server',
    'su rabbitmq -s /bin/sh -c "/usr/lib/rabbitmq/bin/rabbitmq-server"',
  );
  const [found] = await find('rabbitmq', path(script));
  expect(found).not.toMatchObject({ path: script });
});

it('passes over a version too old for what Muster rests on, and says so', async () => {
  const old = program('old/redis-server', 'echo "Redis server v=6.0.16 sha=00000000:0 malloc=libc bits=64 build=0"');
  const [found, lines] = await find('redis', path(old));
  expect(found).not.toMatchObject({ path: old });
  expect(lines[0]).toBe(`Redis: passing over ${old} (6.0.16): Muster needs 7.0 or newer`);
});

it('takes the first on PATH that fits', async () => {
  const recent = program('recent/redis-server', 'echo "Redis server v=8.2.1 sha=00000000:0"');
  const [found] = await find('redis', path(recent));
  expect(found).toMatchObject({ kind: 'binary', path: recent, version: '8.2.1' });
});
