// What every TaskStore promises about runs: release in order, each dependent once; failure by its rule; additions; take-next.
import { aRunOf, aTask, CANCEL, COMPLETE, DIE, ready, type Stage } from '../support/task-stage.js';

export function testTaskRuns(stage: () => Stage): void {
  testReleasing(stage);
  testFailing(stage);
  testAppending(stage);
  testTakingNext(stage);
}

function testReleasing(stage: () => Stage): void {
  describe('a run', () => {
    const diamond = ['a', 'b after a', 'c after a', 'd after b c'];

    it('releases each task when all it waits for is done, and ends when all are', async () => {
      const { store } = stage();
      const answer = await stage().submitRun(diamond);
      expect(answer).toMatchObject({ outcome: 'accepted', ready: [{ id: 'r.a', attempt: 1, root: 'r' }] });
      expect(await store.findRun('r')).toMatchObject({
        status: 'running',
        total: 4,
        done: 0,
        labels: { team: 'core' },
      });
      expect(await stage().run('r.a')).toEqual(['r.b', 'r.c']);
      expect(await store.find('r.d')).toMatchObject({ status: 'blocked', waiting_for: ['b', 'c'] });
      expect(await stage().run('r.c')).toEqual([]);
      expect(await stage().run('r.b')).toEqual(['r.d']);
      expect(await stage().run('r.d')).toEqual([]);
      const run = await store.findRun('r');
      expect(run).toMatchObject({ status: 'completed', total: 4, done: 4, failed: 0 });
      expect(run?.finished_at).toBe(new Date(stage().world.now()).toISOString());
      expect(await store.runTasks('r')).toEqual(['r.a', 'r.b', 'r.c', 'r.d']);
    });

    it('lists dependents before what they wait for as well', async () => {
      expect(await stage().submitRun([...diamond].reverse())).toMatchObject({ ready: [{ id: 'r.a' }] });
      expect(await stage().run('r.a')).toEqual(['r.c', 'r.b']);
    });

    it('is taken once', async () => {
      await stage().submitRun(diamond);
      expect(await stage().submitRun(diamond)).toEqual({ outcome: 'duplicate' });
      expect(await stage().submitRun(['x'], { digest: 'other' })).toEqual({ outcome: 'conflict' });
      await stage().submit('s');
      expect(await stage().submitRun(['a'], { run: 's' })).toEqual({ outcome: 'conflict' });
    });

    it('holds tasks for their approval and their time, though nothing else is waited for', async () => {
      const { store, world } = stage();
      const [a, b, c] = aRunOf('r', ['a', 'b', 'c after a']);
      const tasks = [
        { ...a!, requiresApproval: true },
        { ...b!, notBefore: world.now() + 10 },
        { ...c!, requiresApproval: true, notBefore: world.now() + 10 },
      ];
      expect(await stage().submitTasks('r', tasks)).toEqual({ outcome: 'accepted', ready: [] });
      expect(await stage().statuses('r.a', 'r.b', 'r.c')).toEqual(['blocked', 'scheduled', 'blocked']);
      expect(await store.approve('r.c')).toEqual({ outcome: 'approved', ready: [] });
      expect(ready((await store.approve('r.a')).ready)).toEqual(['r.a']);
      expect(await stage().run('r.a')).toEqual([]);
      world.pass(10);
      expect((await stage().releaseAll()).ready).toEqual(['r.b', 'r.c']);
    });

    it('gives a task the results of what it waited for', async () => {
      const { store } = stage();
      await stage().submitRun(['a', 'b', 'c', 'd after a b:continue c']);
      await stage().complete('r.a');
      await stage().run('r.b', DIE);
      const { a, b, c } = await store.dependencies('r.d');
      expect(a).toEqual({ id: 'r.a', status: 'completed', attempt: 1, agent: 'ann-1', output: { ok: true } });
      expect(b).toMatchObject({ status: 'dead', reason: 'attempts_exhausted' });
      expect(b).not.toHaveProperty('output');
      expect(c).toBeUndefined();
      expect(Object.keys(await store.dependencies('never'))).toEqual([]);
    });

    it('is not upset by names that mean something to JavaScript', async () => {
      await stage().submitRun(['constructor', 'valueof after constructor']);
      expect(await stage().run('r.constructor')).toEqual(['r.valueof']);
      const found = await stage().store.dependencies('r.valueof');
      expect(Object.keys(found)).toEqual(['constructor']);
    });

    it('takes more tasks than one call may hold', async () => {
      const keys = Array.from({ length: 1300 }, (_, i) => `t${i}`);
      const answer = await stage().submitRun([...keys, `last after ${keys.join(' ')}`]);
      expect(answer).toMatchObject({ outcome: 'accepted' });
      expect(ready(answer.outcome === 'accepted' ? answer.ready : []).sort()).toEqual(
        keys.map((key) => `r.${key}`).sort(),
      );
      expect(await stage().store.counts()).toMatchObject({ ready: [0, 0, 1300, 0] });
    });
  });
}

