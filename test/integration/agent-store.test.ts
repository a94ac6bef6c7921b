// The AgentStore on a real Redis keeps the promises of the port, and those only a real one can break.
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import type { AgentRecord } from '../../src/contracts/agent.js';
import type { AgentStore } from '../../src/ports.js';
import { openRedis } from '../../src/redis/client.js';
import { keysFor } from '../../src/redis/keys.js';
import { RedisAgentStore } from '../../src/registry/store.js';
import { RedisTaskStore } from '../../src/tasks/store.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { MemoryAgentStore, MemoryRegistryWorld } from '../../src/testing/memory-agent-store.js';
import { aCard, testAgentStore } from '../conformance/agent-store.suite.js';
import { eventually } from '../support/eventually.js';

const url = process.env.MUSTER_TEST_REDIS_URL ?? '';
const START = Date.UTC(2026, 1, 28, 23, 59, 30, 7);

async function liveWorld() {
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

testAgentStore(liveWorld);

describe('the agent store on a real Redis', () => {
  let world: Awaited<ReturnType<typeof liveWorld>>;
  beforeEach(async () => {
    world = await liveWorld();
  });
  afterEach(() => world.close());

  /** A store that goes by Redis TIME and the system's clock, as in production. */
  const realStore = async () => new RedisAgentStore(await world.open(), await world.open(), world.keys);

  it('goes by the time of Redis when nobody sets one', async () => {
    const store = await realStore();
    const record = await store.join(aCard('ann'), 'ann-aaaaaa', 'full', 60);
    expect(Math.abs(Date.parse(record.created_at) - Date.now())).toBeLessThan(60_000);
    const silent = await eventually(
      () => store.silent(),
      (seen) => seen.length > 0,
    );
    expect(silent).toEqual([{ instance: 'ann-aaaaaa', agent: 'ann', cause: 'lease_expired' }]);
  });

  it('notices a process whose connection was closed under it', async () => {
    const store = await realStore();
    await store.join(aCard('ann'), 'ann-aaaaaa', 'full', 15_000);
    const link = await world.open();
    await link.subscribe(world.keys.instanceChannel('ann-aaaaaa'));
    expect(await store.silent()).toEqual([]);
    link.disconnect();
    const silent = await eventually(
      () => store.silent(),
      (seen) => seen.length > 0,
    );
    expect(silent).toEqual([{ instance: 'ann-aaaaaa', agent: 'ann', cause: 'agent_gone' }]);
  });

  it('writes every moment as JavaScript does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: Date.UTC(2400, 1, 29) }), async (ms) => {
        const store = new RedisAgentStore(world.redis, world.redis, world.keys, { now: () => ms });
        const { created_at } = await store.join(aCard('ann'), `ann-${ms}`, 'full', 15_000);
        expect(created_at).toBe(new Date(ms).toISOString());
        await store.leave('ann', `ann-${ms}`, 'stopped');
      }),
      {
        numRuns: 200,
        examples: [[Date.UTC(2000, 1, 29, 23, 59, 59, 999)], [Date.UTC(2100, 1, 28)], [Date.UTC(2024, 11, 31)]],
      },
    );
  });

  it('never oversubscribes with 100 choosers at once, and leaves no slot free that was asked for', async () => {
    const capacityOf = (i: number) => (i % 3) + 1;
    await Promise.all(
      Array.from({ length: 150 }, (_, i) =>
        world.store.join(aCard(`n${i}`, { capacity: capacityOf(i) }), `n${i}-aaaaaa`, 'full', 15_000),
      ),
    );
    const stores = await Promise.all(Array.from({ length: 10 }, () => world.another()));
    const taken = new Map<string, number>();
    let refused = 0;
    const chooser = async (who: number) => {
      for (let i = 0; i < 4; i++) {
        const answer = await stores[who % 10]!.reserve('code-review', `t${who}-${i}`);
        if ('agent' in answer) taken.set(answer.agent, (taken.get(answer.agent) ?? 0) + 1);
        else refused += 1;
      }
    };
    await Promise.all(Array.from({ length: 100 }, (_, who) => chooser(who)));
    for (const [agent, count] of taken) expect(count).toBe(capacityOf(Number(agent.slice(1))));
    expect([taken.size, refused]).toEqual([150, 100]);
  });

  it('spreads load evenly over a fleet larger than it looks at', async () => {
    await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        world.store.join(aCard(`n${i}`, { capacity: 10 }), `n${i}-aaaaaa`, 'full', 15_000),
      ),
    );
    for (let i = 0; i < 500; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, j) => world.store.reserve('code-review', `t${i + j}`)));
    }
    // 5 each on average: the best of 16 keeps everyone within one of it, or nearly so.
    for (const { in_flight } of await world.store.all()) expect(in_flight >= 3 && in_flight <= 6).toBe(true);
  });

  describe('with the task store', () => {
    const context = { owner: 'client-a', traceparent: '', root: 't1', hops: 0 };
    const task = {
      id: 't1',
      capability: 'code-review',
      priority: 2,
      body: '{}',
      maxAttempts: 3,
      dependencies: [],
      requiresApproval: false,
    } as const;
    let tasks: RedisTaskStore;
    const loadOf = async () =>
      Object.fromEntries((await world.store.all()).map(({ agent_id, in_flight }) => [agent_id, in_flight]));
    beforeEach(async () => {
      tasks = new RedisTaskStore(world.redis, await world.open(), world.keys);
      await tasks.submit({ ...task, leastConnections: true }, context, 'digest');
      for (const agent of ['ann', 'bob']) await world.store.join(aCard(agent), `${agent}-aaaaaa`, 'full', 15_000);
    });

    it('a task reserved twice takes one slot', async () => {
      for (let i = 0; i < 5; i++) await world.store.reserve('code-review', 't1');
      const { ann, bob } = await loadOf();
      expect(ann! + bob!).toBe(1);
    });

    it('a claim turns the reserved slot into a held one, whoever claims', async () => {
      await world.store.setDraining('bob', true);
      expect(await world.store.reserve('code-review', 't1')).toEqual({ agent: 'ann' });
      expect(await tasks.claim({ id: 't1', holder: 'bob-aaaaaa', redelivered: false })).toMatchObject({
        outcome: 'granted',
      });
      expect(await loadOf()).toEqual({ ann: 0, bob: 1 });
    });

    it('a task that is not ready any more takes no slot', async () => {
      await tasks.claim({ id: 't1', holder: 'bob-aaaaaa', redelivered: false });
      expect(await world.store.reserve('code-review', 't1')).toEqual({ none: 'all_full' });
      expect(await loadOf()).toEqual({ ann: 0, bob: 1 });
    });

    it('a cancelled task gives its slot back', async () => {
      await world.store.reserve('code-review', 't1');
      await tasks.cancel('t1', { state: 'cancelled', reason: 'cancelled_by_user' as never });
      expect(await loadOf()).toEqual({ ann: 0, bob: 0 });
    });
  });

  it('agrees with the one in memory on whatever happens', async () => {
    const ids = fc.constantFrom('ann', 'bob');
    const instances = fc.constantFrom('ann-aaaaaa', 'ann-bbbbbb', 'bob-aaaaaa', 'bus:bob', 'manager-m1', 'client-c1');
    const command = fc.oneof(
      fc.record({
        do: fc.constant('join' as const),
        agent: ids,
        run: fc.constantFrom('aaaaaa', 'bbbbbb'),
        capacity: fc.integer({ min: 1, max: 2 }),
      }),
      fc.record({
        do: fc.constant('leave' as const),
        agent: ids,
        instance: instances,
        reason: fc.constantFrom('stopped' as const, 'lease_expired' as const),
      }),
      fc.record({ do: fc.constant('beat' as const), instance: instances }),
      fc.record({ do: fc.constant('drain' as const), agent: ids, on: fc.boolean() }),
      fc.record({
        do: fc.constant('health' as const),
        agent: ids,
        health: fc.constantFrom('healthy' as const, 'unhealthy' as const),
      }),
      fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(700, 5000, 15_000) }),
      fc.record({ do: fc.constant('silent' as const) }),
      fc.record({ do: fc.constant('forget' as const), instance: instances }),
      fc.record({ do: fc.constant('reserve' as const), task: fc.uuid() }),
    );
    type Step = typeof command extends fc.Arbitrary<infer T> ? T : never;
    const obey = async (store: AgentStore, clock: ManualClock, step: Step) => {
      switch (step.do) {
        case 'join': {
          const card = aCard(step.agent, { capacity: step.capacity });
          return store.join(card, `${step.agent}-${step.run}`, 'full', 15_000);
        }
        case 'leave':
          return store.leave(step.agent, step.instance, step.reason);
        case 'beat':
          return store.beat(step.instance, 15_000);
        case 'drain':
          return store.setDraining(step.agent, step.on);
        case 'health':
          return store.setHealth(step.agent, step.health);
        case 'pass':
          return clock.advance(step.ms);
        case 'silent':
          return [...(await store.silent())].sort((a, b) => (a.instance < b.instance ? -1 : 1));
        case 'forget':
          return store.forget(step.instance);
        case 'reserve': {
          // Which of equals is taken is chance: only ask when there is no choice.
          const may = (await store.all()).filter(({ status, draining }) => status !== 'offline' && !draining);
          return may.length === 1 ? store.reserve('code-review', step.task) : 'several';
        }
      }
    };
    let turn = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (steps) => {
        const keys = keysFor(`${world.keys.prefix}-twin-${turn++}`);
        const clocks = [new ManualClock(), new ManualClock()] as const;
        const live = new RedisAgentStore(world.redis, world.redis, keys, {
          clock: clocks[0],
          now: () => clocks[0].now(),
        });
        const memory = new MemoryAgentStore(new MemoryRegistryWorld(clocks[1]), Math.random);
        for (const instance of ['ann-aaaaaa', 'ann-bbbbbb', 'bob-aaaaaa', 'bob-bbbbbb', 'manager-m1', 'client-c1']) {
          await world.channels.subscribe(keys.instanceChannel(instance));
        }
        for (const step of steps) {
          expect([step, await obey(live, clocks[0], step)]).toEqual([step, await obey(memory, clocks[1], step)]);
          expect(byId(await live.all())).toEqual(byId(await memory.all()));
          expect(await live.managers()).toEqual(await memory.managers());
        }
      }),
      { numRuns: 60 },
    );
  });

  it('goes on after Redis forgot its scripts, and hears changes after its subscription was cut', async () => {
    const subscriber = await world.open();
    const store = new RedisAgentStore(world.redis, subscriber, world.keys);
    const seen: string[] = [];
    await store.onChange((change) => seen.push(change.kind));
    await world.redis.script('FLUSH');
    await store.join(aCard('ann'), 'ann-aaaaaa', 'full', 15_000);
    await eventually(
      () => seen,
      () => seen.length === 1,
    );
    subscriber.disconnect(true);
    await eventually(
      async () => {
        await store.setPaused('deploy', true);
        return seen;
      },
      () => seen.includes('paused'),
    );
  });

  it('rejects with STORE_UNAVAILABLE when Redis cannot be reached', async () => {
    const [redis, subscriber] = [await world.open(), await world.open()];
    const store = new RedisAgentStore(redis, subscriber, world.keys);
    redis.disconnect();
    subscriber.disconnect();
    const unavailable = { code: 'STORE_UNAVAILABLE', retryable: true };
    await expect(store.join(aCard('ann'), 'ann-aaaaaa', 'full', 15_000)).rejects.toMatchObject(unavailable);
    await expect(store.all()).rejects.toMatchObject(unavailable);
    await expect(store.silent()).rejects.toMatchObject(unavailable);
    await expect(store.reserve('code-review', 't1')).rejects.toMatchObject(unavailable);
    await expect(store.setPaused('deploy', true)).rejects.toMatchObject(unavailable);
    await expect(store.onChange(() => undefined)).rejects.toMatchObject(unavailable);
  });
});

const byId = (records: readonly AgentRecord[]) =>
  Object.fromEntries(records.map((record) => [record.agent_id, record]));
