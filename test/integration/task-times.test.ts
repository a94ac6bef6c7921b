// Tasks that wait or run out of time: approval, not before, deadline, timeout; and failures tried again with backoff.
import { capability } from '../../src/agent/capability.js';
import { eventually } from '../support/eventually.js';
import { type World, world } from '../support/world.js';

let w: World;
beforeAll(async () => {
  w = await world();
  await w.manager();
});
afterAll(() => w.close());

const never = () => new Promise<never>(() => {});

describe('a task that waits', () => {
  it('for approval does not run before it has it, and approving twice is told apart', async () => {
    await w.join(
      'deployer',
      capability('deploy').handle(() => 'deployed'),
    );
    const task = await w.client.submit('deploy', {}, { requiresApproval: true });
    expect(await w.client.task(task.id)).toMatchObject({ status: 'blocked', attempt: 0 });
    expect(await w.client.approve(task)).toBe(true);
    expect(await w.client.result(task)).toBe('deployed');
    expect(await w.client.approve(task)).toBe(false);
    await expect(w.client.approve('nobody')).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' });
  });

  it('until a moment runs after it and soon', async () => {
    await w.join(
      'sleeper',
      capability('later').handle(() => Date.now()),
    );
    const moment = Date.now() + 1000;
    const task = await w.client.submit('later', {}, { notBefore: new Date(moment) });
    expect(await w.client.task(task.id)).toMatchObject({ status: 'scheduled', due_at: new Date(moment).toISOString() });
    const ran = (await w.client.result(task)) as number;
    expect(ran).toBeGreaterThanOrEqual(moment);
    expect(ran - moment).toBeLessThan(1500);
  });

  it('past its deadline is dead without having run', async () => {
    const task = await w.client.submit('nobody-can', {}, { deadlineAt: new Date(Date.now() + 500) });
    expect(await w.client.outcome(task)).toMatchObject({ status: 'dead', reason: 'deadline' });
    await expect(w.client.result(task)).rejects.toMatchObject({ code: 'TASK_DEAD' });
    expect(await w.client.task(task.id)).toMatchObject({
      attempt: 0,
      error: { message: expect.stringContaining('deadline') },
    });
  });
});

describe('an attempt', () => {
  it('past its timeout is stopped through its signal and counts as failed', async () => {
    const reasons: unknown[] = [];
    await w.join(
      'dawdler',
      capability('dawdle').handle((_, context) => {
        context.signal.addEventListener('abort', () => reasons.push((context.signal.reason as { code: string }).code));
        return never();
      }),
    );
    const task = await w.client.submit('dawdle', {}, { timeoutMs: 200, retry: { max_attempts: 2, base_ms: 10 } });
    expect(await w.client.outcome(task)).toMatchObject({
      status: 'dead',
      reason: 'timeout',
      attempt: 2,
      error: { code: 'TIMED_OUT' },
    });
    expect(reasons).toEqual(['TIMED_OUT', 'TIMED_OUT']);
  }, 20_000);

  it('that fails is tried again after a growing pause; the last error stays', async () => {
    const tries: number[] = [];
    await w.join(
      'stumbler',
      capability('stumble').handle((_, context) => {
        tries.push(Date.now());
        throw new Error(`broke at ${context.attempt}`);
      }),
    );
    const task = await w.client.submit('stumble', {}, { retry: { max_attempts: 3, base_ms: 200, factor: 2 } });
    expect(await w.client.outcome(task)).toMatchObject({
      status: 'dead',
      reason: 'attempts_exhausted',
      attempt: 3,
      error: { message: 'broke at 3' },
    });
    const retries = w.seen('task.retrying', { task: task.id });
    expect(retries.map((record) => record.attempt)).toEqual([1, 2]);
    tries.slice(1).forEach((at, i) => {
      expect(at - tries[i]!).toBeGreaterThanOrEqual(retries[i]!.after_ms - 2);
    });
    expect(await w.client.task(task.id)).toMatchObject({ failed_attempts: 3, error: { message: 'broke at 3' } });
  });

  it('that fails for good is the last', async () => {
    await w.join(
      'judge',
      capability('judge').handle(() => {
        throw Object.assign(new Error('guilty'), { retryable: false, code: 'GUILTY' });
      }),
    );
    const task = await w.client.submit('judge');
    expect(await w.client.outcome(task)).toMatchObject({
      status: 'dead',
      reason: 'not_retryable',
      attempt: 1,
      error: { code: 'GUILTY', message: 'guilty' },
    });
  });

  it('tells how far it is', async () => {
    let go: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    await w.join(
      'walker',
      capability('walk').handle(async (_, context) => {
        await context.progress(0.5, 'half way');
        await held;
      }),
    );
    const task = await w.client.submit('walk');
    await w.until('task.progressed', { task: task.id, fraction: 0.5 });
    expect(await w.client.task(task.id)).toMatchObject({
      status: 'running',
      progress: { fraction: 0.5, note: 'half way' },
    });
    go();
    await w.client.result(task);
  });
});

describe('a deadline', () => {
  it('that comes while the task runs ends it, and what its handler says afterwards changes nothing', async () => {
    let finish: (said: string) => void = () => {};
    await w.join(
      'overrunner',
      capability('overrun').handle(
        () =>
          new Promise<string>((resolve) => {
            finish = resolve;
          }),
      ),
    );
    const task = await w.client.submit('overrun', {}, { deadlineAt: new Date(Date.now() + 800) });
    await w.until('task.started', { task: task.id });
    expect(await w.client.outcome(task)).toMatchObject({ status: 'dead', reason: 'deadline' });
    finish('too late');
    await eventually(
      () => w.client.task(task.id),
      (seen) => seen?.status === 'dead',
    );
    expect((await w.client.task(task.id))?.result).toBeUndefined();
  });
});
