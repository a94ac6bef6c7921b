// What every TaskStore promises, in the same sentences for memory and Redis: tasks and attempts here, the rest in the
// files beside it. Each test has a store of its own, and a clock that moves only when told.
import { aContext, aTask, COMPLETE, DIE, ERROR, retry, Stage, type TaskStoreWorld } from '../support/task-stage.js';
import { testTaskReading } from './task-store-reading.suite.js';
import { testTaskRepair } from './task-store-repair.suite.js';
import { testTaskRuns } from './task-store-runs.suite.js';

export function testTaskStore(make: () => Promise<TaskStoreWorld>): void {
  let stage: Stage;
  beforeEach(async () => {
    stage = new Stage(await make());
  });
  afterEach(() => stage.world.close());

  testSubmitting(() => stage);
  testClaiming(() => stage);
  testSettling(() => stage);
  testTaskRuns(() => stage);
  testTaskRepair(() => stage);
  testTaskReading(() => stage);
}

function testSubmitting(stage: () => Stage): void {
  describe('submitting a task', () => {
    it('answers all that its message needs', async () => {
      const over = { assignedTo: 'ann', leastConnections: true, priority: 1 as const };
      const context = aContext({ root: 'elsewhere', hops: 2 });
      const answer = await stage().store.submit(aTask('s', over), context, 'd');
      const body = aTask('s').body;
      const { traceparent } = context;
      expect(answer).toEqual({
        outcome: 'accepted',
        ready: { id: 's', capability: 'build', attempt: 1, body, traceparent, root: 'elsewhere', hops: 2, ...over },
      });
    });

    it('tells a repeat from a conflict', async () => {
      await stage().submit('s');
      expect(await stage().submit('s')).toEqual({ outcome: 'duplicate' });
      expect(await stage().submit('s', { capability: 'test' }, 'other')).toEqual({ outcome: 'conflict' });
      await stage().complete('s');
      expect(await stage().submit('s')).toEqual({ outcome: 'duplicate' });
      expect(await stage().status('s')).toBe('completed');
    });

    it('takes one of many that come at once under the same id', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => stage().submit('s')));
      expect(answers.map(({ outcome }) => outcome).sort()).toEqual(['accepted', ...Array(19).fill('duplicate')]);
    });

    it('refuses the id of a run', async () => {
      await stage().submitRun(['a'], { run: 's' });
      expect(await stage().submit('s')).toEqual({ outcome: 'conflict' });
    });

    it('keeps a task until its time has come', async () => {
      const { world, store } = stage();
      expect(await stage().submit('s', { notBefore: world.now() + 1000 })).toEqual({ outcome: 'accepted' });
      expect(await store.find('s')).toMatchObject({
        status: 'scheduled',
        due_at: new Date(world.now() + 1000).toISOString(),
      });
      world.pass(999);
      expect((await store.release(10)).ready).toEqual([]);
      world.pass(1);
      const released = await store.release(10);
      expect(released).toMatchObject({ ready: [{ id: 's', attempt: 1 }], more: false });
      expect(await stage().status('s')).toBe('ready');
    });

    it('is ready at once when its time is past', async () => {
      expect(await stage().submit('s', { notBefore: stage().world.now() })).toHaveProperty('ready.id', 's');
    });

    it('waits for an approval, once', async () => {
      const { store, world } = stage();
      expect(await stage().submit('s', { requiresApproval: true })).toEqual({ outcome: 'accepted' });
      expect(await store.find('s')).toMatchObject({ status: 'blocked', waiting_for: ['#approval'] });
      expect(await store.approve('s')).toMatchObject({ outcome: 'approved', ready: [{ id: 's' }] });
      expect(await store.approve('s')).toEqual({ outcome: 'not_waiting', ready: [] });
      expect(await store.approve('never')).toEqual({ outcome: 'unknown', ready: [] });
      await stage().submit('t', { requiresApproval: true, notBefore: world.now() + 5 });
      expect(await store.approve('t')).toEqual({ outcome: 'approved', ready: [] });
      expect(await stage().status('t')).toBe('scheduled');
    });
  });
}

