/**
 * A private Redis: its configuration and the question that proves it is ours.
 * The append-only file is always on: a killed Redis comes back with every write it had answered.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerLaunch } from './containers.js';
import type { Found } from './find.js';
import { type Guard, type Launch, searchPath } from './guard.js';
import { answers, LOOPBACK } from './ports.js';
import { createServer, type PrivateServer } from './server.js';

export interface RedisSettings {
  readonly directory: string;
  readonly found: Found;
  readonly guard: Guard;
  readonly port: number;
  readonly password: string;
  readonly log: (line: string) => void;
}

export function createRedis(settings: RedisSettings): PrivateServer {
  const { directory, found, guard, port, password, log } = settings;
  const home = join(directory, 'redis');
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const launch =
    found.kind === 'binary' ? binaryLaunch(found.path, home, settings) : inContainer(found, home, settings);
  return createServer({
    title: 'Redis',
    port,
    readyMs: found.kind === 'binary' ? 30_000 : 300_000,
    log,
    launch: () => guard.launch(launch()),
    // AUTH proves that the one answering is ours and not a stranger that took the port.
    isReady: () => answers(port, `AUTH ${password}\r\nPING\r\n`, (reply) => reply.startsWith('+OK\r\n+PONG')),
  });
}

export function redisUrl({ port, password }: { port: number; password: string }): string {
  return `redis://:${password}@${LOOPBACK}:${port}`;
}

function binaryLaunch(path: string, home: string, { port, password }: RedisSettings): () => Launch {
  const file = join(home, 'redis.conf');
  writeFileSync(file, configuration({ bind: LOOPBACK, port, home, password }), { mode: 0o600 });
  return () => ({ name: 'redis', command: path, args: [file], env: { PATH: searchPath() }, polite: true });
}

function inContainer(found: Found & { kind: 'container' }, home: string, settings: RedisSettings): () => Launch {
  const inside = '/data';
  const text = configuration({ bind: '0.0.0.0', port: 6379, home: inside, password: settings.password });
  writeFileSync(join(home, 'redis.conf'), text, { mode: 0o600 });
  return () =>
    containerLaunch({
      name: 'redis',
      engine: found.engine,
      image: found.image,
      publish: [[settings.port, 6379]],
      mount: [home, inside],
      env: {},
      command: ['redis-server', `${inside}/redis.conf`],
    });
}

// The password is in the file, never an argument: `ps` shows arguments to everyone.
function configuration({
  bind,
  port,
  home,
  password,
}: Record<'bind' | 'home' | 'password', string> & { port: number }) {
  return [
    `bind ${bind}`,
    `port ${port}`,
    `dir "${home}"`,
    `requirepass ${password}`,
    'save ""',
    'appendonly yes',
    'appendfsync everysec',
    // Registry and task state must never be evicted to make room: refuse the write instead.
    'maxmemory-policy noeviction',
    'daemonize no',
    '',
  ].join('\n');
}
