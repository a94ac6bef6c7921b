/**
 * Finds RabbitMQ and Redis, in this order: on the machine, in a container engine that answers, from the package manager.
 * Says in one line each what was chosen, or what is missing, what that costs and what to type next.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findEngine, IMAGES } from './containers.js';
import { searchPath } from './guard.js';
import { installPackages, isExecutable, mayInstall } from './install.js';

export type Found =
  | { readonly kind: 'binary'; readonly path: string; readonly version: string | undefined; readonly epmd?: string }
  | { readonly kind: 'container'; readonly engine: string; readonly image: string };

export type ServiceName = 'rabbitmq' | 'redis';

export interface FindOptions {
  readonly services: readonly ServiceName[];
  readonly log: (line: string) => void;
  /** Whether the package manager may be used; by default wherever it can be. */
  readonly install?: boolean;
  readonly env?: NodeJS.ProcessEnv;
}

const TITLES = { rabbitmq: 'RabbitMQ', redis: 'Redis' } as const;
const PACKAGES = { rabbitmq: 'rabbitmq-server', redis: 'redis-server' } as const;
// Below these, what we rest on is missing: message TTL on quorum queues, and `#!lua` headers in scripts.
const OLDEST = { rabbitmq: '3.10', redis: '7.0' } as const;
const HOMEBREW = ['/opt/homebrew/opt', '/usr/local/opt', '/home/linuxbrew/.linuxbrew/opt'];

/** Every service asked for, or an error that names all that are missing. */
export async function findServices(options: FindOptions): Promise<Partial<Record<ServiceName, Found>>> {
  const { services, log, install = true, env = process.env } = options;
  const found: Partial<Record<ServiceName, Found>> = {};
  const missing = () => services.filter((service) => !found[service]);
  const lookOnMachine = () => {
    for (const service of missing()) {
      const binary = findBinary(service, env, log);
      if (binary) found[service] = binary;
    }
  };

  lookOnMachine();
  const engine = missing().length > 0 ? await findEngine() : undefined;
  if (engine) for (const service of missing()) found[service] = { kind: 'container', engine, image: IMAGES[service] };
  if (missing().length > 0 && install && mayInstall(env)) {
    await installPackages(
      missing().map((service) => PACKAGES[service]),
      { log, env },
    );
    lookOnMachine();
  }
  if (missing().length > 0) throw new Error(explainMissing(missing(), env));
  for (const service of services) log(`${TITLES[service]}: using ${describe(found[service])}`);
  return found;
}

function findBinary(service: ServiceName, env: NodeJS.ProcessEnv, log: (line: string) => void): Found | undefined {
  const candidates = service === 'rabbitmq' ? rabbitCandidates(env) : redisCandidates(env);
  for (const path of candidates) {
    if (!isExecutable(path)) continue;
    const version = service === 'rabbitmq' ? rabbitVersion(path) : redisVersion(path);
    if (version && isOlder(version, OLDEST[service])) {
      log(`${TITLES[service]}: passing over ${path} (${version}): Muster needs ${OLDEST[service]} or newer`);
      continue;
    }
    const epmd = service === 'rabbitmq' ? findEpmd(env) : undefined;
    return { kind: 'binary', path, version, ...(epmd && { epmd }) };
  }
  return undefined;
}

function rabbitCandidates(env: NodeJS.ProcessEnv): string[] {
  const home = env.MUSTER_RABBITMQ_HOME;
  return [
    // Named on purpose, so it comes before what merely happens to be there.
    ...(home ? [join(home, 'sbin/rabbitmq-server'), join(home, 'bin/rabbitmq-server')] : []),
    ...onPath('rabbitmq-server', env).filter((path) => !isAccountSwitcher(path)),
    '/usr/lib/rabbitmq/bin/rabbitmq-server',
    ...HOMEBREW.map((prefix) => join(prefix, 'rabbitmq/sbin/rabbitmq-server')),
  ];
}

