// Cancelling a task wherever it is on its road, and what becomes of those that wait for it; stopping and draining an agent.
import { capability } from '../../src/agent/capability.js';
import { eventually } from '../support/eventually.js';
import { type World, world } from '../support/world.js';

let w: World;
beforeAll(async () => {
  w = await world();
  await w.manager();
});
afterAll(() => w.close());

describe('cancel', () => {
  it('ends a task that is queued: it never runs', async () => {
    const task = await w.client.submit('unoffered', {});
    expect(await w.client.cancel(task)).toEqual({ cancelled: true, state: 'cancelled' });
    await expect(w.client.result(task)).rejects.toMatchObject({ code: 'TASK_CANCELLED' });
    expect(await w.client.cancel(task)).toEqual({ cancelled: false, state: 'cancelled' });
    await expect(w.client.cancel('nobody')).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' });
  });

  it('ends a task that is blocked, and its dependents by their rules, transitively', async () => {
    await w.join(
      'hand',
      capability('do').handle((_, context) => context.key),
    );
    const run = await w.client.run({
      tasks: [
        { key: 'gate', capability: 'do', constraints: { requires_approval: true } },
        { key: 'middle', capability: 'do', after: ['gate'] },
        { key: 'fails', capability: 'do', after: ['middle'] },
        { key: 'skips', capability: 'do', after: [{ task: 'middle', on_failure: 'skip' }] },
        { key: 'goes-on', capability: 'do', after: [{ task: 'middle', on_failure: 'continue' }] },
        { key: 'after-skip', capability: 'do', after: ['skips'] },
      ],
    });
    expect(await w.client.cancel(`${run.id}.middle`)).toMatchObject({ cancelled: true });
    expect(await w.client.result(`${run.id}.goes-on`)).toBe('goes-on');
    await w.client.approve(`${run.id}.gate`);
    expect(await w.client.runOutcome(run.id)).toMatchObject({ status: 'failed' });
    const states = Object.fromEntries(
      (await w.client.tasks({ run: run.id })).map((task) => [task.key, `${task.status} ${task.reason ?? ''}`.trim()]),
    );
    expect(states).toEqual({
      gate: 'completed',
      middle: 'cancelled cancelled_by_request',
      fails: 'cancelled dependency_cancelled',
      skips: 'cancelled dependency_skipped',
      'goes-on': 'completed',
      'after-skip': 'cancelled dependency_cancelled',
    });
  });

  it('stops a task that runs in another process, through its signal', async () => {
    await w.spawnAgent('far', { can: ['wait'] });
    const task = await w.client.submit('wait', { untilStopped: true });
    await w.until('task.started', { task: task.id });
    expect(await w.client.cancel(task)).toEqual({ cancelled: true, state: 'cancelled' });
    expect(await w.until('task.progressed', { task: task.id })).toMatchObject({ note: 'TASK_CANCELLED' });
    expect(await w.client.outcome(task)).toMatchObject({ status: 'cancelled', reason: 'cancelled_by_request' });
    // Its slot is free again.
    expect(await w.client.result(await w.client.submit('wait', { say: 'next' }))).toMatchObject({ say: 'next' });
  });

  it('ends all of a run that is unfinished', async () => {
    const run = await w.client.run({
      tasks: Array.from({ length: 120 }, (_, i) => ({ key: `t${i}`, capability: 'unoffered' })),
    });
    expect(await w.client.cancelRun(run.id)).toBe(120);
    expect(await w.client.runOutcome(run.id)).toMatchObject({ status: 'failed' });
  });
});

describe('an agent', () => {
  it('that stops hands back what it cannot finish, and no attempt is burned', async () => {
    const quick = { ...w.settings, MUSTER_DRAIN_MS: 50 };
    const { agent } = await import('../../src/agent/define.js');
    const aborted: unknown[] = [];
    const patient = capability('relay').handle(
      (_, context) =>
        new Promise((_resolve, reject) => {
          context.signal.addEventListener('abort', () => {
            aborted.push(context.signal.reason);
            reject(context.signal.reason);
          });
        }),
    );
    const first = await agent('runner-1', patient).start({ settings: quick });
    const task = await w.client.submit('relay', {}, { retry: { max_attempts: 1 } });
    await eventually(
      () => first.busy,
      (busy) => busy === 1,
    );
    await first.stop();
    expect(aborted).toHaveLength(1);
    expect(await w.client.task(task.id)).toMatchObject({ failed_attempts: 0, lost_attempts: 0 });

    const second = await w.join(
      'runner-2',
      capability('relay').handle(() => 'arrived'),
    );
    expect(await w.client.outcome(task)).toMatchObject({ status: 'completed', attempt: 2, output: 'arrived' });
    expect(await w.client.task(task.id)).toMatchObject({ failed_attempts: 0, agent: second.instance.id });
    expect((await w.client.agents({ include_offline: true })).map((match) => match.agent.agent_id)).not.toContain(
      'runner-1',
    );
  });

  it('that drains finishes what it has and takes nothing new, until another does', async () => {
    let finish: (said: string) => void = () => {};
    const leaving = await w.join(
      'leaver',
      capability('shift').handle(
        () =>
          new Promise<string>((resolve) => {
            finish = resolve;
          }),
      ),
      { concurrency: 1 },
    );
    const mine = await w.client.submit('shift');
    await w.until('task.started', { task: mine.id });
    const next = await w.client.submit('shift');
    // As an operator does it: through the registry.
    await w.client.instance.ports.agents.setDraining('leaver', true);
    await w.until('agent.draining', { agent: 'leaver' });
    finish('my last');
    expect(await w.client.result(mine)).toBe('my last');
    await eventually(
      () => leaving.busy,
      (busy) => busy === 0,
    );
    expect((await w.client.task(next.id))?.attempt).toBe(0);

    await w.join(
      'successor',
      capability('shift').handle(() => 'taken over'),
    );
    expect(await w.client.outcome(next)).toMatchObject({ output: 'taken over', attempt: 1 });
  });
});