function testFailing(stage: () => Stage): void {
  describe('a task that does not complete', () => {
    it.each([
      ['fail', 'dead', 'dead dependency_failed'],
      ['fail', 'cancelled', 'cancelled dependency_cancelled'],
      ['skip', 'dead', 'cancelled dependency_skipped'],
      ['skip', 'cancelled', 'cancelled dependency_skipped'],
      ['continue', 'dead', 'ready'],
      ['continue', 'cancelled', 'ready'],
    ])('leaves its dependents to their rule: %s, when it is %s', async (rule, end, status) => {
      await stage().submitRun(['a', `b after a:${rule}`]);
      if (end === 'dead') await stage().run('r.a', DIE);
      else await stage().store.cancel('r.a', CANCEL);
      expect(await stage().status('r.b')).toBe(status);
    });

    it('takes down all that hangs on it, and tells who called', async () => {
      await stage().submitRun(['a', 'b after a', 'c after b:skip', 'd after c', 'e after d:continue', 'f']);
      await stage().claim('r.a');
      const answer = await stage().settle('r.a', DIE);
      expect(answer.ended).toEqual([
        { id: 'r.b', capability: 'build', state: 'dead', reason: 'dependency_failed' },
        { id: 'r.c', capability: 'build', state: 'cancelled', reason: 'dependency_skipped' },
        { id: 'r.d', capability: 'build', state: 'cancelled', reason: 'dependency_cancelled' },
      ]);
      expect(ready(answer.ready)).toEqual(['r.e']);
      expect(await stage().store.find('r.b')).toMatchObject({
        error: { code: 'DEPENDENCY_FAILED', message: 'Task r.a it waited for is dead.' },
      });
      await stage().complete('r.e', 'r.f');
      expect(await stage().store.findRun('r')).toMatchObject({ status: 'failed', done: 6, failed: 4 });
    });

    it('must not release the join, and must not cancel its sibling', async () => {
      await stage().submitRun(['a', 'b', 'd after a b', 'e after d b:continue']);
      await stage().run('r.a', DIE);
      expect(await stage().statuses('r.b', 'r.d', 'r.e')).toEqual([
        'ready',
        'dead dependency_failed',
        'dead dependency_failed',
      ]);
      expect(await stage().run('r.b')).toEqual([]);
    });

    it('does not hold up a dependent that goes on without it', async () => {
      await stage().submitRun(['a', 'b', 'c after a:continue b']);
      await stage().run('r.a', DIE);
      expect(await stage().store.find('r.c')).toMatchObject({ status: 'blocked', waiting_for: ['b'] });
      expect(await stage().run('r.b')).toEqual(['r.c']);
    });

    it('spreads in bounded steps', async () => {
      const keys = Array.from({ length: 1200 }, (_, i) => `t${i}`);
      await stage().submitRun(['a', ...keys.map((key) => `${key} after a`)]);
      await stage().claim('r.a');
      const answer = await stage().settle('r.a', DIE);
      expect(answer).toMatchObject({ outcome: 'settled', more: true });
      expect(answer.ended).toHaveLength(250);
      const rest = await stage().releaseAll();
      expect(new Set([...answer.ended.map(({ id }) => id), ...rest.ended]).size).toBe(1200);
      expect(rest.ended).toHaveLength(950);
      expect(await stage().store.findRun('r')).toMatchObject({ status: 'failed', done: 1201 });
    });
  });
}

