// A registry on the real Redis for one test: its own prefix, a manual clock for leases, and every connection closed at its end.
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { openRedis } from '../../src/redis/client.js';
import { keysFor } from '../../src/redis/keys.js';
import { RedisAgentStore } from '../../src/registry/store.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

const url = process.env.MUSTER_TEST_REDIS_URL ?? '';
const START = Date.UTC(2026, 1, 28, 23, 59, 30, 7);

export async function liveWorld() {
  const prefix = `t-${randomBytes(6).toString('hex')}`;
  const keys = keysFor(prefix);
  const clock = new ManualClock(START);
  const opened: Redis[] = [];
  const open = async () => {
    const redis = await openRedis({ url, name: 'agent-store-test' });
    opened.push(redis);
    // A process has a few stores on a connection; a test has many.
    redis.setMaxListeners(0);
    return redis;
  };
  const redis = await open();
  const channels = await open();
  const another = async () => new RedisAgentStore(await open(), await open(), keys, { clock, now: () => clock.now() });
  return {
    redis,
    channels,
    keys,
    open,
    another,
    store: await another(),
    pass: (ms: number) => clock.advance(ms),
    hold: async (instance: string, tasks: readonly string[]) => {
      await redis.del(keys.held(instance));
      if (tasks.length > 0) await redis.sadd(keys.held(instance), ...tasks);
    },
    connect: async (instance: string) => void (await channels.subscribe(keys.instanceChannel(instance))),
    cut: async (instance: string) => void (await channels.unsubscribe(keys.instanceChannel(instance))),
    close: async () => {
      const left = await redis.keys(`${prefix}*`);
      if (left.length > 0) await redis.del(...left);
      // Disconnecting one that has ended leaves a timer of 2 s behind.
      for (const connection of opened) if (connection.status !== 'end') connection.disconnect();
    },
  };
}
