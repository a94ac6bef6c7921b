// How a command reaches the world: the store alone for questions, or a whole client for what sends messages. Both say within
// seconds when nothing answers, and let go whatever happens.
import { connect as connectSocket } from 'node:net';
import type { Client } from '../agent/client.js';
import { connect } from '../agent/connect.js';
import { type Config, loadConfig } from '../config.js';
import { BrokerUnavailable, StoreUnavailable } from '../errors.js';
import { openRedis, redactUrl } from '../redis/client.js';
import { type Keys, keysFor } from '../redis/keys.js';
import { RedisAgentStore } from '../registry/store.js';
import { RedisTaskStore } from '../tasks/store.js';

const PATIENCE_MS = 3000;

export type LiveConfig = ReturnType<typeof loadConfig> & { readonly AMQP_URL: string; readonly REDIS_URL: string };

/** The settings, which must name a broker and a store: a bus in the memory of this command would be of no use to anybody. */
export function liveConfig(): LiveConfig {
  const config = loadConfig();
  const { AMQP_URL, REDIS_URL } = config;
  if (AMQP_URL === undefined || REDIS_URL === undefined) {
    throw BrokerUnavailable(
      'no address',
      "AMQP_URL and REDIS_URL are not set, and no .muster/env.json is here or above; set both, or run 'muster up'",
    );
  }
  return { ...config, AMQP_URL, REDIS_URL };
}

export interface Stores {
  readonly config: Config;
  readonly keys: Keys;
  readonly tasks: RedisTaskStore;
  readonly agents: RedisAgentStore;
  /** The store's own clock, ms: what its times are to be compared with. */
  now(): Promise<number>;
}

/** For questions: Redis only, so that they are answered while the broker is away. */
export async function withStores<T>(work: (stores: Stores) => Promise<T>): Promise<T> {
  const config = liveConfig();
  await checkStore(config.REDIS_URL);
  const redis = await openRedis({ url: config.REDIS_URL, name: 'muster-cli' });
  try {
    const keys = keysFor(config.MUSTER_PREFIX);
    return await work({
      config,
      keys,
      tasks: new RedisTaskStore(redis, redis, keys),
      agents: new RedisAgentStore(redis, redis, keys),
      async now() {
        const [seconds, micros] = await redis.time();
        return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
      },
    });
  } finally {
    redis.disconnect();
  }
}

/** For what changes something or sends messages. Waits until what it released was handed to the broker. */
export async function withClient<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const config = liveConfig();
  // A port nobody listens on is known at once; the client itself would go on trying for ten seconds.
  await Promise.all([checkBroker(config.AMQP_URL), checkStore(config.REDIS_URL)]);
  const client = await connect({ name: 'cli' });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** Whether one of the brokers named answers; throws BROKER_UNAVAILABLE. */
export async function checkBroker(urls: string): Promise<void> {
  const tried = await Promise.all(urls.split(',').map((url) => knock(url, 5672)));
  if (tried.includes(undefined)) return;
  throw BrokerUnavailable(urls.split(',').map(redactUrl).join(', '), tried[0] ?? 'no address');
}

export async function checkStore(url: string): Promise<void> {
  const why = await knock(url, 6379);
  if (why !== undefined) throw StoreUnavailable(`${redactUrl(url)}: ${why}`);
}

/** undefined: someone listens there. Otherwise why not. */
function knock(url: string, defaultPort: number): Promise<string | undefined> {
  if (!URL.canParse(url)) return Promise.resolve('the address is not a URL');
  const { hostname, port, protocol } = new URL(url);
  const usual = protocol === 'amqps:' ? 5671 : defaultPort;
  return new Promise((resolve) => {
    const host = hostname.replace(/^\[|\]$/g, '');
    const socket = connectSocket({ host, port: port === '' ? usual : Number(port), timeout: PATIENCE_MS });
    const done = (why?: string): void => {
      socket.destroy();
      resolve(why);
    };
    socket.once('connect', () => done());
    socket.once('timeout', () => done(`no answer within ${PATIENCE_MS / 1000} s`));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      done(error.code === undefined ? error.message : reasonOf(error)),
    );
  });
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'nothing listens there (ECONNREFUSED)';
  return error.code === 'ENOTFOUND' ? 'there is no such host (ENOTFOUND)' : `${error.message} (${error.code})`;
}
