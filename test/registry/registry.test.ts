// The registry's live view: current by changes, corrected by refreshes, and still answering when the store is away.
import type { EventName, MusterEvents } from '../../src/contracts/events.js';
import { Registry } from '../../src/registry/registry.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { MemoryAgentStore, MemoryRegistryWorld } from '../../src/testing/memory-agent-store.js';
import { aCapability, aCard } from '../conformance/agent-store-world.js';
import { faulty, settled } from './faulty-store.js';

const LEASE = 15_000;

async function aRegistry({ announces = true } = {}) {
  const clock = new ManualClock();
  const held = new Map<string, number>();
  const world = new MemoryRegistryWorld(clock, (instance) => held.get(instance) ?? 0);
  const other = new MemoryAgentStore(world, Math.random);
  const faults = faulty(new MemoryAgentStore(world, Math.random));
  const events: { event: EventName; data: unknown }[] = [];
  const emit = <N extends EventName>(event: N, data: MusterEvents[N]) => void events.push({ event, data });
  const registry = new Registry({ store: faults.store, clock, emit, announces: () => announces });
  const join = (agent: string, over = {}, instance = `${agent}-aaaaaa`) =>
    other.join(aCard(agent, over), instance, 'full', LEASE);
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 1000) {
      clock.advance(Math.min(1000, left));
      await settled();
    }
  };
  const told = (...names: EventName[]) => events.filter(({ event }) => names.includes(event));
  return { clock, held, world, other, faults, events, registry, join, pass, told };
}

const AGENT_EVENTS: EventName[] = ['agent.joined', 'agent.left', 'agent.changed', 'agent.draining'];

describe('the live view', () => {
  it('knows who was there at the start, and announces none of them', async () => {
    const { registry, join, told } = await aRegistry();
    await join('ann');
    await registry.start();
    expect(registry.get('ann')).toMatchObject({ agent_id: 'ann', status: 'active' });
    expect(registry.freshness).toEqual({ stale: false });
    expect(told(...AGENT_EVENTS)).toEqual([]);
    await registry.stop();
  });

  it('follows changes at once, and announces each once, also when a refresh saw it first', async () => {
    const { registry, join, other, told, pass } = await aRegistry();
    await registry.start();
    await join('ann');
    await settled();
    expect(registry.byCapability('code-review').map(({ agent_id }) => agent_id)).toEqual(['ann']);
    await join('ann', { capabilities: [aCapability('deploy')] });
    await registry.refresh();
    await settled();
    expect(registry.byCapability('code-review')).toEqual([]);
    expect(registry.byCapability('deploy')).toHaveLength(1);
    await other.setDraining('ann', true);
    await join('ann', {}, 'ann-bbbbbb');
    await other.leave('ann', 'ann-bbbbbb', 'stopped');
    await pass(10_000);
    expect(registry.get('ann')).toBeUndefined();
    expect(registry.byCapability('deploy')).toEqual([]);
    expect(told(...AGENT_EVENTS)).toEqual([
      { event: 'agent.joined', data: { agent: 'ann', instance: 'ann-aaaaaa', capabilities: ['code-review'] } },
      { event: 'agent.changed', data: { agent: 'ann', capabilities: ['deploy'] } },
      { event: 'agent.draining', data: { agent: 'ann' } },
      { event: 'agent.left', data: { agent: 'ann', instance: 'ann-aaaaaa', reason: 'replaced' } },
      { event: 'agent.joined', data: { agent: 'ann', instance: 'ann-bbbbbb', capabilities: ['code-review'] } },
      { event: 'agent.left', data: { agent: 'ann', instance: 'ann-bbbbbb', reason: 'stopped' } },
    ]);
    await registry.stop();
  });

  it('announces nothing unless it is the one that should', async () => {
    const { registry, join, told } = await aRegistry({ announces: false });
    await registry.start();
    await join('ann');
    await settled();
    expect(registry.get('ann')).toBeDefined();
    expect(told(...AGENT_EVENTS)).toEqual([]);
    await registry.stop();
  });

  it('makes up for lost notifications within 5 s', async () => {
    const { registry, world, join, pass } = await aRegistry();
    await registry.start();
    world.listeners.clear();
    await join('ann');
    await settled();
    expect(registry.size).toBe(0);
    await pass(5000);
    expect(registry.size).toBe(1);
    await registry.stop();
  });

  it('keeps the load at most 1 s old while somebody asks, and saves the effort otherwise', async () => {
    const { registry, held, join, pass, faults } = await aRegistry();
    await join('ann');
    await registry.start();
    await pass(5000);
    const reads = () => faults.calls.filter((name) => name === 'all').length;
    const before = reads();
    await pass(20_000);
    expect(reads() - before).toBe(4);
    registry.get('ann');
    await settled();
    for (let i = 1; i <= 4; i++) {
      held.set('ann-aaaaaa', i);
      await pass(1000);
      expect(registry.get('ann')).toMatchObject({ in_flight: i });
    }
    await registry.stop();
  });

  it('shows an agent as offline once its lease ran out, and finds it only when asked for', async () => {
    const { registry, join, pass, told } = await aRegistry();
    await join('ann');
    await registry.start();
    await pass(LEASE + 5000);
    expect(registry.get('ann')).toMatchObject({ status: 'offline' });
    expect(registry.find({ capabilities: ['code-review'] })).toEqual([]);
    expect(registry.find({ include_offline: true })).toHaveLength(1);
    // That it left is for the reaper to say.
    expect(told('agent.left')).toEqual([]);
    await registry.stop();
  });

  it('knows which queues are paused', async () => {
    const { registry, other, told } = await aRegistry();
    await other.setPaused('deploy', true);
    await registry.start();
    expect(registry.isPaused('deploy')).toBe(true);
    await other.setPaused('deploy', false);
    await other.setPaused('code-review', true);
    await settled();
    expect([registry.isPaused('deploy'), registry.isPaused('code-review')]).toEqual([false, true]);
    expect(told('queue.paused', 'queue.resumed').map(({ event }) => event)).toEqual(['queue.resumed', 'queue.paused']);
    await registry.stop();
  });
});

