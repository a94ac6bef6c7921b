// What every TaskStore promises to those who look on: outcomes are told, once and to whom they matter, and all can be read.
import { CANCEL, DIE, ready, type Stage } from '../support/task-stage.js';

const RECHECK_MS = 600_000;

export function testTaskReading(stage: () => Stage): void {
  testWatching(stage);
  testReading(stage);
}

function testWatching(stage: () => Stage): void {
  describe('waiting for an outcome', () => {
    it('tells the owner of each task and of the run', async () => {
      const owner = await stage().listen('client-1');
      const other = await stage().listen('client-2');
      await stage().submitRun(['a', 'b after a']);
      await stage().run('r.a', DIE);
      expect(await owner.hear(3)).toEqual([
        {
          kind: 'ended',
          id: 'r.a',
          status: 'dead',
          reason: 'attempts_exhausted',
          attempt: 1,
          agent: 'ann-1',
          error: expect.anything(),
        },
        { kind: 'ended', id: 'r.b', status: 'dead', reason: 'dependency_failed', attempt: 0, error: expect.anything() },
        { kind: 'run_ended', run: 'r', status: 'failed', ms: expect.any(Number) },
      ]);
      expect(other.heard).toEqual([]);
    });

    it('tells who asked, once, and across processes', async () => {
      const another = await stage().world.another();
      const listener = await stage().listen('client-2');
      expect(await another.watch('s', 'client-2')).toBe('unknown');
      await stage().submit('s');
      expect(await another.watch('s', 'client-2')).toBe('pending');
      expect(await another.watch('s', 'client-2')).toBe('pending');
      await stage().complete('s');
      await stage().submit('t');
      await another.watch('t', 'client-2');
      await stage().complete('t');
      expect((await listener.hear(2)).map((notice) => 'id' in notice && notice.id)).toEqual(['s', 't']);
    });

    it('answers at once for what is over', async () => {
      const { store } = stage();
      await stage().submitRun(['a', 'b']);
      expect(await store.watch('r', 'client-2')).toBe('pending');
      const listener = await stage().listen('client-2');
      await stage().complete('r.a', 'r.b');
      expect(await store.watch('r', 'client-2')).toEqual({ run: 'r', status: 'completed' });
      expect(await store.watch('r.a', 'client-2')).toMatchObject({ id: 'r.a', output: { ok: true } });
      expect(await listener.hear(1)).toEqual([
        { kind: 'run_ended', run: 'r', status: 'completed', ms: expect.any(Number) },
      ]);
    });

    it('leaves a large output to be fetched', async () => {
      const owner = await stage().listen('client-1');
      const output = JSON.stringify('ü'.repeat(9000));
      await stage().submit('s');
      await stage().run('s', { do: 'complete', output });
      expect(await owner.hear(1)).toEqual([
        { kind: 'ended', id: 's', status: 'completed', attempt: 1, agent: 'ann-1', fetch: true },
      ]);
      expect(await stage().store.watch('s', 'client-1')).toHaveProperty('output', JSON.parse(output));
    });

    it('tells the agent whose task is cancelled', async () => {
      const agent = await stage().listen('ann-1');
      await stage().submit('s');
      await stage().claim('s');
      await stage().store.cancel('s', CANCEL);
      expect(await agent.hear(1)).toEqual([{ kind: 'cancel', id: 's', reason: 'cancelled_by_request' }]);
    });

    it('tells no one who stopped listening', async () => {
      const [kept, gone] = [await stage().listen('client-1'), await stage().listen('client-1')];
      gone.cancel();
      await stage().submit('s');
      await stage().complete('s');
      await kept.hear(1);
      expect(gone.heard).toEqual([]);
    });
  });
}

function testReading(stage: () => Stage): void {
  describe('reading', () => {
    it('finds a task as it was submitted', async () => {
      const { store, world } = stage();
      await stage().submitRun(['a', 'b after a:skip']);
      const now = new Date(world.now()).toISOString();
      const traceparent = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
      const common = { run: 'r', capability: 'build', priority: 'P2', attempt: 0, max_attempts: 3, failed_attempts: 0 };
      expect(await store.find('r.a')).toEqual({
        ...{ ...common, id: 'r.a', key: 'a', status: 'ready', lost_attempts: 0, waiting_for: [], after: [] },
        ...{ parameters: { n: 1 }, submitted_at: now, ready_at: now, traceparent },
      });
      expect(await store.find('r.b')).toMatchObject({ waiting_for: ['a'], after: [{ task: 'a', on_failure: 'skip' }] });
      expect(await store.body('r.a')).toBe('{"id":"r.a","parameters":{"n":1}}');
      expect(await store.find('never')).toBeUndefined();
      expect(await store.body('never')).toBeUndefined();
      expect(await store.findRun('never')).toBeUndefined();
      expect(await store.runTasks('never')).toEqual([]);
    });

    it('sees a task alone as a run of one', async () => {
      await stage().submit('s');
      expect(await stage().store.findRun('s')).toMatchObject({ status: 'running', total: 1, done: 0 });
      await stage().run('s', DIE);
      expect(await stage().store.findRun('s')).toMatchObject({ status: 'failed', total: 1, done: 1, failed: 1 });
      expect(await stage().store.runTasks('s')).toEqual(['s']);
    });

    it('lists by state, capability and run', async () => {
      const { store, world } = stage();
      await world.register('ann-1');
      await stage().submitRun(['a', 'b after a']);
      await stage().submit('s', { capability: 'test', priority: 0 });
      await stage().submit('t', { notBefore: world.now() + 1000 });
      await stage().submit('u');
      await stage().claim('u');
      await store.dispatched([{ id: 's', priority: 0 }], RECHECK_MS);
      const ids = async (filter: { states?: string[]; capability?: string; run?: string }) =>
        ready(await store.list({ ...filter, limit: 10 }));
      expect(await ids({ states: ['ready', 'dispatched'] })).toEqual(['s', 'r.a']);
      expect(await ids({ states: ['dispatched'] })).toEqual(['s']);
      expect(await ids({ states: ['running'] })).toEqual(['u']);
      expect(await ids({ states: ['scheduled'] })).toEqual(['t']);
      expect((await ids({ states: ['blocked', 'running'] })).sort()).toEqual(['r.b', 'u']);
      expect(await ids({ capability: 'test' })).toEqual(['s']);
      expect(await ids({ run: 'r' })).toEqual(['r.a', 'r.b']);
      expect(await store.list({ limit: 3 })).toHaveLength(3);
    });

    it('counts, and shows what is ready, most urgent first', async () => {
      const { store, world } = stage();
      await world.register('ann-1');
      await stage().submit('low', { priority: 3 });
      await stage().submit('high', { priority: 1 });
      await stage().submit('later', { notBefore: world.now() + 5 });
      await stage().submit('running');
      await stage().claim('running');
      expect(await store.counts()).toEqual({ ready: [0, 1, 0, 1], timers: 1, running: 1 });
      const low = { id: 'low', capability: 'build', priority: 3, dispatched: false };
      const high = { id: 'high', capability: 'build', priority: 1, dispatched: false };
      expect(await store.readyTasks(10)).toEqual([high, low]);
      expect(await store.readyTasks(1)).toEqual([high]);
    });
  });
}