function redisCandidates(env: NodeJS.ProcessEnv): string[] {
  return [...onPath('redis-server', env), ...HOMEBREW.map((prefix) => join(prefix, 'redis/bin/redis-server'))];
}

// Debian's and Red Hat's /usr/sbin/rabbitmq-server is a shell script that changes to the account rabbitmq: as root it cannot
// read our directory, as anyone else a TERM ends the script and orphans the broker. The real one lies in /usr/lib.
function isAccountSwitcher(path: string): boolean {
  try {
    return (
      /script-wrapper$/.test(realpathSync(path)) || /\b(su|runuser)\b.*\brabbitmq\b/.test(readFileSync(path, 'utf8'))
    );
  } catch {
    return false;
  }
}

function findEpmd(env: NodeJS.ProcessEnv): string | undefined {
  const besideErl = onPath('erl', env).flatMap((erl) => {
    const root = dirname(dirname(realpathSync(erl)));
    return [join(root, 'bin/epmd'), ...releases(root).map((release) => join(root, release, 'bin/epmd'))];
  });
  const homebrew = HOMEBREW.map((prefix) => join(prefix, 'erlang/lib/erlang/bin/epmd'));
  return [...onPath('epmd', env), ...besideErl, '/usr/lib/erlang/bin/epmd', ...homebrew].find(isExecutable);
}

function releases(root: string): string[] {
  return existsSync(root) ? readdirSync(root).filter((entry) => entry.startsWith('erts-')) : [];
}

function onPath(name: string, env: NodeJS.ProcessEnv): string[] {
  return searchPath(env)
    .split(':')
    .map((directory) => join(directory, name))
    .filter(isExecutable);
}

// Read from the directory names: asking the server itself costs the start of an Erlang machine.
function rabbitVersion(path: string): string | undefined {
  const real = realpathSync(path);
  const beside = ['..', '../lib'].flatMap((step) => {
    const directory = join(dirname(real), step);
    return existsSync(directory) ? readdirSync(directory) : [];
  });
  return [real, ...beside].map((text) => /rabbitmq(?:_server-|\/)(\d+\.\d+\.\d+)/.exec(text)?.[1]).find(Boolean);
}

function redisVersion(path: string): string | undefined {
  try {
    const text = execFileSync(path, ['--version'], {
      encoding: 'utf8',
      timeout: 5_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return /v=(\d+\.\d+\.\d+)/.exec(text)?.[1];
  } catch {
    return undefined;
  }
}

function isOlder(version: string, than: string): boolean {
  const [left, right] = [version, than].map((text) => text.split('.').map(Number));
  for (const [index, part] of right!.entries()) if (left![index] !== part) return (left![index] ?? 0) < part;
  return false;
}

function describe(found: Found | undefined): string {
  if (found?.kind === 'container') return `${found.image} in ${found.engine} (the first start fetches it)`;
  return `${found?.path} (${found?.version ?? 'version unknown'})`;
}

function explainMissing(missing: readonly ServiceName[], env: NodeJS.ProcessEnv): string {
  const names = missing.map((service) => TITLES[service]).join(' and ');
  const packages = missing.map((service) => PACKAGES[service]).join(' ');
  const commands =
    process.platform === 'darwin'
      ? `brew install ${missing.join(' ')}`
      : existsSync('/etc/debian_version')
        ? `sudo apt-get install --no-install-recommends ${packages}`
        : `install ${names} with your package manager, or start a container engine`;
  const versions = missing.map((service) => `${TITLES[service]} >= ${OLDEST[service]}`).join(', ');
  return (
    `${names} not found: nothing suitable (${versions}) on PATH or in the usual places, no container engine answers, and ` +
    `${mayInstall(env) ? 'installing was switched off' : 'packages can only be installed as root on Debian or Ubuntu'}. ` +
    `Without ${missing.length > 1 ? 'them' : 'it'} no task can be sent or remembered.\n` +
    `Next: ${commands}; or set AMQP_URL and REDIS_URL to servers you have.`
  );
}