function testClaiming(stage: () => Stage): void {
  describe('claiming', () => {
    it('grants an attempt, with what its agent must know', async () => {
      await stage().submit('s', { maxAttempts: 7 });
      stage().world.pass(250);
      const grant = await stage().claim('s');
      expect(grant).toMatchObject({ id: 's', attempt: 1, failedAttempts: 0, maxAttempts: 7, waitedMs: 250 });
      expect(Number.isSafeInteger(grant.token)).toBe(true);
      expect(await stage().store.find('s')).toMatchObject({ status: 'running', agent: 'ann-1', attempt: 1 });
      expect(await stage().store.token('s', 'ann-1')).toBe(grant.token);
      expect(await stage().store.token('s', 'ben-1')).toBeUndefined();
    });

    it('grants to one of many', async () => {
      await stage().submit('s');
      const claims = Array.from({ length: 10 }, (_, i) => ({ id: 's', holder: `h-${i}`, redelivered: false }));
      const answers = await Promise.all(claims.map((claim) => stage().store.claim(claim)));
      const winner = (await stage().store.find('s'))?.agent;
      expect(answers.filter(({ outcome }) => outcome === 'granted')).toHaveLength(1);
      expect(answers.filter((answer) => answer.outcome === 'held' && answer.by === winner)).toHaveLength(9);
    });

    it('says of what cannot be claimed why', async () => {
      const { store, world } = stage();
      const claim = (id: string) => store.claim({ id, holder: 'ann-1', redelivered: false });
      expect(await claim('never')).toEqual({ outcome: 'unknown' });
      await stage().submit('blocked', { requiresApproval: true });
      expect(await claim('blocked')).toEqual({ outcome: 'obsolete', state: 'blocked' });
      await stage().submit('scheduled', { notBefore: world.now() + 5 });
      expect(await claim('scheduled')).toEqual({ outcome: 'obsolete', state: 'scheduled' });
      await stage().submit('s');
      await stage().run('s', retry(100));
      expect(await claim('s')).toEqual({ outcome: 'obsolete', state: 'retrying' });
      world.pass(100);
      await store.release(10);
      await stage().complete('s');
      expect(await claim('s')).toEqual({ outcome: 'obsolete', state: 'completed' });
    });

    it('starts nothing past its deadline', async () => {
      const { store, world } = stage();
      for (const id of ['s', 't']) await stage().submit(id, { deadlineAt: world.now() + 10 });
      await stage().claim('t', 'bus:cat');
      world.pass(10);
      const claim = (id: string) => store.claim({ id, holder: 'bus:dan', redelivered: true });
      expect(await claim('s')).toEqual({ outcome: 'obsolete', state: 'ready' });
      // Its agent lost it, but there is no further attempt: the sweep ends it.
      expect(await claim('t')).toEqual({ outcome: 'held', by: 'bus:cat' });
    });

    it('leaves a running task with its agent when the broker delivers it again', async () => {
      await stage().submit('s');
      await stage().claim('s');
      const again = await stage().store.claim({ id: 's', holder: 'ben-1', redelivered: true });
      expect(again).toEqual({ outcome: 'held', by: 'ann-1' });
    });

    it('takes a redelivery as the end of an attempt by a bus-only agent', async () => {
      const { store } = stage();
      await stage().submit('s', { timeoutMs: 100 });
      const first = await stage().claim('s', 'bus:cat');
      expect(await store.claim({ id: 's', holder: 'bus:dan', redelivered: false })).toEqual({
        outcome: 'held',
        by: 'bus:cat',
      });
      const second = await store.claim({ id: 's', holder: 'bus:dan', redelivered: true });
      expect(second).toMatchObject({ outcome: 'granted', attempt: 2, failedAttempts: 0 });
      expect(second).toHaveProperty('token', expect.any(Number));
      expect(await store.find('s')).toMatchObject({ agent: 'bus:dan', lost_attempts: 1 });
      expect(await stage().settle('s', COMPLETE)).toMatchObject({ outcome: 'stale' });
      expect(first.token).toBeLessThan((second as { token: number }).token);
    });
  });
}

