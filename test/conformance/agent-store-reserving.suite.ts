// What every AgentStore promises about who gets the work, and about telling others what changed.
import type { AgentStore, RegistryChange } from '../../src/ports.js';
import { eventually } from '../support/eventually.js';
import { type AgentStoreWorld, eachWorld } from './agent-store-world.js';

export function testReserving(make: () => Promise<AgentStoreWorld>): void {
  const { world: current, join, recordOf } = eachWorld(make);
  let world: AgentStoreWorld;
  let store: AgentStore;
  beforeEach(() => {
    world = current();
    store = world.store;
  });

  describe('reserving', () => {
    it('takes the agent with the smallest load relative to its capacity', async () => {
      await join('small', { capacity: 2 });
      await join('large', { capacity: 10 });
      await world.hold('small-aaaaaa', ['a']);
      await world.hold('large-aaaaaa', ['b', 'c', 'd', 'e']);
      expect(await store.reserve('code-review', 't1')).toEqual({ agent: 'large' });
      expect(await recordOf('large')).toMatchObject({ in_flight: 5, status: 'active' });
      expect(await store.reserve('code-review', 't2')).toMatchObject({ agent: expect.any(String) });
    });

    it('counts held and reserved tasks, and never takes a full agent', async () => {
      await join('ann', { capacity: 2 });
      await world.hold('ann-aaaaaa', ['a']);
      expect(await store.reserve('code-review', 't1')).toEqual({ agent: 'ann' });
      expect(await store.reserve('code-review', 't2')).toEqual({ none: 'all_full' });
      expect(await recordOf('ann')).toMatchObject({ in_flight: 2, status: 'busy' });
      await world.hold('ann-aaaaaa', []);
      expect(await store.reserve('code-review', 't2')).toEqual({ agent: 'ann' });
    });

    it('breaks ties by chance', async () => {
      for (const agent of ['a', 'b', 'c', 'd']) await join(agent, { capacity: 100 });
      const taken = new Set<unknown>();
      for (let i = 0; i < 4; i++) taken.add(((await store.reserve('code-review', `t${i}`)) as { agent: string }).agent);
      expect([...taken].sort()).toEqual(['a', 'b', 'c', 'd']);
    });

    it('knows nobody for a capability that nobody offers', async () => {
      await join('ann');
      expect(await store.reserve('deploy', 't1')).toEqual({ none: 'no_agent' });
    });

    it('skips agents that drain or are unhealthy, and takes degraded ones', async () => {
      await join('ann');
      await join('bob');
      await store.setDraining('ann', true);
      await store.setHealth('bob', 'unhealthy');
      expect(await store.reserve('code-review', 't1')).toEqual({ none: 'no_agent' });
      await store.setHealth('bob', 'degraded');
      expect(await store.reserve('code-review', 't1')).toEqual({ agent: 'bob' });
      await store.setDraining('ann', false);
      expect(await store.reserve('code-review', 't2')).toEqual({ agent: 'ann' });
    });

    it('gives nothing while the capability is paused', async () => {
      await join('ann');
      await store.setPaused('code-review', true);
      expect(await store.paused()).toEqual(['code-review']);
      expect(await store.reserve('code-review', 't1')).toEqual({ none: 'all_full' });
      await store.setPaused('code-review', false);
      expect(await store.paused()).toEqual([]);
      expect(await store.reserve('code-review', 't1')).toEqual({ agent: 'ann' });
    });

    it('forgets what was reserved for an agent that left', async () => {
      await join('ann', { capacity: 1 });
      await store.reserve('code-review', 't1');
      await store.leave('ann', 'ann-aaaaaa', 'stopped');
      await join('ann', { capacity: 1 }, 'ann-bbbbbb');
      expect(await store.reserve('code-review', 't2')).toEqual({ agent: 'ann' });
    });

    it('finds the one free agent among many full ones', async () => {
      for (let i = 0; i < 60; i++) {
        await join(`n${i}`, { capacity: 1 });
        if (i !== 41) await world.hold(`n${i}-aaaaaa`, [`held-${i}`]);
      }
      expect(await store.reserve('code-review', 't1')).toEqual({ agent: 'n41' });
      expect(await store.reserve('code-review', 't2')).toEqual({ none: 'all_full' });
    });

    it('never takes the same slot twice, however many choose at once', async () => {
      const capacities = [1, 2, 3, 5, 8];
      for (const capacity of capacities) await join(`n${capacity}`, { capacity });
      const stores = await Promise.all(Array.from({ length: 4 }, () => world.another()));
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => stores[i % 4]!.reserve('code-review', `t${i}`)),
      );
      const taken = new Map<string, number>();
      for (const answer of answers) if ('agent' in answer) taken.set(answer.agent, (taken.get(answer.agent) ?? 0) + 1);
      expect(Object.fromEntries(taken)).toEqual({ n1: 1, n2: 2, n3: 3, n5: 5, n8: 8 });
      expect(answers.filter((answer) => 'none' in answer && answer.none === 'all_full')).toHaveLength(81);
    });
  });

  describe('changes', () => {
    it('tells every process what changed, in order', async () => {
      const seen: RegistryChange[] = [];
      const other = await world.another();
      const stop = await other.onChange((change) => seen.push(change));
      const first = await join('ann');
      const second = await join('ann', { capacity: 9 });
      // The same card again is no change.
      await join('ann', { capacity: 9 });
      await store.setDraining('ann', true);
      const third = await join('ann', {}, 'ann-bbbbbb');
      await store.setPaused('deploy', true);
      await store.setPaused('deploy', false);
      await store.setHealth('ann', 'healthy');
      await store.leave('ann', 'ann-bbbbbb', 'stopped');
      const wanted = [
        { kind: 'joined', agent: first },
        { kind: 'changed', agent: second },
        { kind: 'draining', agent_id: 'ann', draining: true },
        { kind: 'left', agent_id: 'ann', instance: 'ann-aaaaaa', reason: 'replaced' },
        { kind: 'joined', agent: third },
        { kind: 'paused', capability: 'deploy' },
        { kind: 'resumed', capability: 'deploy' },
        { kind: 'changed', agent: { ...third, health_status: 'healthy' } },
        { kind: 'left', agent_id: 'ann', instance: 'ann-bbbbbb', reason: 'stopped' },
      ];
      await eventually(
        () => seen,
        () => seen.length >= wanted.length,
      );
      expect(seen).toEqual(wanted);
      stop();
      await join('ann');
      await store.silent();
      expect(seen).toHaveLength(wanted.length);
    });

    it('starts a new process of an agent undrained and with unknown health', async () => {
      await join('ann');
      await store.setDraining('ann', true);
      await store.setHealth('ann', 'unhealthy');
      expect(await join('ann', { capacity: 3 })).toMatchObject({ draining: true, health_status: 'unhealthy' });
      expect(await join('ann', {}, 'ann-bbbbbb')).toMatchObject({ draining: false, health_status: 'unknown' });
    });

    it('says when there is no such agent', async () => {
      expect(await store.setDraining('nobody', true)).toBe(false);
      expect(await store.setHealth('nobody', 'healthy')).toBe(false);
      expect(await store.leave('nobody', 'nobody-aaaaaa', 'stopped')).toBe(false);
    });
  });
}
