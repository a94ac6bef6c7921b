// The AgentStore on a real Redis keeps the promises of the port, and those only a real one can break.
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { openRedis } from '../../src/redis/client.js';
import { keysFor } from '../../src/redis/keys.js';
import { RedisAgentStore } from '../../src/registry/store.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { type AgentStoreWorld, aCapability, aCard, testAgentStore } from '../conformance/agent-store.suite.js';

const url = process.env.MUSTER_TEST_REDIS_URL ?? '';
const START = Date.UTC(2026, 1, 28, 23, 59, 30, 7);

async function liveWorld(): Promise<AgentStoreWorld & { redis: Redis; prefix: string; clock: ManualClock }> {
  const prefix = `t-${randomBytes(6).toString('hex')}`;
  const keys = keysFor(prefix);
  const clock = new ManualClock(START);
  const open: Redis[] = [];
  const connect = async (name: string) => {
    const redis = await openRedis({ url, name });
    open.push(redis);
    return redis;
  };
  const redis = await connect('agent-store-test');
  const channels = await connect('agent-store-test-channels');
  const another = async () =>
    new RedisAgentStore(await connect('another'), await connect('another'), keys, { clock, now: () => clock.now() });
  return {
    redis,
    prefix,
    clock,
    store: await another(),
    another,
    pass: (ms) => clock.advance(ms),
    hold: async (instance, tasks) => {
      await redis.del(keys.held(instance));
      if (tasks.length > 0) await redis.sadd(keys.held(instance), ...tasks);
    },
    connect: async (instance) => void (await channels.subscribe(keys.instanceChannel(instance))),
    cut: async (instance) => void (await channels.unsubscribe(keys.instanceChannel(instance))),
    close: async () => {
      const left = await redis.keys(`${prefix}:*`);
      if (left.length > 0) await redis.del(...left);
      for (const connection of open) connection.disconnect();
    },
  };
}

testAgentStore(liveWorld);
