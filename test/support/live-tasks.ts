// Task stores on the Redis of the test run: each world under a prefix of its own, with a clock that moves only when told.
// Leaves nothing behind: close() deletes what is left under the prefix.
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { openRedis } from '../../src/redis/client.js';
import { type Keys, keysFor } from '../../src/redis/keys.js';
import { RedisTaskStore } from '../../src/tasks/store.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

export interface LiveTasks {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly clock: ManualClock;
  readonly store: RedisTaskStore;
  /** Another process over the same tasks, on connections of its own. */
  another(): Promise<RedisTaskStore>;
  /** Closed with the world. */
  connect(name: string): Promise<Redis>;
  /** A process whose commands go over this connection. */
  over(redis: Redis): Promise<RedisTaskStore>;
  /** The registry knows this instance: what it runs is counted and listed. */
  register(instance: string): Promise<void>;
  /** Every key there is but the registry's. */
  storedKeys(): Promise<string[]>;
  close(): Promise<void>;
}

export async function liveTasks(options: { readonly retentionMs?: number } = {}): Promise<LiveTasks> {
  const url = process.env.MUSTER_TEST_REDIS_URL ?? '';
  const keys = keysFor(`t-${randomBytes(6).toString('hex')}`);
  const clock = new ManualClock();
  const connections: Redis[] = [];
  const connect = async (name: string): Promise<Redis> => {
    const redis = await openRedis({ url, name });
    connections.push(redis);
    return redis;
  };
  const over = async (redis: Redis): Promise<RedisTaskStore> =>
    new RedisTaskStore(redis, await connect('notices'), keys, { ...options, now: () => clock.now() });
  const another = async (): Promise<RedisTaskStore> => over(await connect('tasks'));
  const redis = await connect('look');
  const storedKeys = async (): Promise<string[]> =>
    (await redis.keys(`${keys.prefix}:*`)).filter((key) => key !== keys.instances).sort();
  return {
    redis,
    keys,
    clock,
    store: await another(),
    another,
    connect,
    over,
    register: async (instance) => void (await redis.zadd(keys.instances, 1e15, instance)),
    storedKeys,
    async close() {
      for (const key of await redis.keys(`${keys.prefix}:*`)) await redis.unlink(key);
      for (const connection of connections) connection.disconnect();
    },
  };
}
