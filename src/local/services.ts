/**
 * Private RabbitMQ and Redis for a laptop, a demo or a test run: on loopback, behind random passwords, gone when we are.
 * Found by `find.ts`, kept on a leash by `guard.ts`; restarted ones come back on the same port with the same data.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Found, findServices, type ServiceName } from './find.js';
import { startGuard } from './guard.js';
import { freePorts } from './ports.js';
import { amqpUrl, createRabbit, managementUrl, type RabbitPorts } from './rabbitmq.js';
import { createRedis, redisUrl } from './redis.js';
import { isPortTaken, type PrivateServer } from './server.js';
import { sweepStaleRun } from './stale.js';

// A broker that is told to end flushes and closes; with the management plugin that takes six seconds.
const GRACE_MS = 8_000;
const STATE = 'services.json';

export interface ServiceOptions {
  /** Where data, logs and configuration live. Without `keepData` it must be new or empty, and is removed at the end. */
  readonly directory: string;
  /** Keep data, passwords and (if still free) ports for the next start, and end the servers in good order. */
  readonly keepData?: boolean;
  readonly log?: (line: string) => void;
  readonly rabbitmq?: boolean;
  readonly redis?: boolean;
  readonly managementPlugin?: boolean;
  /** Whether the system's package manager may be used if the servers are missing; default true. */
  readonly install?: boolean;
}

export interface Services {
  readonly amqpUrl?: string;
  readonly redisUrl?: string;
  readonly managementUrl?: string;
  /** Present ones only: a killed server has no pid until it is restarted. */
  readonly pids: { readonly guard: number; readonly rabbitmq?: number; readonly redis?: number };
  /** Ends everything; afterwards no process, no port and (without `keepData`) no directory is left. Safe to call twice. */
  stop(): Promise<void>;
  /** As a crash: SIGKILL. */
  killBroker(): Promise<void>;
  /** Same port, same data; ends it in good order first if it is alive. Resolves when it accepts connections. */
  restartBroker(): Promise<void>;
  /** Stops its clock: connections stay open and nobody answers. */
  pauseBroker(): void;
  resumeBroker(): void;
  killRedis(): Promise<void>;
  restartRedis(): Promise<void>;
  pauseRedis(): void;
  resumeRedis(): void;
}

interface State {
  readonly user: string;
  readonly password: string;
  readonly redisPassword: string;
  readonly ports: RabbitPorts & { readonly redis: number };
}

export async function startServices(options: ServiceOptions): Promise<Services> {
  const { keepData = false, log = () => {}, managementPlugin = false } = options;
  const directory = resolve(options.directory);
  if (process.platform === 'win32') {
    throw new Error(
      'Private servers need a POSIX shell to guard them, which Windows lacks, so none was started. ' +
        'Next: run this in WSL, or set AMQP_URL and REDIS_URL to servers you have.',
    );
  }
  const wanted: ServiceName[] = [];
  if (options.rabbitmq ?? true) wanted.push('rabbitmq');
  if (options.redis ?? true) wanted.push('redis');
  const found = await findServices({ services: wanted, log, install: options.install ?? true });
  await claimDirectory(directory, keepData, log);

  const attempt = async (known: KnownState | undefined) => {
    const state = await chooseState(known, managementPlugin);
    // A restart of `keepData` servers must find the users and passwords its data was created with.
    if (keepData) writeFileSync(join(directory, STATE), `${JSON.stringify(state)}\n`, { mode: 0o600 });
    return launch({ directory, keepData, log, found, state });
  };
  const known = keepData ? readState(directory) : undefined;
  try {
    return await attempt(known);
  } catch (error) {
    if (!isPortTaken(error)) throw error;
    log(
      'Servers: a port was taken by another program between choosing and using it; trying once more with other ports',
    );
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return attempt(known && { ...known, ports: undefined });
  }
}

