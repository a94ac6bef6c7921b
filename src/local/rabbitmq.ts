/**
 * A private RabbitMQ node with its own epmd: environment, configuration and the two signs that it is ready.
 * Nothing of the machine's own RabbitMQ leaks in (configuration, cookie, plugins, node name) and nothing leaks out.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { containerLaunch } from './containers.js';
import type { Found } from './find.js';
import { type Guard, type Launch, type Running, searchPath } from './guard.js';
import { answers, LOOPBACK } from './ports.js';
import { createServer, logOf, type PrivateServer } from './server.js';

// `localhost` and not the host's name: a name that does not resolve costs 55 s and then the start.
const NODE = 'muster@localhost';
const EPMD_READY_MS = 5_000;

// Two schedulers: a private broker must not take every core. How long an idle one spins before it sleeps decides the start,
// which is one long chain of hand-overs between them (two cores, RabbitMQ 3.10.8; idle cost measured over 5 s):
//   none 5.0 s, 10 ms  |  very short 3.1 s, 30 ms  |  short, the dirty ones included 2.1 s, 30 ms
const SCHEDULERS = '+S 2:2 +sbwt short +sbwtdcpu short +sbwtdio short';

export interface RabbitPorts {
  readonly amqp: number;
  readonly distribution: number;
  readonly epmd: number;
  /** Present when the management plugin is wanted. */
  readonly management?: number;
}

export interface RabbitSettings {
  readonly directory: string;
  readonly found: Found;
  readonly guard: Guard;
  readonly ports: RabbitPorts;
  readonly user: string;
  readonly password: string;
  readonly log: (line: string) => void;
}

export function createRabbit(settings: RabbitSettings): PrivateServer {
  const { directory, found, guard, ports, log } = settings;
  const home = join(directory, 'rabbitmq');
  mkdirSync(home, { recursive: true, mode: 0o700 });
  writeFileSync(join(home, 'enabled_plugins'), ports.management ? '[rabbitmq_management].\n' : '[].\n');
  const server = createServer({
    title: 'RabbitMQ',
    port: ports.amqp,
    readyMs: found.kind === 'binary' ? 90_000 : 600_000,
    log,
    launch: () =>
      guard.launch(
        found.kind === 'binary' ? binaryLaunch(found.path, home, settings) : inContainer(found, home, settings),
      ),
    isReady: (running) => isReady(running, ports.amqp),
  });
  if (found.kind === 'container') return server;
  let epmd: Running | undefined;
  // RabbitMQ starts an epmd of its own when it finds none, and that one outlives everything: ours must answer first.
  const withEpmd = async (next: () => Promise<void>) => {
    if (!epmd || epmd.hasExited) epmd = await startEpmd(found.epmd, settings);
    await next();
  };
  return {
    get pid() {
      return server.pid;
    },
    start: () => withEpmd(server.start),
    kill: server.kill,
    restart: () => withEpmd(server.restart),
    pause: server.pause,
    resume: server.resume,
  };
}

export function amqpUrl({ ports, user, password }: Pick<RabbitSettings, 'ports' | 'user' | 'password'>): string {
  return `amqp://${user}:${password}@${LOOPBACK}:${ports.amqp}`;
}

export function managementUrl({ ports, user, password }: Pick<RabbitSettings, 'ports' | 'user' | 'password'>): string {
  return `http://${user}:${password}@${LOOPBACK}:${ports.management}`;
}

// The log line alone comes before the listener on some versions, the listener alone before the plugins.
async function isReady(running: Running, port: number): Promise<boolean> {
  if (!logOf(running).includes('Server startup complete')) return false;
  // AMQP 0-9-1 opens with its protocol header; the answer is a method frame (type 1) on channel 0.
  return answers(port, 'AMQP\x00\x00\x09\x01', (reply) => reply.startsWith('\x01\x00\x00'));
}

