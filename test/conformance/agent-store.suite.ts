// What every AgentStore promises, in the same sentences for memory and Redis. A world is one registry with its own manual clock.
import type { AgentCard } from '../../src/contracts/agent.js';
import { agentRecord } from '../../src/contracts/agent.js';
import type { AgentStore, RegistryChange } from '../../src/ports.js';
import { eventually } from '../support/eventually.js';

export interface AgentStoreWorld {
  readonly store: AgentStore;
  /** Another process over the same registry. */
  another(): Promise<AgentStore>;
  /** Moves the store's time and every process's clock. */
  pass(ms: number): void;
  /** The instance runs these tasks now. */
  hold(instance: string, tasks: readonly string[]): Promise<void>;
  /** The process of an instance is on its channel. */
  connect(instance: string): Promise<void>;
  cut(instance: string): Promise<void>;
  close(): Promise<void>;
}

const LEASE = 15_000;

export function aCard(agent: string, over: Partial<AgentCard> = {}): AgentCard {
  return {
    agent_id: agent,
    agent_name: `Agent ${agent}`,
    capabilities: [aCapability('code-review')],
    capacity: 2,
    tags: [],
    metadata: {},
    ...over,
  };
}

export function aCapability(name: string): AgentCard['capabilities'][number] {
  return { name, description: '', parameters: {}, tags: [] };
}

