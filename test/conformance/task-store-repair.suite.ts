// What every TaskStore promises when things do not go their way: cancelling, the outbox, deadlines, rescue; and that nothing is
// left of a run when its time is over.
import {
  CANCEL,
  COMPLETE,
  DIE,
  RETENTION,
  ready,
  retry,
  type Stage,
  type TaskStoreWorld,
} from '../support/task-stage.js';

export function testTaskRepair(stage: () => Stage): void {
  testCancelling(stage);
  testOutbox(stage);
  testOverdue(stage);
  testRescue(stage);
  testExpiring(stage);
}

const RESERVED_MS = 2000;
const RECHECK_MS = 600_000;

function testOutbox(stage: () => Stage): void {
  describe('the outbox', () => {
    it('gives a task to a relay when whoever made it ready did not dispatch it, one relay at a time', async () => {
      const { store, world } = stage();
      await stage().submit('s');
      expect(await store.due(10)).toEqual([]);
      world.pass(RESERVED_MS);
      const due = await store.due(10);
      expect(due).toMatchObject([{ task: { id: 's', attempt: 1 }, confirmed: false }]);
      expect(await store.due(10)).toEqual([]);
      world.pass(RESERVED_MS);
      expect(await store.due(10)).toEqual(due);
    });

    it('gives the most urgent first', async () => {
      const { store, world } = stage();
      for (const priority of [3, 1, 0, 2, 0] as const) {
        await stage().submit(`p${priority}-${world.now()}`, { priority });
        world.pass(1);
      }
      world.pass(RESERVED_MS);
      expect((await store.due(3)).map(({ task }) => task.priority)).toEqual([0, 0, 1]);
      expect((await store.due(3)).map(({ task }) => task.priority)).toEqual([2, 3]);
    });

    it('leaves a dispatched task alone, until it was not claimed for long', async () => {
      const { store, world } = stage();
      await stage().submit('s');
      await store.dispatched([{ id: 's', priority: 2 }], RECHECK_MS);
      expect(await stage().status('s')).toBe('dispatched');
      world.pass(RECHECK_MS);
      expect(await store.due(10)).toEqual([]);
      world.pass(1);
      expect(await store.due(10)).toMatchObject([{ task: { id: 's' }, confirmed: true }]);
      expect(await stage().status('s')).toBe('dispatched');
    });

    it('forgets a task once it is claimed, also when the note of its dispatch comes late', async () => {
      const { store, world } = stage();
      await stage().submit('s');
      await stage().claim('s');
      await store.dispatched([{ id: 's', priority: 2 }], 0);
      world.pass(RECHECK_MS);
      expect(await store.due(10)).toEqual([]);
      expect(await stage().status('s')).toBe('running');
    });

    it('notes thousands at once', async () => {
      const { store } = stage();
      const ids = Array.from({ length: 5000 }, (_, i) => `t${i}`);
      await stage().submitRun(ids);
      await store.dispatched(
        ids.map((key) => ({ id: `r.${key}`, priority: 2 as const })),
        RECHECK_MS,
      );
      expect((await store.readyTasks(6000)).filter(({ dispatched }) => dispatched)).toHaveLength(5000);
    });
  });
}

