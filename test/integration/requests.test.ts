// Asking agents now: by id, by capability or any; what a caller hears when one fails, is full, is slow or dies.
import { capability } from '../../src/agent/capability.js';
import { instanceQueue } from '../../src/bus/topology.js';
import type { AgentMatch } from '../../src/contracts/agent.js';
import { eventually } from '../support/eventually.js';
import { type World, world } from '../support/world.js';

let w: World;
beforeAll(async () => {
  w = await world();
});
afterAll(() => w.close());

/** The live view of a client follows the registry; a test waits until it knows what it is about to ask. */
const known = (ids: readonly string[]) =>
  eventually(
    async () => (await w.client.agents()).map((match) => match.agent.agent_id),
    (seen) => ids.every((id) => seen.includes(id)),
  );

const never = () => new Promise<never>(() => {});

describe('a request', () => {
  it('reaches an agent by its id, by a capability, or any that offers it', async () => {
    const greet = capability('greet').handle(
      (input, context) => `${(input as { word: string }).word} from ${context.agent}`,
    );
    await Promise.all([w.join('ann', greet), w.join('bob', greet)]);
    await known(['ann', 'bob']);
    expect(await w.client.request('bob', 'greet', { word: 'hi' })).toBe('hi from bob');
    expect(await w.client.request('greet', 'greet', { word: 'hi' })).toMatch(/^hi from (ann|bob)$/);
    expect(await w.client.request('any', 'greet', { word: 'hi' })).toMatch(/^hi from (ann|bob)$/);
    await expect(w.client.request('any', 'fly')).rejects.toMatchObject({ code: 'NO_AGENT_AVAILABLE' });
    await expect(w.client.request('nobody', 'greet')).rejects.toMatchObject({ code: 'NO_AGENT_AVAILABLE' });
    await expect(w.client.request('ann', 'fly')).rejects.toMatchObject({
      code: 'REQUEST_FAILED',
      details: { code: 'NOT_SUPPORTED', agent: 'ann' },
    });
  });

  it("rejects with the agent's own error, and with a timeout when nothing comes, whose late reply is dropped", async () => {
    let reason: unknown;
    await w.join('moody', [
      capability('fail').handle(() => {
        throw Object.assign(new Error('not today'), { code: 'MOOD' });
      }),
      capability('stall').handle(async (_, context) => {
        context.signal.addEventListener('abort', () => {
          reason = context.signal.reason;
        });
        return never();
      }),
    ]);
    await known(['moody']);
    await expect(w.client.request('moody', 'fail')).rejects.toMatchObject({
      code: 'REQUEST_FAILED',
      message: expect.stringContaining('not today'),
      details: { code: 'MOOD', agent: 'moody' },
    });
    await expect(w.client.request('moody', 'stall', {}, { timeoutMs: 150 })).rejects.toMatchObject({
      code: 'REQUEST_TIMEOUT',
    });
    await eventually(
      () => reason,
      (seen) => (seen as { code?: string })?.code === 'TIMED_OUT',
    );
  });

  it('passes over agents that are full, and says so when all are', async () => {
    const finishers: (() => void)[] = [];
    const hold = capability('hold').handle(
      (_, context) => new Promise<string>((resolve) => finishers.push(() => resolve(context.agent))),
    );
    await w.join('narrow', hold, { requests: 1, concurrency: 1 });
    await w.join('wide', hold, { requests: 2, concurrency: 2 });
    await known(['narrow', 'wide']);
    const asked = Promise.all(Array.from({ length: 3 }, () => w.client.request<string>('hold', 'hold')));
    await eventually(
      () => finishers.length,
      (seen) => seen === 3,
    );
    await expect(w.client.request('hold', 'hold')).rejects.toMatchObject({ code: 'NO_AGENT_AVAILABLE' });
    for (const finish of finishers) finish();
    expect((await asked).sort()).toEqual(['narrow', 'wide', 'wide']);
  });

  it('goes to the next best when an agent was killed before it knew of it', async () => {
    const doomed = await w.spawnAgent('doomed', { can: ['fetch'] });
    await w.join(
      'standby',
      capability('fetch').handle((_, context) => context.agent),
    );
    await known(['doomed', 'standby']);
    const [{ agent }] = (await w.client.agents()).filter((match) => match.agent.agent_id === 'doomed') as [AgentMatch];
    await doomed.kill();
    // No manager is here to take it off the list: the broker returns what is sent to it, once it knows that the connection is gone.
    await eventually(
      () => w.client.instance.ports.bus.inspect(instanceQueue(w.prefix, agent.instance)),
      (queue) => queue === undefined,
    );
    const replies = await Promise.all(
      Array.from({ length: 10 }, () => w.client.request('fetch', 'fetch', {}, { timeoutMs: 5000 })),
    );
    expect(new Set(replies)).toEqual(new Set(['standby']));
    await expect(w.client.request('doomed', 'fetch', {}, { timeoutMs: 5000 })).rejects.toMatchObject({
      code: 'NO_AGENT_AVAILABLE',
    });
  });

  it('that is with an agent when it dies ends as soon as the agent is given up, long before its timeout', async () => {
    const manager = await w.manager();
    const doomed = await w.spawnAgent('fragile', { can: ['ponder'] });
    await known(['fragile']);
    const asked = w.client.request('fragile', 'ponder', { ms: 60_000 }, { timeoutMs: 60_000 });
    const ended = expect(asked).rejects.toMatchObject({ code: 'REQUEST_FAILED', details: { code: 'AGENT_LOST' } });
    await doomed.kill();
    await ended;
    await manager.stop();
  });

  it('that is with an agent when it dies ends with the timeout the caller gave', async () => {
    const doomed = await w.spawnAgent('mortal', { can: ['ponder'] });
    await known(['mortal']);
    const asked = w.client.request('mortal', 'ponder', { ms: 60_000 }, { timeoutMs: 1000 });
    const ended = expect(asked).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await doomed.kill();
    await ended;
  });
});

describe('many at once', () => {
  it('gather says who answered what, who failed, and who did not answer', async () => {
    await w.join(
      'yes',
      capability('vote').handle(() => 'aye'),
    );
    await w.join(
      'no',
      capability('vote').handle(() => {
        throw new Error('abstains');
      }),
    );
    await w.join('mute', capability('vote').handle(never));
    await known(['yes', 'no', 'mute']);
    expect(await w.client.gather('all', 'vote', {}, { timeoutMs: 400 })).toEqual({
      replies: { yes: 'aye' },
      errors: { no: 'abstains' },
      silent: ['mute'],
    });
    expect(await w.client.gather(['yes', 'stranger'], 'vote', {}, { timeoutMs: 400 })).toEqual({
      replies: { yes: 'aye' },
      errors: {},
      silent: ['stranger'],
    });
  });

  it('broadcast reaches all that offer the action but the excluded', async () => {
    const heard: string[] = [];
    const note = capability('note').handle((_, context) => void heard.push(context.agent));
    await Promise.all(['n1', 'n2', 'n3'].map((id) => w.join(id, note)));
    await w.client.broadcast('note', { about: 'lunch' }, { exclude: ['n2'] });
    await w.until('request.served', { agent: 'n1', action: 'note' });
    await w.until('request.served', { agent: 'n3', action: 'note' });
    expect([...heard].sort()).toEqual(['n1', 'n3']);
  });
});