export function testAgentStore(make: () => Promise<AgentStoreWorld>): void {
  let world: AgentStoreWorld;
  let store: AgentStore;
  beforeEach(async () => {
    world = await make();
    store = world.store;
  });
  afterEach(() => world.close());

  const join = (agent: string, over: Partial<AgentCard> = {}, instance = `${agent}-aaaaaa`) =>
    store.join(aCard(agent, over), instance, 'full', LEASE);
  const recordOf = async (agent: string) => (await store.all()).find((record) => record.agent_id === agent);

  describe('joining and leaving', () => {
    it('answers the whole record, and all() shows the same', async () => {
      const record = await join('ann', {
        tags: ['fast'],
        metadata: { team: 'core', numbers: [], nothing: {} },
        base_url: 'http://ann.local:1',
      });
      expect(agentRecord.parse(record)).toEqual(record);
      expect(record).toMatchObject({
        agent_id: 'ann',
        agent_name: 'Agent ann',
        instance: 'ann-aaaaaa',
        kind: 'full',
        status: 'active',
        health_status: 'unknown',
        draining: false,
        in_flight: 0,
        tags: ['fast'],
        metadata: { team: 'core', numbers: [], nothing: {} },
      });
      expect(record.created_at).toBe(record.last_heartbeat);
      expect(await store.all()).toEqual([record]);
    });

    it('turns the short form of parameters into a JSON Schema', async () => {
      const capability = { ...aCapability('deploy'), parameters: { repo_url: 'str', pr_number: 'int?' } };
      const record = await join('ann', { capabilities: [capability] });
      expect(record.capabilities[0]!.parameters).toEqual({
        type: 'object',
        properties: { repo_url: { type: 'string' }, pr_number: { type: 'integer' } },
        required: ['repo_url'],
      });
    });

    it('refuses a card whose parameters are wrong, naming the field', async () => {
      const capability = { ...aCapability('deploy'), parameters: { repo_url: 'strr', dry_run: 'bool' } };
      await expect(join('ann', { capabilities: [capability] })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        message: expect.stringContaining('capabilities[0].parameters.repo_url'),
      });
      expect(await store.all()).toEqual([]);
    });

    it.each(['manager', 'client'])(
      'refuses the agent id %s, whose instances would look like something else',
      async (id) => {
        await expect(join(id)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
      },
    );

    it('lets a card decide nothing that only the registry may say', async () => {
      await join('ann', {
        status: 'busy',
        in_flight: 7,
        instance: 'eve-000000',
        created_at: 'never',
      } as Partial<AgentCard>);
      expect(await recordOf('ann')).toMatchObject({ status: 'active', in_flight: 0, instance: 'ann-aaaaaa' });
    });

    it('updates the record of the same instance and keeps when it was created', async () => {
      const first = await join('ann');
      world.pass(1000);
      const second = await join('ann', { capacity: 5, capabilities: [aCapability('deploy')] });
      expect(second).toMatchObject({ capacity: 5, created_at: first.created_at });
      expect(Date.parse(second.updated_at)).toBe(Date.parse(first.updated_at) + 1000);
      expect(await store.reserve('code-review', 't1')).toEqual({ none: 'no_agent' });
      expect(await store.reserve('deploy', 't1')).toEqual({ agent: 'ann' });
    });

    it('deletes the record of an agent that stopped', async () => {
      await join('ann');
      expect(await store.leave('ann', 'ann-aaaaaa', 'stopped')).toBe(true);
      expect(await store.all()).toEqual([]);
      expect(await store.leave('ann', 'ann-aaaaaa', 'stopped')).toBe(false);
      expect(await store.beat('ann-aaaaaa', LEASE)).toBe('lost');
      expect(await store.silent()).toEqual([]);
    });

    it('keeps the record of an agent that died, as offline, once', async () => {
      await join('ann');
      world.pass(LEASE);
      await store.silent();
      expect(await store.leave('ann', 'ann-aaaaaa', 'lease_expired')).toBe(true);
      expect(await store.leave('ann', 'ann-aaaaaa', 'lease_expired')).toBe(false);
      await store.forget('ann-aaaaaa');
      expect(await recordOf('ann')).toMatchObject({ status: 'offline' });
      expect(await store.reserve('code-review', 't1')).toEqual({ none: 'no_agent' });
      expect(await store.leave('ann', 'ann-aaaaaa', 'stopped')).toBe(true);
      expect(await store.all()).toEqual([]);
    });

    it('condemns an instance that stopped while it held tasks, so that they are rescued', async () => {
      await join('ann');
      await world.hold('ann-aaaaaa', ['t1']);
      await store.leave('ann', 'ann-aaaaaa', 'stopped');
      expect(await store.silent()).toEqual([{ instance: 'ann-aaaaaa', cause: 'lease_expired' }]);
    });

    it('ignores the goodbye of an older process', async () => {
      await join('ann');
      await join('ann', {}, 'ann-bbbbbb');
      expect(await store.leave('ann', 'ann-aaaaaa', 'stopped')).toBe(false);
      expect(await recordOf('ann')).toMatchObject({ instance: 'ann-bbbbbb', status: 'active' });
    });
  });

  describe('leases', () => {
    it('renews a living instance and notes its heartbeat', async () => {
      const { last_heartbeat } = await join('ann');
      for (let i = 0; i < 4; i++) {
        world.pass(5000);
        expect(await store.beat('ann-aaaaaa', LEASE)).toBe('renewed');
      }
      const record = await recordOf('ann');
      expect(record).toMatchObject({ status: 'active' });
      expect(Date.parse(record!.last_heartbeat)).toBe(Date.parse(last_heartbeat) + 20_000);
    });

    it('shows an agent as offline the moment its lease runs out, and gives it no work', async () => {
      await join('ann');
      world.pass(LEASE - 1);
      expect(await recordOf('ann')).toMatchObject({ status: 'active' });
      world.pass(1);
      expect(await recordOf('ann')).toMatchObject({ status: 'offline' });
      expect(await store.reserve('code-review', 't1')).toEqual({ none: 'no_agent' });
    });

    it('renews a lease that ran out while nobody looked: nothing was given away', async () => {
      await join('ann');
      world.pass(LEASE + 60_000);
      expect(await store.beat('ann-aaaaaa', LEASE)).toBe('renewed');
      expect(await store.silent()).toEqual([]);
    });

    it('loses the lease for good once somebody was told that it ran out', async () => {
      await join('ann');
      world.pass(LEASE);
      const silent = [{ instance: 'ann-aaaaaa', agent: 'ann', cause: 'lease_expired' }];
      expect(await store.silent()).toEqual(silent);
      expect(await store.beat('ann-aaaaaa', LEASE)).toBe('lost');
      // Whoever was told first may die: everyone is told until it is forgotten.
      expect(await (await world.another()).silent()).toEqual(silent);
      await store.forget('ann-aaaaaa');
      expect(await store.silent()).toEqual([]);
      expect(await store.beat('ann-aaaaaa', LEASE)).toBe('lost');
    });

    it('does not forget an instance that joined again while it was rescued', async () => {
      await store.join(aCard('bot'), 'bus:bot', 'bus', 90_000);
      world.pass(90_000);
      expect(await store.silent()).toHaveLength(1);
      await store.join(aCard('bot'), 'bus:bot', 'bus', 90_000);
      await store.forget('bus:bot');
      expect(await store.beat('bus:bot', 90_000)).toBe('renewed');
      expect(await recordOf('bot')).toMatchObject({ status: 'active', kind: 'bus' });
    });

    it('lets a newer instance replace the older, whose tasks are rescued', async () => {
      const first = await join('ann');
      world.pass(10);
      const second = await join('ann', {}, 'ann-bbbbbb');
      expect(second.created_at).toBe(first.created_at);
      expect(await store.all()).toEqual([second]);
      expect(await store.beat('ann-aaaaaa', LEASE)).toBe('lost');
      expect(await store.beat('ann-bbbbbb', LEASE)).toBe('renewed');
      expect(await store.silent()).toEqual([{ instance: 'ann-aaaaaa', agent: 'ann', cause: 'agent_gone' }]);
      expect(await store.leave('ann', 'ann-aaaaaa', 'lease_expired')).toBe(false);
      await store.forget('ann-aaaaaa');
      expect(await store.silent()).toEqual([]);
      expect(await recordOf('ann')).toMatchObject({ instance: 'ann-bbbbbb', status: 'active' });
    });

    it('gives managers and clients a lease from their first beat, and tells managers apart', async () => {
      expect(await store.beat('manager-x1y2z3', LEASE)).toBe('renewed');
      expect(await store.beat('client-a1b2c3', LEASE)).toBe('renewed');
      await join('manager-of-agents');
      expect(await store.beat('nobody-123456', LEASE)).toBe('lost');
      expect(await store.managers()).toEqual(['manager-x1y2z3']);
      world.pass(LEASE);
      expect(await store.managers()).toEqual([]);
      expect((await store.silent()).map(({ instance }) => instance).sort()).toEqual([
        'client-a1b2c3',
        'manager-of-agents-aaaaaa',
        'manager-x1y2z3',
      ]);
      expect(await store.beat('manager-x1y2z3', LEASE)).toBe('renewed');
      expect(await store.managers()).toEqual(['manager-x1y2z3']);
    });
  });

  describe('processes that are gone', () => {
    it('reports a process that closed its connections, when two looks 700 ms apart find nobody', async () => {
      await join('ann');
      await world.connect('ann-aaaaaa');
      expect(await store.silent()).toEqual([]);
      await world.cut('ann-aaaaaa');
      expect(await store.silent()).toEqual([]);
      world.pass(699);
      expect(await store.silent()).toEqual([]);
      world.pass(1);
      expect(await store.silent()).toEqual([{ instance: 'ann-aaaaaa', agent: 'ann', cause: 'agent_gone' }]);
      expect(await store.beat('ann-aaaaaa', LEASE)).toBe('lost');
    });

    it('spares a process whose link came back', async () => {
      await join('ann');
      await world.connect('ann-aaaaaa');
      await store.silent();
      await world.cut('ann-aaaaaa');
      await store.silent();
      world.pass(400);
      await world.connect('ann-aaaaaa');
      await store.silent();
      await world.cut('ann-aaaaaa');
      world.pass(400);
      expect(await store.silent()).toEqual([]);
    });

    it('spares a process that still renews its lease', async () => {
      await join('ann');
      await world.connect('ann-aaaaaa');
      await store.silent();
      await world.cut('ann-aaaaaa');
      await store.silent();
      world.pass(1000);
      await store.beat('ann-aaaaaa', LEASE);
      expect(await store.silent()).toEqual([]);
    });

    it('counts only the lease of a bus-only agent', async () => {
      await store.join(aCard('bot'), 'bus:bot', 'bus', 90_000);
      await world.cut('bus:bot');
      await store.silent();
      world.pass(89_999);
      expect(await store.silent()).toEqual([]);
      world.pass(1);
      expect(await store.silent()).toEqual([{ instance: 'bus:bot', agent: 'bot', cause: 'lease_expired' }]);
    });
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