async function startEpmd(path: string | undefined, { guard, ports }: RabbitSettings): Promise<Running> {
  if (!path) {
    throw new Error(
      "Erlang's epmd was not found beside `erl`. RabbitMQ would start one that outlives it, so it was not started. " +
        'Next: put the directory of `epmd` on PATH (it lies in lib/erlang/erts-*/bin).',
    );
  }
  // In the foreground, else it leaves its process group and with it our reach.
  const args = ['-port', String(ports.epmd), '-address', LOOPBACK, '-relaxed_command_check'];
  const running = guard.launch({ name: 'epmd', command: path, args, env: { PATH: searchPath() }, polite: false });
  const deadline = performance.now() + EPMD_READY_MS;
  while (!(await answers(ports.epmd, '', () => true))) {
    if (running.hasExited || performance.now() > deadline) throw new Error(`epmd did not start: ${logOf(running)}`);
    await delay(5);
  }
  return running;
}

function binaryLaunch(path: string, home: string, settings: RabbitSettings): Launch {
  const { ports } = settings;
  const file = (name: string) => join(home, name);
  // An empty file: without it the machine's own rabbitmq-env.conf is read and overrides what follows.
  writeFileSync(file('env.conf'), '');
  writeFileSync(file('rabbitmq.conf'), configuration(settings), { mode: 0o600 });
  // Built from nothing: a RABBITMQ_ or ERL_ variable of the caller's shell must not reach the node.
  const env = {
    PATH: searchPath(),
    HOME: home,
    LANG: 'C.UTF-8',
    RABBITMQ_NODENAME: NODE,
    RABBITMQ_DIST_PORT: String(ports.distribution),
    ERL_EPMD_PORT: String(ports.epmd),
    ERL_EPMD_ADDRESS: LOOPBACK,
    ERL_CRASH_DUMP_SECONDS: '0',
    RABBITMQ_CONF_ENV_FILE: file('env.conf'),
    RABBITMQ_CONFIG_FILE: file('rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: file('advanced.config'),
    RABBITMQ_MNESIA_BASE: file('data'),
    RABBITMQ_LOG_BASE: file('log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_ENABLED_PLUGINS_FILE: file('enabled_plugins'),
    RABBITMQ_PID_FILE: file('pid'),
    // Makes the start script become the server instead of waiting for it, so that our pid is the broker's.
    RUNNING_UNDER_SYSTEMD: 'true',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `${SCHEDULERS} -kernel inet_dist_use_interface {127,0,0,1}`,
  };
  return { name: 'rabbitmq', command: path, args: [], env, polite: true };
}

function configuration({ ports, user, password }: RabbitSettings): string {
  const management = ports.management
    ? [`management.tcp.ip = ${LOOPBACK}`, `management.tcp.port = ${ports.management}`]
    : [];
  return [
    `listeners.tcp.local = ${LOOPBACK}:${ports.amqp}`,
    `default_user = ${user}`,
    `default_pass = ${password}`,
    // The default of 50 MB in one version and a share of memory in another: a nearly full laptop disk must not block publishers.
    'disk_free_limit.absolute = 50MB',
    // Quorum queues keep their log in memory until it rolls over; the default of 512 MB is meant for a server.
    'raft.wal_max_size_bytes = 64000000',
    ...management,
    '',
  ].join('\n');
}

function inContainer(found: Found & { kind: 'container' }, home: string, { ports, user, password }: RabbitSettings) {
  const inside = '/var/lib/rabbitmq';
  return containerLaunch({
    name: 'rabbitmq',
    engine: found.engine,
    image: found.image,
    publish: [[ports.amqp, 5672], ...(ports.management ? [[ports.management, 15672] as const] : [])],
    mount: [home, inside],
    env: {
      RABBITMQ_NODENAME: NODE,
      RABBITMQ_DEFAULT_USER: user,
      RABBITMQ_DEFAULT_PASS: password,
      RABBITMQ_LOGS: '-',
      RABBITMQ_ENABLED_PLUGINS_FILE: `${inside}/enabled_plugins`,
    },
    command: [],
  });
}