describe('search', () => {
  it('ranks and explains, and announces each lookup', async () => {
    const { registry, join, told } = await aRegistry();
    await join('ann', { capabilities: [aCapability('code-review'), aCapability('deploy')] });
    await join('bob');
    await registry.start();
    const found = registry.find({ capabilities: ['code-review'] });
    expect(found.map(({ agent, parts }) => [agent.agent_id, parts])).toEqual([
      ['bob', { overlap: 1, availability: 1, health: 0.75, free_capacity: 1 }],
      ['ann', { overlap: 0.5, availability: 1, health: 0.75, free_capacity: 1 }],
    ]);
    expect(registry.find({ capabilities: ['code-review', 'deploy'] }).map(({ agent }) => agent.agent_id)).toEqual([
      'ann',
    ]);
    expect(registry.find({ capabilities: ['code-review', 'unheard-of'] })).toEqual([]);
    expect(told('registry.lookup').map(({ data }) => (data as { found: number }).found)).toEqual([2, 1, 0]);
    await registry.stop();
  });
});

describe('when the store is away', () => {
  it('goes on answering from the last known view, says since when, and recovers by itself', async () => {
    const { registry, join, faults, clock, pass, told } = await aRegistry();
    await join('ann');
    await registry.start();
    const since = clock.now();
    faults.away = true;
    await pass(5000);
    await pass(3000);
    expect(registry.freshness).toEqual({ stale: true, since });
    expect(registry.find({ capabilities: ['code-review'] })).toHaveLength(1);
    await expect(registry.refresh()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(told('loop.failed')).toHaveLength(1);
    faults.away = false;
    await join('bob');
    await pass(1000);
    expect(registry.freshness).toEqual({ stale: false });
    expect(registry.size).toBe(2);
    await registry.stop();
  });

  it('starts without it, empty and stale, and fills up when it is back', async () => {
    const { registry, join, faults, pass, told } = await aRegistry();
    await join('ann');
    faults.away = true;
    await registry.start();
    expect(registry.freshness).toEqual({ stale: true, since: undefined });
    expect(registry.size).toBe(0);
    faults.away = false;
    await pass(1000);
    expect(registry.size).toBe(1);
    await join('bob');
    await settled();
    expect(told('agent.joined')).toHaveLength(1);
    await registry.stop();
  });

  it('does nothing more once stopped, and may be stopped twice or before it starts', async () => {
    const { registry, join, clock, pass, faults } = await aRegistry();
    await registry.stop();
    await registry.start();
    await registry.start();
    await registry.stop();
    await registry.stop();
    const calls = faults.calls.length;
    await join('ann');
    await pass(60_000);
    expect(registry.size).toBe(0);
    expect(faults.calls).toHaveLength(calls);
    expect(clock.waiting).toBe(0);
  });
});