interface LaunchOptions {
  readonly directory: string;
  readonly keepData: boolean;
  readonly log: (line: string) => void;
  readonly found: Partial<Record<ServiceName, Found>>;
  readonly state: State;
}

async function launch({ directory, keepData, log, found, state }: LaunchOptions): Promise<Services> {
  const { user, password, redisPassword, ports } = state;
  const guard = startGuard({ directory, keepData, graceMs: keepData ? GRACE_MS : 0 });
  const shared = { directory, guard, log };
  const broker = found.rabbitmq && createRabbit({ ...shared, found: found.rabbitmq, ports, user, password });
  const redis =
    found.redis && createRedis({ ...shared, found: found.redis, port: ports.redis, password: redisPassword });
  // All of them, even if one fails: stopping the guard under a start still in flight would report the wrong cause.
  const starts = await Promise.allSettled([broker?.start(), redis?.start()]);
  const failed = starts.find((start) => start.status === 'rejected');
  if (failed) {
    await guard.stop();
    throw failed.reason;
  }

  const theBroker = () => present(broker, 'RabbitMQ', 'rabbitmq');
  const theRedis = () => present(redis, 'Redis', 'redis');
  return {
    ...(broker && { amqpUrl: amqpUrl(state) }),
    ...(broker && ports.management && { managementUrl: managementUrl(state) }),
    ...(redis && { redisUrl: redisUrl({ port: ports.redis, password: redisPassword }) }),
    get pids() {
      return {
        guard: guard.pid,
        ...(broker?.pid && { rabbitmq: broker.pid }),
        ...(redis?.pid && { redis: redis.pid }),
      };
    },
    stop: guard.stop,
    killBroker: async () => theBroker().kill(),
    restartBroker: async () => theBroker().restart(),
    pauseBroker: () => theBroker().pause(),
    resumeBroker: () => theBroker().resume(),
    killRedis: async () => theRedis().kill(),
    restartRedis: async () => theRedis().restart(),
    pauseRedis: () => theRedis().pause(),
    resumeRedis: () => theRedis().resume(),
  };
}

function present(server: PrivateServer | undefined, title: string, option: string): PrivateServer {
  if (server) return server;
  throw new Error(`There is no private ${title} here: startServices was called with \`${option}: false\`.`);
}

async function claimDirectory(directory: string, keepData: boolean, log: (line: string) => void): Promise<void> {
  if (keepData) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return sweepStaleRun(directory, log);
  }
  // The guard removes it with everything in it: a directory that holds someone's files must never be taken.
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new Error(
      `${directory} is not empty, and servers without keepData remove their directory when they end, so none was started. ` +
        'Next: name a new directory, or pass keepData: true.',
    );
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 });
}

type KnownState = Omit<State, 'ports'> & { readonly ports?: State['ports'] | undefined };

async function chooseState(known: KnownState | undefined, managementPlugin: boolean): Promise<State> {
  const before = known?.ports;
  const [amqp, distribution, epmd, redis, management] = await freePorts([
    before?.amqp,
    before?.distribution,
    before?.epmd,
    before?.redis,
    before?.management,
  ]);
  const ports = { amqp: amqp!, distribution: distribution!, epmd: epmd!, redis: redis! };
  return {
    user: known?.user ?? `muster-${secret(3)}`,
    password: known?.password ?? secret(18),
    redisPassword: known?.redisPassword ?? secret(18),
    ports: managementPlugin ? { ...ports, management: management! } : ports,
  };
}

// Letters and digits only: they go into URLs and into three configuration languages, none of which should need quoting.
function secret(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

function readState(directory: string): State | undefined {
  const file = join(directory, STATE);
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as State;
  } catch (error) {
    throw new Error(
      `${file} cannot be read, and with it the passwords of the data beside it are lost. Nothing was started. ` +
        `Next: remove ${directory} to begin with empty servers.`,
      { cause: error },
    );
  }
}
