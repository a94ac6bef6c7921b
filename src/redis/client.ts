// Connections to Redis: one for commands, one for subscriptions, both reconnecting by themselves with full jitter.
import { Redis } from 'ioredis';
import { systemRandom } from '../clock.js';
import { StoreRefused, StoreUnavailable } from '../errors.js';

export interface RedisOptions {
  readonly url: string;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /** A command without an answer for this long fails as unknown. Default 5000. */
  readonly commandTimeoutMs?: number;
  readonly onState?: (state: 'ready' | 'down', why?: string) => void;
}

/** Opens a connection and waits for it at most 5 s. Rejects with STORE_REFUSED on a wrong login, STORE_UNAVAILABLE otherwise. */
export async function openRedis(options: RedisOptions): Promise<Redis> {
  const redis = new Redis(options.url, {
    connectionName: options.name,
    lazyConnect: true,
    noDelay: true,
    connectTimeout: 5000,
    commandTimeout: options.commandTimeoutMs ?? 5000,
    // A command in flight when the connection breaks has an unknown outcome: say so instead of sending it twice.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    disableClientInfo: true,
    retryStrategy: (times) => Math.ceil(systemRandom() * Math.min(2000, 50 * 2 ** Math.min(times, 6))),
  });
  // Without a listener ioredis prints every reconnect failure to stderr.
  redis.on('error', (error: Error) => options.onState?.('down', error.message));
  redis.on('ready', () => options.onState?.('ready'));
  let timer: NodeJS.Timeout | undefined;
  let fatal: ((error: Error) => void) | undefined;
  try {
    await Promise.race([
      redis.connect(),
      new Promise((_, reject) => {
        fatal = (error) => {
          if (/WRONGPASS|NOAUTH|NOPERM/.test(error.message)) reject(error);
        };
        redis.on('error', fatal);
        timer = setTimeout(() => reject(new Error('no answer within 5 s')), 5000);
      }),
    ]);
    await redis.ping();
  } catch (error) {
    redis.disconnect();
    const why = error instanceof Error ? error.message : String(error);
    const where = redactUrl(options.url);
    if (/WRONGPASS|NOAUTH|NOPERM/.test(why)) throw StoreRefused(where, why, { cause: error });
    throw StoreUnavailable(`${where}: ${why}`, { cause: error });
  } finally {
    clearTimeout(timer);
    if (fatal !== undefined) redis.off('error', fatal);
  }
  return redis;
}

/** The address without user and password, for messages and logs. */
export function redactUrl(url: string): string {
  try {
    const parsed = new URL(url);
    return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
  } catch {
    return 'an address that is not a URL';
  }
}