function testOverdue(stage: () => Stage): void {
  describe('overdue', () => {
    it('finds attempts that outlived their timeout and the grace their agent has', async () => {
      const { store, world } = stage();
      await stage().submit('s', { timeoutMs: 1000 });
      const { token } = await stage().claim('s');
      world.pass(1499);
      expect(await store.overdue(500, 10)).toEqual([]);
      world.pass(1);
      expect(await store.overdue(500, 10)).toEqual([
        {
          ...{ id: 's', cause: 'timeout', capability: 'build', token, holder: 'ann-1', attempt: 1 },
          ...{ failedAttempts: 0, maxAttempts: 3, timeoutMs: 1000, body: await store.body('s') },
        },
      ]);
    });

    it.each([
      ['settled', COMPLETE],
      ['waiting for another attempt', retry(60_000)],
      ['given back', { do: 'hand_back' } as const],
    ])('knows no timeout of an attempt that is %s', async (_, verdict) => {
      await stage().submit('s', { timeoutMs: 1000 });
      await stage().run('s', verdict);
      stage().world.pass(5000);
      expect(await stage().store.overdue(0, 10)).toEqual([]);
    });

    it('finds whatever is past its deadline, running or not, at once', async () => {
      const { store, world } = stage();
      const deadlineAt = world.now() + 1000;
      await stage().submit('blocked', { deadlineAt, requiresApproval: true });
      await stage().submit('done', { deadlineAt });
      await stage().submit('given-back', { deadlineAt, timeoutMs: 60_000 });
      await stage().submit('running', { deadlineAt, timeoutMs: 60_000 });
      await stage().complete('done');
      await stage().run('given-back', { do: 'hand_back' });
      await stage().claim('running');
      world.pass(1000);
      const found = await store.overdue(60_000, 10);
      expect(found.map(({ id }) => id).sort()).toEqual(['blocked', 'given-back', 'running']);
      expect(new Set(found.map(({ cause }) => cause))).toEqual(new Set(['deadline']));
      for (const { id } of found) await store.cancel(id, { state: 'dead', reason: 'deadline' });
      expect(await store.overdue(60_000, 10)).toEqual([]);
    });
  });
}

function testRescue(stage: () => Stage): void {
  describe('rescue', () => {
    it('takes back all an instance holds and nothing else, burning no attempt', async () => {
      const { store } = stage();
      for (const id of ['s', 't', 'u']) await stage().submit(id, { timeoutMs: 1000 });
      await stage().claim('s', 'ann-1');
      await stage().claim('t', 'ann-1');
      await stage().claim('u', 'ben-1');
      const answer = await store.rescue('ann-1', 5, 10);
      expect(ready(answer.rescued).sort()).toEqual(['s', 't']);
      expect(answer).toMatchObject({ ended: [], more: false });
      expect(answer.rescued[0]).toMatchObject({ attempt: 2 });
      expect(await store.find('s')).toMatchObject({ status: 'ready', failed_attempts: 0, lost_attempts: 1 });
      expect(await stage().status('u')).toBe('running');
      stage().world.pass(60_000);
      expect((await store.overdue(0, 10)).map(({ id }) => id)).toEqual(['u']);
    });

    it('goes on in steps', async () => {
      const { store } = stage();
      for (const id of ['s', 't', 'u']) {
        await stage().submit(id);
        await stage().claim(id);
      }
      const first = await store.rescue('ann-1', 5, 2);
      expect(first).toMatchObject({ more: true });
      const second = await store.rescue('ann-1', 5, 2);
      expect(second).toMatchObject({ more: false });
      expect(ready([...first.rescued, ...second.rescued]).sort()).toEqual(['s', 't', 'u']);
      expect(await store.rescue('nobody', 5, 2)).toEqual({ rescued: [], ended: [], more: false });
    });

    it('gives up a task that outlived too many agents, and its dependents with it', async () => {
      const { store } = stage();
      await stage().submitRun(['a', 'b after a']);
      for (const holder of ['h-1', 'h-2']) {
        await stage().claim('r.a', holder);
        expect((await store.rescue(holder, 2, 10)).rescued).toHaveLength(1);
      }
      await stage().claim('r.a', 'h-3');
      expect(await store.rescue('h-3', 2, 10)).toEqual({
        rescued: [],
        ended: [
          { id: 'r.a', capability: 'build', state: 'dead', reason: 'agents_lost' },
          { id: 'r.b', capability: 'build', state: 'dead', reason: 'dependency_failed' },
        ],
        more: false,
      });
      expect(await store.find('r.a')).toMatchObject({
        lost_attempts: 3,
        error: { code: 'AGENTS_LOST', message: '3 agents vanished while running it, the last was h-3.' },
      });
    });
  });
}

