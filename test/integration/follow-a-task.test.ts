// One task along the whole road: submitted, stored, dispatched, delivered, claimed, run, settled, its dependents released, its
// result told. What each hop leaves behind is looked at where a stranger would: on the wire, in the record, in the events.
import type { ConsumeMessage } from 'amqplib';
import { capability } from '../../src/agent/capability.js';
import { type World, world } from '../support/world.js';

let w: World;
beforeAll(async () => {
  w = await world();
});
afterAll(() => w.close());

/** What arrives first on an exchange for a key, seen by a queue of one's own beside the agents'. */
async function tap(exchange: string, key: string): Promise<{ readonly first: Promise<ConsumeMessage> }> {
  const channel = await (await w.amqp()).createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, `${w.prefix}.${exchange}`, key);
  let hear: (message: ConsumeMessage) => void = () => {};
  const first = new Promise<ConsumeMessage>((resolve) => {
    hear = resolve;
  });
  await channel.consume(queue, (message) => message !== null && hear(message), { noAck: true });
  return { first };
}

describe('a task', () => {
  it('passes every hop in order, carries its context in scalar headers, and is told to whoever asks', async () => {
    const double = capability('double').handle((input) => ({ twice: 2 * (input as { n: number }).n }));
    const doubler = await w.join('doubler', double);
    const wire = await tap('task', 'task.double.p1');

    const task = await w.client.submit('double', { n: 21 }, { priority: 'high' });
    const elsewhere = await w.connect('elsewhere');
    expect(await elsewhere.result(task.id)).toEqual({ twice: 42 });
    expect(await w.client.result(task)).toEqual({ twice: 42 });

    await w.until('task.dispatched', { task: task.id });
    const road = w.events.filter((record) => 'task' in record && record.task === task.id);
    expect(road.map((record) => record.event).filter((name) => name !== 'task.dispatched')).toEqual([
      'task.submitted',
      'task.started',
      'task.completed',
    ]);
    expect(w.seen('task.dispatched', { task: task.id })).toMatchObject([
      { exchange: `${w.prefix}.task`, routing_key: 'task.double.p1' },
    ]);

    const { properties, content } = await wire.first;
    expect(properties).toMatchObject({
      messageId: task.id,
      correlationId: task.id,
      contentType: 'application/json',
      deliveryMode: 2,
      type: 'task',
    });
    const stored = await w.client.task(task.id);
    // Nothing but the trace: what is at its default is not said.
    expect(properties.headers).toEqual({ traceparent: stored?.traceparent });
    expect(JSON.parse(content.toString())).toMatchObject({ id: task.id, capability: 'double', parameters: { n: 21 } });

    expect(stored).toMatchObject({
      id: task.id,
      run: task.id,
      key: '',
      capability: 'double',
      priority: 'P1',
      status: 'completed',
      attempt: 1,
      failed_attempts: 0,
      lost_attempts: 0,
      agent: doubler.instance.id,
      result: { twice: 42 },
    });
    const times = [stored?.submitted_at, stored?.ready_at, stored?.started_at, stored?.finished_at];
    expect([...times].sort()).toEqual(times);
  });

  it('reads the results of the tasks it waited for, by their keys', async () => {
    await w.join('adder', [
      capability('number').handle((input) => (input as { is: number }).is),
      capability('sum').handle(async (_, context) => {
        const results = await context.dependencies();
        return { of: results, is: Object.values(results).reduce((a: number, b) => a + (b as number), 0) };
      }),
    ]);
    const run = await w.client.run({
      tasks: [
        { key: 'two', capability: 'number', parameters: { is: 2 } },
        { key: 'three', capability: 'number', parameters: { is: 3 } },
        { key: 'sum', capability: 'sum', after: ['two', 'three'] },
      ],
    });
    expect(await w.client.result(`${run.id}.sum`)).toEqual({ of: { two: 2, three: 3 }, is: 5 });
    expect(await w.client.runOutcome(run.id)).toEqual({ run: run.id, status: 'completed' });

    const more = await w.client
      .submit('sum', {}, { after: [`${run.id}.sum`, `${run.id}.two`], key: 'again' })
      .catch((e) => e);
    expect(more).toMatchObject({ id: `${run.id}.again` });
    await expect(w.client.result(more)).resolves.toMatchObject({ of: { two: 2 } });
  });

  it('submitted by a handler carries its root and one hop more, and a circle of submissions ends at the limit', async () => {
    const problem = new Promise<Error>((resolve) => {
      const again = capability('again', { retry: { max_attempts: 1 } }).handle(async (input, context) => {
        const { n } = input as { n: number };
        const next = await context.client.submit('again', { n: n + 1 }).catch((error) => {
          resolve(error);
          throw error;
        });
        return { next: next.id };
      });
      void w.join('ouroboros', again, { concurrency: 1 }).then(() => w.client.submit('again', { n: 0 }));
    });
    expect(await problem).toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('33 submissions away'),
    });
    const dead = await w.until('task.dead', { capability: 'again' });
    const started = w.seen('task.started', { capability: 'again' });
    expect(started).toHaveLength(33);
    expect(dead.task).toBe(started[32]?.task);
    // One trace, and one root, from the first to the last.
    const root = started[0]!.task;
    expect(await w.redis.hget(`${w.prefix}:task:{${dead.task}}`, 'rt')).toBe(root);
    const [first, last] = await Promise.all([w.client.task(root), w.client.task(dead.task)]);
    expect(last?.traceparent?.split('-')[1]).toBe(first?.traceparent?.split('-')[1]);
  });

  it('submitted twice under one idempotency key runs once, and another body under that key is refused', async () => {
    let runs = 0;
    await w.join(
      'counter',
      capability('count').handle(() => ++runs),
    );
    const [one, two] = await Promise.all(
      [w.client, await w.connect('twin')].map((client) =>
        client.submit('count', { n: 1 }, { idempotencyKey: 'only-once' }),
      ),
    );
    expect(two?.id).toBe(one?.id);
    expect(await w.client.result(one!)).toBe(1);
    await expect(w.client.submit('count', { n: 2 }, { idempotencyKey: 'only-once' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
    expect(await w.client.result((await w.client.submit('count', { n: 1 }, { idempotencyKey: 'only-once' })).id)).toBe(
      1,
    );
    expect(runs).toBe(1);
  });

  it('whose result is too large to send is dead at once, and its agent goes on', async () => {
    await w.join(
      'hoarder',
      capability('hoard').handle((input) => 'x'.repeat((input as { bytes: number }).bytes)),
    );
    const task = await w.client.submit('hoard', { bytes: 2_000_000 });
    await expect(w.client.outcome(task)).resolves.toMatchObject({
      status: 'dead',
      reason: 'not_retryable',
      attempt: 1,
      error: { code: 'PAYLOAD_TOO_LARGE' },
    });
    expect(await w.client.result(await w.client.submit('hoard', { bytes: 3 }))).toBe('xxx');
  });
});
