// The reaper: silent agents lose their tasks first and their place second, once, whoever of the managers finds them.

import type { EventName, MusterEvents } from '../../src/contracts/events.js';
import { Reaper } from '../../src/registry/reaper.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { MemoryAgentStore, MemoryRegistryWorld } from '../../src/testing/memory-agent-store.js';
import { aCard } from '../conformance/agent-store-world.js';
import { eventually } from '../support/eventually.js';
import { faulty, settled } from './faulty-store.js';

const LEASE = 15_000;

function aManagerRoom() {
  const clock = new ManualClock();
  const world = new MemoryRegistryWorld(clock);
  const agents = new MemoryAgentStore(world, Math.random);
  const story: unknown[] = [];
  const manager = (rescue: (instance: string, cause: string) => Promise<void> = async () => undefined) => {
    const faults = faulty(new MemoryAgentStore(world, Math.random));
    const emit = <N extends EventName>(event: N, data: MusterEvents[N]) => void story.push([event, data]);
    const known = (agent: string) => {
      const entry = world.entries.get(agent);
      return entry === undefined ? undefined : world.record(agent, entry);
    };
    const reaper = new Reaper({
      store: faults.store,
      clock,
      emit,
      known,
      rescue: async (instance, cause) => {
        story.push(['rescue', instance, cause]);
        await rescue(instance, cause);
      },
    });
    return { reaper, faults };
  };
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 1000) {
      clock.advance(Math.min(1000, left));
      await settled();
    }
  };
  const join = (agent: string) => agents.join(aCard(agent), `${agent}-aaaaaa`, 'full', LEASE);
  return { clock, world, agents, story, manager, pass, join };
}

describe('the reaper', () => {
  it('has the tasks of a hung agent rescued before it is taken off the registry', async () => {
    const { agents, story, manager, pass, join } = aManagerRoom();
    const { reaper } = manager();
    reaper.start();
    await join('ann');
    await pass(14_000);
    expect(story).toEqual([]);
    await pass(2000);
    expect(story).toEqual([
      ['rescue', 'ann-aaaaaa', 'lease_expired'],
      ['agent.stale', { agent: 'ann', instance: 'ann-aaaaaa', silent_ms: LEASE }],
      ['agent.left', { agent: 'ann', instance: 'ann-aaaaaa', reason: 'lease_expired' }],
    ]);
    expect(await agents.all()).toMatchObject([{ agent_id: 'ann', status: 'offline' }]);
    expect(await agents.silent()).toEqual([]);
    await reaper.stop();
  });

  it('finds a killed process within two looks, long before its lease ends', async () => {
    const { world, story, manager, pass, join } = aManagerRoom();
    const { reaper } = manager();
    reaper.start();
    await join('ann');
    await pass(1000);
    world.cut('ann-aaaaaa');
    await pass(2000);
    expect(story).toContainEqual(['rescue', 'ann-aaaaaa', 'agent_gone']);
    await reaper.stop();
  });

  it('treats bus-only agents, managers and clients alike, and calls only agents agents', async () => {
    const { agents, story, manager, pass } = aManagerRoom();
    const { reaper } = manager();
    reaper.start();
    await agents.join(aCard('bot'), 'bus:bot', 'bus', 90_000);
    await agents.beat('client-x1y2z3', LEASE);
    await pass(LEASE);
    expect(story).toEqual([['rescue', 'client-x1y2z3', 'lease_expired']]);
    await pass(75_000);
    expect(story.slice(1).map((entry) => (entry as string[])[0])).toEqual(['rescue', 'agent.stale', 'agent.left']);
    await reaper.stop();
  });

  it('tells once who left when several managers find it', async () => {
    const { story, manager, pass, join } = aManagerRoom();
    const reapers = [manager().reaper, manager().reaper, manager().reaper];
    for (const reaper of reapers) reaper.start();
    for (const agent of ['ann', 'bob', 'cy']) await join(agent);
    await pass(LEASE + 5000);
    const told = story.filter((entry) => (entry as string[])[0] === 'agent.left');
    expect(told.map((entry) => (entry as [string, { agent: string }])[1].agent).sort()).toEqual(['ann', 'bob', 'cy']);
    await Promise.all(reapers.map((reaper) => reaper.stop()));
  });

  it('tries again, and does the others meanwhile, when a rescue fails', async () => {
    const { story, manager, pass, join, agents } = aManagerRoom();
    let failures = 2;
    const { reaper } = manager(async (instance) => {
      if (instance === 'ann-aaaaaa' && failures-- > 0) throw new Error('broker away');
    });
    reaper.start();
    await join('ann');
    await join('bob');
    await pass(LEASE + 1000);
    expect(story).toContainEqual(['loop.failed', { loop: 'reaper', error: 'broker away' }]);
    expect(story).toContainEqual(['agent.left', { agent: 'bob', instance: 'bob-aaaaaa', reason: 'lease_expired' }]);
    expect(await agents.beat('ann-aaaaaa', LEASE)).toBe('lost');
    await pass(3000);
    expect(story).toContainEqual(['agent.left', { agent: 'ann', instance: 'ann-aaaaaa', reason: 'lease_expired' }]);
    await reaper.stop();
  });

  it('gives everyone time to beat after the store was away', async () => {
    const { agents, story, manager, pass, join } = aManagerRoom();
    const { reaper, faults } = manager();
    reaper.start();
    await join('ann');
    await join('bob');
    faults.away = true;
    await pass(60_000);
    faults.away = false;
    await pass(5000);
    expect(await agents.beat('ann-aaaaaa', LEASE)).toBe('renewed');
    await pass(3000);
    const left = story.filter((entry) => (entry as string[])[0] === 'agent.left');
    expect(left).toEqual([['agent.left', { agent: 'bob', instance: 'bob-aaaaaa', reason: 'lease_expired' }]]);
    expect(story.filter((entry) => (entry as string[])[0] === 'loop.failed')).toHaveLength(1);
    await reaper.stop();
  });

  it('clears the records of agents that have been gone for an hour', async () => {
    const { clock, agents, manager, pass, join } = aManagerRoom();
    const { reaper } = manager();
    reaper.start();
    await join('ann');
    await pass(LEASE + 1000);
    clock.advance(3_500_000);
    await pass(1000);
    expect(await agents.all()).toHaveLength(1);
    clock.advance(100_000);
    await pass(61_000);
    expect(await agents.all()).toEqual([]);
    await reaper.stop();
  });

  it('may be stopped twice or before it starts, and leaves no timer', async () => {
    const { clock, manager } = aManagerRoom();
    const { reaper } = manager();
    await reaper.stop();
    reaper.start();
    reaper.start();
    // Its first turn begins at once; the timer is for the next.
    await eventually(
      () => clock.waiting,
      (timers) => timers === 1,
    );
    await reaper.stop();
    await reaper.stop();
    expect(clock.waiting).toBe(0);
    reaper.start();
    await reaper.stop();
    expect(clock.waiting).toBe(0);
  });
});
