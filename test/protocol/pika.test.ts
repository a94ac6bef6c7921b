// Python programs on the bus, with Debian's pika: the very files docs/protocol.md quotes.
import { z } from 'zod';
import { capability } from '../../src/index.js';
import { eventually } from '../support/eventually.js';
import { Foreign, missing } from './foreign.js';

const describeIf = missing('pika') === undefined ? describe : describe.skip;
const shout = capability('shout', { input: z.looseObject({ text: z.string() }) }).handle(({ text }, { agent }) => ({
  text: text.toUpperCase(),
  by: agent,
}));
const json = JSON.stringify;

describeIf('a Python program', () => {
  let foreign: Foreign;
  beforeEach(async () => {
    foreign = await Foreign.open();
  });
  afterEach(() => foreign.close());

  /** How a foreign task ended, once the store knows it. */
  const outcomeOf = async (id: string) => {
    await eventually(
      () => foreign.client.task(id),
      (task) => task !== undefined,
      { withinMs: 10_000 },
    );
    return foreign.client.outcome(id);
  };

  it('publishes a task that an SDK agent runs', async () => {
    await foreign.join('sdk', shout);
    const { code, out: id } = await foreign.run('publish_task.py', ['shout', json({ text: 'hello' }), 'p0']);
    expect(code).toBe(0);
    expect(await outcomeOf(id)).toMatchObject({ status: 'completed', output: { text: 'HELLO', by: 'sdk' } });
    expect(await foreign.client.task(id)).toMatchObject({ priority: 'P0', attempt: 1 });
  });

  it.each(['structured', 'binary'])('publishes a task as a CloudEvent, %s', async (mode) => {
    await foreign.join('sdk', shout);
    const { out: id } = await foreign.run('publish_cloudevent.py', [mode, 'shout', json({ text: 'event' })]);
    expect(await outcomeOf(id)).toMatchObject({ id, status: 'completed', output: { text: 'EVENT', by: 'sdk' } });
  });

  it('publishes a task for a capability nobody offers: it is parked, and runs once an agent offers it', async () => {
    const { out: id } = await foreign.run('publish_task.py', ['shout', json({ text: 'early' })]);
    expect(await foreign.client.task(id)).toBeUndefined();
    await foreign.join('sdk', shout);
    expect(await outcomeOf(id)).toMatchObject({ status: 'completed', output: { text: 'EARLY' } });
  });

  it('submits a run and is told its tasks; a cyclic one is refused, naming the cycle, and nothing is stored', async () => {
    await foreign.join('sdk', shout);
    const task = (key: string, ...after: string[]) => ({ key, capability: 'shout', parameters: { text: key }, after });
    const run = { id: 'good', tasks: [task('a'), task('b', 'a'), task('c', 'a', 'b')] };
    const accepted = await foreign.run('submit_run.py', [], json(run));
    expect(accepted).toMatchObject({ code: 0 });
    expect(JSON.parse(accepted.out)).toEqual({
      status: 'accepted',
      run: 'good',
      tasks: ['good.a', 'good.b', 'good.c'],
    });
    expect(await foreign.client.runOutcome('good')).toMatchObject({ status: 'completed' });

    const cyclic = { id: 'bad', tasks: [task('a', 'c'), task('b', 'a'), task('c', 'b')] };
    const refused = await foreign.run('submit_run.py', [], json(cyclic));
    expect(refused.code).toBe(1);
    const answer = JSON.parse(refused.out) as { status: string; error: { code: string; message: string } };
    expect(answer).toMatchObject({ status: 'refused', error: { code: 'CYCLIC_RUN' } });
    expect(answer.error.message).toMatch(
      /a -> (c -> b|b -> c) -> a|b -> (a -> c|c -> a) -> b|c -> (b -> a|a -> b) -> c/,
    );
    expect(await foreign.client.runState('bad')).toBeUndefined();
  });

  it('publishes what cannot be read: it lies in the dead-letter queue with the reason and its original bytes', async () => {
    const bytes = '{"tasks": [{"capability": "shout"';
    const refused = await foreign.run('submit_run.py', [], bytes);
    expect(JSON.parse(refused.out)).toMatchObject({ status: 'refused', error: { code: 'MALFORMED' } });
    const { body, headers } = await foreign.malformed();
    expect(body).toBe(bytes);
    expect(headers).toMatchObject({ 'x-muster-error-code': 'MALFORMED', 'x-muster-key': 'run' });
    expect(headers['x-muster-error-message']).toMatch(/cannot be read/);
  });

  it('asks an SDK agent, and is answered', async () => {
    await foreign.join('sdk', shout);
    const { code, out } = await foreign.run('request.py', ['shout', json({ text: 'now' })]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ status: 'success', source_agent: 'sdk', result: { text: 'NOW' } });
  });

  it('hears events', async () => {
    const { lines } = await foreign.start('events.py', ['event.task.#'], 'listening');
    await foreign.join('sdk', shout);
    const { out: id } = await foreign.run('publish_task.py', ['shout', json({ text: 'x' })]);
    const heard = await eventually(
      () => lines.map((line) => JSON.parse(line) as { event: string; task: string }),
      (events) => events.some((event) => event.event === 'task.completed'),
    );
    expect(heard.map(({ event, task }) => [event, task])).toEqual(
      ['task.submitted', 'task.started', 'task.completed'].map((event) => [event, id]),
    );
  });
});