function testAppending(stage: () => Stage): void {
  describe('adding to a run', () => {
    it('waits for what is not done, and not for what is', async () => {
      await stage().submitRun(['a', 'b']);
      await stage().complete('r.a');
      const answer = await stage().append(['c after a', 'd after b', 'e after c d', 'f']);
      expect(answer).toMatchObject({ outcome: 'accepted' });
      expect(ready(answer.outcome === 'accepted' ? answer.ready : [])).toEqual(['r.c', 'r.f']);
      expect(await stage().run('r.c')).toEqual([]);
      expect(await stage().run('r.b')).toEqual(['r.d']);
      expect(await stage().run('r.d')).toEqual(['r.e']);
      expect(await stage().store.findRun('r')).toMatchObject({ status: 'running', total: 6, done: 4 });
    });

    it('opens a finished run again', async () => {
      const { store, world } = stage();
      await stage().submitRun(['a']);
      await stage().complete('r.a');
      world.pass(3000);
      expect(await stage().append(['b after a'])).toMatchObject({ outcome: 'accepted', ready: [{ id: 'r.b' }] });
      const reopened = await store.findRun('r');
      expect(reopened).toMatchObject({ status: 'running', total: 2, done: 1 });
      expect(reopened).not.toHaveProperty('finished_at');
      await stage().complete('r.b');
      expect(await store.findRun('r')).toMatchObject({ status: 'completed', done: 2 });
    });

    it('makes a run of a task that was its own', async () => {
      const { store } = stage();
      await stage().submit('s');
      expect(await stage().append(['b'], 's')).toMatchObject({ outcome: 'accepted', ready: [{ id: 's.b' }] });
      expect(await store.runTasks('s')).toEqual(['s', 's.b']);
      await stage().run('s', DIE);
      expect(await store.findRun('s')).toMatchObject({ status: 'running', total: 2, done: 1, failed: 1 });
      await stage().complete('s.b');
      expect(await store.findRun('s')).toMatchObject({ status: 'failed', done: 2 });
      expect(await stage().submit('s')).toEqual({ outcome: 'duplicate' });
    });

    it.each([
      ['fail', 'dead dependency_failed'],
      ['skip', 'cancelled dependency_skipped'],
      ['continue', 'ready'],
    ])('applies the rule %s to what failed before', async (rule, status) => {
      await stage().submitRun(['a']);
      await stage().run('r.a', DIE);
      await stage().append([`b after a:${rule}`, 'c after b']);
      expect(await stage().status('r.b')).toBe(status);
      expect(await stage().status('r.c')).not.toBe('ready');
      if (rule !== 'continue') expect(await stage().store.findRun('r')).toMatchObject({ status: 'failed', done: 3 });
    });

    it('refuses the whole addition if any of it is wrong', async () => {
      await stage().submitRun(['a']);
      const before = await stage().world.stored();
      expect(await stage().append(['b', 'a'])).toEqual({ outcome: 'task_exists', key: 'a' });
      expect(await stage().append(['b', 'b'])).toEqual({ outcome: 'task_exists', key: 'b' });
      const stranger = { outcome: 'unknown_dependency', task: 'c', dependency: 'nobody' };
      expect(await stage().append(['b', 'c after b nobody'])).toEqual(stranger);
      expect(await stage().append(['b'], 'nowhere')).toEqual({ outcome: 'no_run' });
      expect(await stage().world.stored()).toEqual(before);
      expect(await stage().store.findRun('r')).toMatchObject({ total: 1 });
    });

    it('takes at most 500 tasks with 5,000 dependencies', async () => {
      const keys = Array.from({ length: 5001 }, (_, i) => `t${i}`);
      await stage().submitRun(keys);
      await expect(stage().append([`join after ${keys.join(' ')}`])).rejects.toMatchObject({ code: 'INVALID_INPUT' });
      await expect(stage().append(keys.slice(0, 501))).rejects.toMatchObject({ code: 'INVALID_INPUT' });
      expect(await stage().append([`join after ${keys.slice(1).join(' ')}`])).toEqual({
        outcome: 'accepted',
        ready: [],
      });
      expect(await stage().store.findRun('r')).toMatchObject({ total: 5002 });
    });
  });
}

function testTakingNext(stage: () => Stage): void {
  describe('taking the next task along', () => {
    const complete = async (takeNext: readonly string[]) => {
      await stage().claim('r.a');
      return stage().settle('r.a', COMPLETE, takeNext);
    };

    it('grants one released dependent to the agent that released it', async () => {
      await stage().submitRun(['a', 'b after a', 'c after a']);
      const answer = await complete(['test', 'build']);
      expect(ready(answer.ready)).toEqual(['r.c']);
      expect(answer.next?.task).toMatchObject({ id: 'r.b', attempt: 1, body: aTask('r.b').body });
      const { token } = answer.next!.grant;
      expect(answer.next?.grant).toMatchObject({
        id: 'r.b',
        attempt: 1,
        failedAttempts: 0,
        maxAttempts: 3,
        waitedMs: 0,
      });
      expect(await stage().store.find('r.b')).toMatchObject({ status: 'running', agent: 'ann-1' });
      const settled = await stage().store.settle({ id: 'r.b', token, holder: 'ann-1', verdict: COMPLETE });
      expect(settled.outcome).toBe('settled');
    });

    it.each<[string, Partial<ReturnType<typeof aTask>>]>([
      ['needs another capability', { capability: 'deploy' }],
      ['belongs to one agent', { assignedTo: 'ben' }],
      ['is placed by load', { leastConnections: true }],
      ['is past its deadline', { deadlineAt: 1 }],
    ])('leaves a dependent that %s', async (_, over) => {
      const [a, b] = aRunOf('r', ['a', 'b after a']);
      await stage().submitTasks('r', [a!, { ...b!, ...over }]);
      const answer = await complete(['build']);
      expect(answer.next).toBeUndefined();
      expect(ready(answer.ready)).toEqual(['r.b']);
    });

    it('takes nothing while something more urgent waits', async () => {
      await stage().submitRun(['a', 'b after a']);
      await stage().submit('urgent', { priority: 0, capability: 'deploy' });
      expect((await complete(['build'])).next).toBeUndefined();
    });

    it('takes nothing unasked', async () => {
      await stage().submitRun(['a', 'b after a']);
      expect((await complete([])).next).toBeUndefined();
    });
  });
}