function testSettling(stage: () => Stage): void {
  describe('settling', () => {
    beforeEach(() => stage().submit('s'));

    it('keeps the result', async () => {
      expect(await stage().run('s')).toEqual([]);
      const outcome = { id: 's', status: 'completed', attempt: 1, agent: 'ann-1', output: { ok: true } };
      expect(await stage().store.watch('s', 'client-2')).toEqual(outcome);
      const task = await stage().store.find('s');
      expect(task).toMatchObject({ status: 'completed', result: { ok: true } });
      expect(task).not.toHaveProperty('error');
    });

    it('counts once however often it is told', async () => {
      await stage().claim('s');
      expect(await stage().settle('s', COMPLETE)).toMatchObject({ outcome: 'settled' });
      for (const verdict of [COMPLETE, DIE, retry(1), { do: 'hand_back' } as const]) {
        const again = await stage().settle('s', verdict);
        expect(again).toEqual({ outcome: 'stale', ready: [], ended: [], more: false });
      }
      expect(await stage().status('s')).toBe('completed');
      expect(await stage().settle('never', COMPLETE)).toMatchObject({ outcome: 'unknown' });
    });

    it('tries again after the backoff, with the failure on record until it completes', async () => {
      const { store, world } = stage();
      expect(await stage().run('s', retry(1000))).toEqual([]);
      expect(await store.find('s')).toMatchObject({ status: 'retrying', failed_attempts: 1, error: ERROR });
      expect(await store.counts()).toMatchObject({ ready: [0, 0, 0, 0], timers: 1 });
      world.pass(1000);
      expect((await store.release(10)).ready).toMatchObject([{ id: 's', attempt: 2 }]);
      const second = await stage().claim('s');
      expect(second).toMatchObject({ attempt: 2, failedAttempts: 1, waitedMs: 0 });
      await stage().settle('s', COMPLETE);
      expect(await store.find('s')).not.toHaveProperty('error');
    });

    it('ends what is given up, with its reason', async () => {
      await stage().run('s', DIE);
      const ended = { status: 'dead', reason: 'attempts_exhausted', attempt: 1, error: ERROR };
      expect(await stage().store.find('s')).toMatchObject({ ...ended, failed_attempts: 1 });
      expect(await stage().store.watch('s', 'client-2')).toEqual({ id: 's', agent: 'ann-1', ...ended });
    });

    it('gives back without a failed attempt', async () => {
      expect(await stage().run('s', { do: 'hand_back' })).toEqual(['s']);
      expect(await stage().store.find('s')).toMatchObject({ status: 'ready', failed_attempts: 0 });
      expect(await stage().claim('s', 'ben-1')).toMatchObject({ attempt: 2, failedAttempts: 0 });
    });

    it('refuses the result of an attempt that is not the current one', async () => {
      const { store } = stage();
      const first = await stage().claim('s', 'ann-1');
      await store.rescue('ann-1', 5, 10);
      const second = await stage().claim('s', 'ben-1');
      expect(second.token).toBeGreaterThan(first.token);
      const late = await store.settle({ id: 's', token: first.token, holder: 'ann-1', verdict: COMPLETE });
      expect(late.outcome).toBe('stale');
      expect(await store.progress('s', first.token, 0.9, 'almost')).toBe(false);
      expect(await store.find('s')).toMatchObject({ status: 'running', agent: 'ben-1' });
      expect(await stage().settle('s', COMPLETE)).toMatchObject({ outcome: 'settled' });
    });

    it('notes progress of the current attempt', async () => {
      const { store } = stage();
      const { token } = await stage().claim('s');
      expect(await store.progress('s', token, 0.5, 'half way')).toBe(true);
      expect(await store.find('s')).toMatchObject({ progress: { fraction: 0.5, note: 'half way' } });
      expect(await store.progress('s', token, 1, undefined)).toBe(true);
      expect((await store.find('s'))?.progress).toEqual({ fraction: 1 });
      await stage().settle('s', COMPLETE);
      expect(await store.progress('s', token, 1, undefined)).toBe(false);
      expect(await store.progress('never', token, 1, undefined)).toBe(false);
    });

    it('settles many at once, each by itself', async () => {
      const ids = Array.from({ length: 150 }, (_, i) => `m${i}`);
      await Promise.all(ids.map((id) => stage().submit(id)));
      await Promise.all(ids.map((id) => stage().claim(id)));
      const answers = await Promise.all([...ids, 'never'].map((id) => stage().settle(id, COMPLETE)));
      expect(answers.map(({ outcome }) => outcome)).toEqual([...ids.map(() => 'settled'), 'unknown']);
    });
  });
}