describeIf('an agent in Python', () => {
  let foreign: Foreign;
  beforeEach(async () => {
    foreign = await Foreign.open();
    await foreign.startAgent('agent.py', 'pika', 'shout', 'ready');
  });
  afterEach(() => foreign.close());

  const joined = () =>
    eventually(
      () => foreign.client.agents({ capabilities: ['shout'] }),
      (found) => found.length > 0,
    );

  it('is in the registry, and runs the tasks of SDK clients, urgent first', async () => {
    const [match] = await joined();
    expect(match!.agent).toMatchObject({ agent_id: 'pika', kind: 'bus', instance: 'bus:pika', status: 'active' });
    const task = await foreign.client.submit('shout', { text: 'hello' });
    expect(await foreign.client.result(task)).toEqual({ text: 'HELLO', by: 'pika' });
    expect(await foreign.client.task(task.id)).toMatchObject({
      attempt: 1,
      agent: 'bus:pika',
      progress: { fraction: 0.1, note: 'warming up' },
    });
  });

  it('runs the task of a Python publisher: two strangers, one record', async () => {
    const { out: id } = await foreign.run('publish_task.py', ['shout', json({ text: 'us' }), 'p1']);
    await eventually(
      () => foreign.client.task(id),
      (task) => task !== undefined,
    );
    expect(await foreign.client.outcome(id)).toMatchObject({ status: 'completed', output: { text: 'US', by: 'pika' } });
    expect(await foreign.client.task(id)).toMatchObject({ priority: 'P1', attempt: 1 });
  });

  it('fails an attempt and is given the next one', async () => {
    const options = { retry: { max_attempts: 3, base_ms: 50 } };
    const task = await foreign.client.submit('shout', { text: 'again', failures: 1 }, options);
    expect(await foreign.client.result(task)).toEqual({ text: 'AGAIN', by: 'pika' });
    expect(await foreign.client.task(task.id)).toMatchObject({ attempt: 2, failed_attempts: 1 });
  });

  it('fails for good: no other attempt is made', async () => {
    const task = await foreign.client.submit('shout', { no: 'text' });
    expect(await foreign.client.outcome(task)).toMatchObject({
      status: 'dead',
      reason: 'not_retryable',
      error: { code: 'KeyError' },
    });
  });

  it('reports to two managers at once: no report is lost, no attempt counted twice', async () => {
    await foreign.addManager();
    const options = { retry: { max_attempts: 3, base_ms: 1 } };
    const parameters = (n: number) => ({ text: `t${n}`, failures: n % 2 });
    const tasks = await Promise.all(
      Array.from({ length: 30 }, (_, n) => foreign.client.submit('shout', parameters(n), options)),
    );
    const strangers = await Promise.all(
      [1, 2, 3].map((n) => foreign.run('publish_task.py', ['shout', json({ text: `s${n}` })])),
    );
    await Promise.all(tasks.map((task) => foreign.client.result(task)));
    const ended = await Promise.all(tasks.map(({ id }) => foreign.client.task(id)));
    expect(ended.map((task) => [task!.attempt, task!.failed_attempts, task!.lost_attempts])).toEqual(
      tasks.map((_, n) => [1 + (n % 2), n % 2, 0]),
    );
    for (const { out: id } of strangers) {
      await eventually(
        () => foreign.client.task(id),
        (task) => task !== undefined,
      );
      expect(await foreign.client.outcome(id)).toMatchObject({ status: 'completed', attempt: 1 });
    }
  });

  it('is killed mid-task: the broker gives the task to another, and no attempt is burned', async () => {
    const { child } = await foreign.startAgent('agent.py', 'pika-2', 'shout', 'ready');
    const slow = await Promise.all(
      [1, 2].map((n) => foreign.client.submit('shout', { text: `slow ${n}`, seconds: 2 })),
    );
    const states = async () =>
      (await Promise.all(slow.map(({ id }) => foreign.client.task(id)))).map((task) => task?.agent);
    await eventually(states, (agents) => agents.includes('bus:pika') && agents.includes('bus:pika-2'));
    child.kill('SIGKILL');
    const outcomes = await Promise.all(slow.map((task) => foreign.client.outcome(task)));
    expect(outcomes.map(({ status, output }) => [status, (output as { by: string }).by])).toEqual([
      ['completed', 'pika'],
      ['completed', 'pika'],
    ]);
    const lost = await Promise.all(slow.map(({ id }) => foreign.client.task(id)));
    expect(lost.map((task) => task!.lost_attempts).sort()).toEqual([0, 1]);
    expect(lost.map((task) => task!.failed_attempts)).toEqual([0, 0]);
  });

  it('answers requests', async () => {
    await joined();
    expect(await foreign.client.request('pika', 'shout', { text: 'you' }, { timeoutMs: 5000 })).toEqual({
      text: 'YOU',
      by: 'pika',
    });
    await expect(foreign.client.request('shout', 'shout', {}, { timeoutMs: 5000 })).rejects.toMatchObject({
      code: 'REQUEST_FAILED',
    });
  });

  it('takes a task that is addressed to it', async () => {
    await joined();
    const task = await foreign.client.submit('shout', { text: 'mine' }, { assignedTo: 'pika' });
    expect(await foreign.client.result(task)).toEqual({ text: 'MINE', by: 'pika' });
  });
});
