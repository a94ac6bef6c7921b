// What every AgentStore promises about who is there, in the same sentences for memory and Redis.
import type { AgentCard } from '../../src/contracts/agent.js';
import { agentRecord } from '../../src/contracts/agent.js';
import type { AgentStore } from '../../src/ports.js';
import { type AgentStoreWorld, aCapability, aCard, eachWorld, LEASE } from './agent-store-world.js';

export function testAgentStore(make: () => Promise<AgentStoreWorld>): void {
  const { world: current, join, recordOf } = eachWorld(make);
  let world: AgentStoreWorld;
  let store: AgentStore;
  beforeEach(() => {
    world = current();
    store = world.store;
  });

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
}