function testExpiring(stage: () => Stage): void {
  describe('expiry', () => {
    it('forgets what is over when its retention is, and leaves nothing behind', async () => {
      const { store, world } = stage();
      await stage().submitRun(['a', 'b after a', 'c after b:continue', 'd']);
      await stage().submit('s', { timeoutMs: 10, deadlineAt: world.now() + 10_000_000 });
      await store.watch('r.b', 'client-2');
      await stage().run('r.a', DIE);
      await stage().complete('s', 'r.c', 'r.d');
      await stage().submit('t');
      await stage().append(['b'], 't');
      await stage().complete('t', 't.b');
      world.pass(RETENTION - 1);
      expect(await store.expire(100)).toBe(0);
      expect(await stage().status('r.a')).not.toBe('unknown');
      world.pass(1);
      expect(await store.expire(100)).toBe(7);
      expect(await stage().statuses('r.a', 'r.d', 's', 't.b')).toEqual(Array(4).fill('unknown'));
      expect(await store.findRun('r')).toBeUndefined();
      expect(await world.stored()).toEqual([]);
      expect(await stage().submit('s')).toMatchObject({ outcome: 'accepted' });
    });

    it('goes on in steps, and nothing is added to what is half gone', async () => {
      const { store, world } = stage();
      await stage().submitRun(['a', 'b', 'c']);
      await stage().complete('r.a', 'r.b', 'r.c');
      world.pass(RETENTION);
      expect(await store.expire(2)).toBe(2);
      expect(await stage().append(['d'])).toEqual({ outcome: 'no_run' });
      expect(await store.expire(2)).toBe(1);
      expect(await store.expire(2)).toBe(0);
      expect(await world.stored()).toEqual([]);
    });

    it('spares what is not over', async () => {
      const { store, world } = stage();
      await stage().submitRun(['a', 'b']);
      await stage().complete('r.a');
      await stage().submit('s');
      world.pass(RETENTION * 10);
      expect(await store.expire(100)).toBe(0);
      expect(await stage().statuses('r.a', 's')).toEqual(['completed', 'ready']);
    });
  });
}

function testCancelling(stage: () => Stage): void {
  describe('cancelling', () => {
    const states: Record<string, (world: TaskStoreWorld) => Promise<unknown>> = {
      blocked: () => stage().submit('s', { requiresApproval: true }),
      scheduled: (world) => stage().submit('s', { notBefore: world.now() + 1000 }),
      ready: () => stage().submit('s'),
      running: async () => {
        await stage().submit('s', { timeoutMs: 1000 });
        await stage().claim('s');
      },
      retrying: async () => {
        await stage().submit('s');
        await stage().run('s', retry(1000));
      },
    };

    it.each(Object.keys(states))('ends a task that is %s, and nothing brings it back', async (state) => {
      const { store, world } = stage();
      await states[state]!(world);
      const answer = await store.cancel('s', { ...CANCEL, note: 'no longer needed' });
      expect(answer).toMatchObject({ outcome: 'cancelled', state, capability: 'build' });
      expect(answer.holder).toBe(state === 'running' ? 'ann-1' : undefined);
      expect(await store.find('s')).toMatchObject({
        status: 'cancelled',
        reason: 'cancelled_by_request',
        error: { code: 'CANCELLED_BY_REQUEST', message: 'no longer needed' },
      });
      world.pass(10_000);
      expect(ready((await store.release(10)).ready)).toEqual([]);
      expect(await store.due(10)).toEqual([]);
      expect(await store.overdue(0, 10)).toEqual([]);
      expect(await store.approve('s')).toEqual({ outcome: 'not_waiting', ready: [] });
      expect(await stage().settle('s', COMPLETE)).toMatchObject({ outcome: 'stale' });
      expect(await store.cancel('s', CANCEL)).toMatchObject({ outcome: 'already_final', state: 'cancelled' });
      expect(await stage().status('s')).toBe('cancelled cancelled_by_request');
    });

    it('comes too late for what is over, and knows what never was', async () => {
      const { store } = stage();
      await stage().submit('s');
      await stage().complete('s');
      const answer = await store.cancel('s', CANCEL);
      expect(answer).toMatchObject({ outcome: 'already_final', state: 'completed' });
      expect(answer.released).toEqual({ outcome: 'settled', ready: [], ended: [], more: false });
      expect(await store.cancel('never', CANCEL)).toMatchObject({ outcome: 'unknown', state: '' });
      expect(await stage().status('s')).toBe('completed');
    });

    it('can end a task as dead, with a message of its own making', async () => {
      await stage().submit('s');
      await stage().store.cancel('s', { state: 'dead', reason: 'deadline' });
      const error = { code: 'DEADLINE', message: 'Task s: deadline.' };
      expect(await stage().store.find('s')).toMatchObject({ status: 'dead', reason: 'deadline', error });
    });
  });
}
