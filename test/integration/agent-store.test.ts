// The AgentStore on a real Redis keeps the promises of the port, and those only a real one can break.
import fc from 'fast-check';
import { RedisAgentStore } from '../../src/registry/store.js';
import { RedisTaskStore } from '../../src/tasks/store.js';
import { testAgentStore } from '../conformance/agent-store.suite.js';
import { testReserving } from '../conformance/agent-store-reserving.suite.js';
import { aCard } from '../conformance/agent-store-world.js';
import { eventually } from '../support/eventually.js';
import { liveWorld } from './agent-store-world.js';

testAgentStore(liveWorld);
testReserving(liveWorld);

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
