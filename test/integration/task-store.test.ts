// The TaskStore on a real Redis keeps the promises of the port, and those only a real one can break: runs of thousands without a
// call that holds Redis for 50 ms, several processes at once, and runs caught between two calls of their submission.
import type { ReadyTask } from '../../src/ports.js';
import type { RedisTaskStore } from '../../src/tasks/store.js';
import { testTaskStore } from '../conformance/task-store.suite.js';
import { eventually } from '../support/eventually.js';
import { type LiveTasks, liveTasks } from '../support/live-tasks.js';
import {
  aContext,
  aRunOf,
  CANCEL,
  COMPLETE,
  DIE,
  RETENTION,
  ready,
  Stage,
  type TaskStoreWorld,
} from '../support/task-stage.js';

async function liveWorld(): Promise<TaskStoreWorld & { live: LiveTasks }> {
  const live = await liveTasks({ retentionMs: RETENTION });
  return {
    live,
    store: live.store,
    another: live.another,
    now: () => live.clock.now(),
    pass: (ms) => live.clock.advance(ms),
    register: live.register,
    stored: live.storedKeys,
    close: live.close,
  };
}

testTaskStore(liveWorld);

const SIZE = 10_000;
/** No call may hold Redis for longer. */
const SLOW_US = 50_000;
const keys = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`);
const accepted = { outcome: 'accepted' };

describe('the task store on a real Redis', () => {
  let stage: Stage;
  let live: LiveTasks;
  beforeEach(async () => {
    const world = await liveWorld();
    live = world.live;
    stage = new Stage(world);
  });
  afterEach(() => stage.world.close());

  it('gives each task to one of two processes, and each dependent to one of two that settle at once', async () => {
    const other = await live.another();
    const lines = keys(300).flatMap((key) => [key, `${key}x`, `${key}j after ${key} ${key}x`]);
    await stage.submitRun(lines);
    const released: string[] = [];
    const work = async (store: typeof other, holder: string, ids: readonly string[]): Promise<void> => {
      await Promise.all(
        ids.map(async (id) => {
          const claim = await store.claim({ id, holder, redelivered: false });
          if (claim.outcome !== 'granted') return;
          released.push(...ready((await store.settle({ id, token: claim.token, holder, verdict: COMPLETE })).ready));
        }),
      );
    };
    const ids = keys(300).flatMap((key) => [`r.${key}`, `r.${key}x`]);
    await Promise.all([work(live.store, 'ann-1', ids), work(other, 'ben-1', [...ids].reverse())]);
    expect(released.sort()).toEqual(
      keys(300)
        .map((key) => `r.${key}j`)
        .sort(),
    );
    expect(await live.store.findRun('r')).toMatchObject({ done: 600 });
  });

  describe('between two calls of a submission', () => {
    // Redis knows the script by now: what is sent first is carried out first.
    beforeEach(() => stage.submitRun(['a'], { run: 'warm' }));
    /** More than one call holds; the first is on its way when this returns, the rest follow its answer. */
    const begin = () => stage.submitRun(['a', 'b after a', ...keys(1200), 'z after a t0']);

    it('is busy for a second submitter, and a duplicate once it is whole', async () => {
      const submitted = begin();
      const [again, added, run] = await Promise.all([
        stage.submitRun(['a']),
        stage.append(['y']),
        live.store.findRun('r'),
      ]);
      expect([again, added]).toEqual([{ outcome: 'busy' }, { outcome: 'busy' }]);
      expect(run).toMatchObject({ status: 'open', total: 1203 });
      expect(await submitted).toMatchObject(accepted);
      expect(await stage.submitRun(['a'])).toEqual({ outcome: 'duplicate' });
    });

    it('has no tasks yet that could be cancelled, approved or claimed', async () => {
      const submitted = begin();
      const [cancelled, approved, claimed] = await Promise.all([
        live.store.cancel('r.a', CANCEL),
        live.store.approve('r.a'),
        live.store.claim({ id: 'r.a', holder: 'ann-1', redelivered: false }),
      ]);
      expect(cancelled).toMatchObject({ outcome: 'unknown' });
      expect(approved).toMatchObject({ outcome: 'unknown' });
      expect(claimed).toEqual({ outcome: 'obsolete', state: 'blocked' });
      await submitted;
      expect(await stage.run('r.a')).toEqual(['r.b']);
      await stage.claim('r.t0');
      expect(ready((await stage.settle('r.t0', COMPLETE)).ready)).toEqual(['r.z']);
    });

    it('is swept away whole when its submitter is gone', async () => {
      const before = await live.storedKeys();
      const gone = new Stage({ ...stage.world, store: await live.another() });
      const cut = gone.submitTasks('r', aRunOf('r', keys(SIZE), { deadlineAt: 1 })).catch((error) => error);
      await eventually(
        () => live.store.findRun('r'),
        (run) => run !== undefined,
        { everyMs: 1 },
      );
      const store = gone.store as unknown as { redis: { disconnect(): void } };
      store.redis.disconnect();
      expect(await cut).toMatchObject({ code: 'STORE_UNAVAILABLE' });
      expect(await live.store.findRun('r')).toMatchObject({ status: 'open' });
      // Past its deadline, but not accepted: nobody is to end it.
      expect(await live.store.overdue(0, 10)).toEqual([]);
      stage.world.pass(600_000);
      for (let deleted = 1; deleted > 0; ) deleted = await live.store.expire(500);
      expect(await live.storedKeys()).toEqual(before);
      expect(await stage.submitRun(['a'])).toMatchObject(accepted);
    });
  });

  it('keeps a task taken over from a message out of the run its id names', async () => {
    await stage.submit('r.a', {}, 'adopted');
    await stage.claim('r.a');
    await stage.submitTasks('r', aRunOf('r', ['a', 'b after a']));
    expect(await stage.settle('r.a', COMPLETE)).toMatchObject({ outcome: 'stale' });
    await stage.submit('r.x', {}, 'adopted');
    await stage.complete('r.x', 'r.a');
    expect(await live.store.findRun('r')).toMatchObject({ status: 'running', total: 2, done: 1 });
  });

  it('says that the store is away, whatever it is asked', async () => {
    const other = await live.another();
    const connection = (other as unknown as { redis: { disconnect(): void } }).redis;
    connection.disconnect();
    const calls: Promise<unknown>[] = [
      other.submit(aRunOf('r', ['a'])[0]!, aContext(), 'd'),
      other.claim({ id: 's', holder: 'ann-1', redelivered: false }),
      other.due(1),
      other.find('s'),
      other.findRun('s'),
      other.list({ limit: 1 }),
      other.counts(),
      other.readyTasks(1),
      other.runTasks('s'),
      other.dependencies('s'),
      other.overdue(0, 1),
      other.body('s'),
      other.token('s', 'ann-1'),
    ];
    const answers = await Promise.allSettled(calls);
    const codes = answers.map((answer) => answer.status === 'rejected' && answer.reason.code);
    expect(codes).toEqual(Array(calls.length).fill('STORE_UNAVAILABLE'));
  });

  describe('with runs of ten thousand', () => {
    /** Each script is bracketed by the server's account of its own CPU time: a busy machine makes a call late, not slow. */
    const slowest = { us: 0, call: '' };
    async function measured(): Promise<RedisTaskStore> {
      const redis = await live.connect('measured');
      const evalsha = async (...args: [string, number, ...(string | number | Buffer)[]]): Promise<unknown> => {
        const pipeline = redis
          .pipeline()
          .info('cpu')
          .evalsha(...args)
          .info('cpu');
        const [before, reply, after] = (await pipeline.exec())!;
        if (reply![0] !== null) throw reply![0];
        const us = cpuTime(after![1] as string) - cpuTime(before![1] as string);
        if (us > slowest.us) Object.assign(slowest, { us, call: args.slice(0, 12).join(' ') });
        return reply![1];
      };
      return live.over(Object.assign(Object.create(redis), { evalsha }));
    }
    beforeEach(async () => {
      Object.assign(slowest, { us: 0, call: '' });
      stage = new Stage({ ...stage.world, store: await measured() });
    });
    afterEach(() => {
      if (slowest.us > SLOW_US) throw new Error(`Redis was held for ${slowest.us} us by ${slowest.call}`);
    });

    it('works a chain off, each task released by the one before it', async () => {
      const lines = keys(SIZE).map((key, i) => (i === 0 ? key : `${key} after t${i - 1}`));
      expect(await stage.submitRun(lines)).toMatchObject(accepted);
      let grant = await stage.claim('r.t0');
      let done = 0;
      for (;;) {
        const { id, token } = grant;
        const settlement = { id, token, holder: 'ann-1', verdict: COMPLETE, takeNext: ['build'] };
        const answer = await stage.store.settle(settlement);
        done += 1;
        if (answer.next === undefined) break;
        grant = answer.next.grant;
      }
      expect(done).toBe(SIZE);
      expect(await stage.store.findRun('r')).toMatchObject({ status: 'completed', done: SIZE });
    }, 120_000);

    it('spreads from one to all and gathers all into one, each released once by two stores at work', async () => {
      const middle = keys(SIZE);
      const lines = ['root', ...middle.map((key) => `${key} after root`), `join after ${middle.join(' ')}`];
      expect(await stage.submitRun(lines)).toMatchObject(accepted);
      const released: string[] = [];
      const note = (tasks: readonly ReadyTask[]) => released.push(...ready(tasks));
      await stage.claim('r.root');
      note((await stage.settle('r.root', COMPLETE)).ready);
      const stores = [stage.store, await measured()];
      await Promise.all(
        stores.map(async (store) => {
          for (let more = true; more; ) {
            const answer = await store.release(500);
            note(answer.ready);
            more = answer.more;
          }
        }),
      );
      expect(released.sort()).toEqual(middle.map((key) => `r.${key}`).sort());

      released.length = 0;
      for (let from = 0; from < SIZE; from += 200) {
        await Promise.all(
          middle.slice(from, from + 200).map(async (key, i) => {
            const [store, holder, id] = [stores[i % 2]!, `h-${i % 2}`, `r.${key}`];
            const claim = await store.claim({ id, holder, redelivered: false });
            if (claim.outcome !== 'granted') throw new Error(`${id} is ${claim.outcome}`);
            note((await store.settle({ id, token: claim.token, holder, verdict: COMPLETE })).ready);
          }),
        );
      }
      expect(released).toEqual(['r.join']);
    }, 120_000);

    it('lets ten thousand fall, one after another and side by side', async () => {
      const chain = keys(SIZE).map((key, i) => (i === 0 ? key : `${key} after t${i - 1}`));
      const wide = keys(SIZE).map((key) => `w${key} after t0:skip`);
      expect(await stage.submitRun([...chain, ...wide])).toMatchObject(accepted);
      await stage.claim('r.t0');
      const answer = await stage.settle('r.t0', DIE);
      expect(answer).toMatchObject({ more: true });
      const rest = await stage.releaseAll();
      const ended = [...ready(answer.ended), ...rest.ended];
      expect(ended).toHaveLength(2 * SIZE - 1);
      expect(new Set(ended).size).toBe(2 * SIZE - 1);
      expect(await stage.statuses('r.t9999', 'r.wt9999')).toEqual([
        'dead dependency_failed',
        'cancelled dependency_skipped',
      ]);
      stage.world.pass(RETENTION);
      for (let deleted = 500; deleted === 500; ) deleted = await stage.store.expire(500);
      expect(await live.storedKeys()).toEqual([]);
    }, 120_000);
  });
});

/** Microseconds that the thread which runs scripts has worked so far. */
function cpuTime(info: string): number {
  const seconds = ['user', 'sys'].map((kind) => Number(info.match(`used_cpu_${kind}_main_thread:([0-9.]+)`)?.[1]));
  return (seconds[0]! + seconds[1]!) * 1e6;
}
