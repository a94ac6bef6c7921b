// The agent store in memory is the twin of the one on Redis: whatever is done to both, both answer the same.
import fc from 'fast-check';
import type { AgentRecord } from '../../src/contracts/agent.js';
import type { AgentStore } from '../../src/ports.js';
import { keysFor } from '../../src/redis/keys.js';
import { RedisAgentStore } from '../../src/registry/store.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { MemoryAgentStore, MemoryRegistryWorld } from '../../src/testing/memory-agent-store.js';
import { aCard } from '../conformance/agent-store-world.js';
import { liveWorld } from './agent-store-world.js';

describe('the agent store on Redis', () => {
  let world: Awaited<ReturnType<typeof liveWorld>>;
  beforeEach(async () => {
    world = await liveWorld();
  });
  afterEach(() => world.close());

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
});

const byId = (records: readonly AgentRecord[]) =>
  Object.fromEntries(records.map((record) => [record.agent_id, record]));
