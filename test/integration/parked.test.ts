// Tasks nobody can take yet: parked until a capability is offered, published again when their queue was emptied, held while paused.
import { capability } from '../../src/agent/capability.js';
import { eventually } from '../support/eventually.js';
import { type World, world } from '../support/world.js';

let w: World;
beforeEach(async () => {
  w = await world();
});
afterEach(() => w.close());

const echo = (name: string) => capability(name).handle((input) => input);

it('tasks for a capability nobody offers wait, and run once an agent offers it', async () => {
  await w.manager();
  const early = await Promise.all([1, 2, 3].map((n) => w.client.submit('novel', { n })));
  const addressed = await w.client.submit('novel', { n: 4 }, { assignedTo: 'author' });
  const least = await w.client.submit('novel', { n: 5 }, { route: 'least-connections' });
  await Promise.all(early.map((task) => w.until('task.dispatched', { task: task.id })));
  expect((await w.client.tasks({ capability: 'novel' })).map((task) => task.attempt)).toEqual([0, 0, 0, 0, 0]);

  await w.join('author', echo('novel'));
  const tasks = [...early, addressed, least];
  expect(await Promise.all(tasks.map((task) => w.client.result(task)))).toEqual([1, 2, 3, 4, 5].map((n) => ({ n })));
  expect(await w.client.instance.ports.bus.inspect(`${w.prefix}.unrouted`)).toMatchObject({ messages: 0 });
});

it("a stranger's task for a capability nobody offers is parked, and runs once an agent offers it", async () => {
  await w.manager();
  const channel = await (await w.amqp()).createConfirmChannel();
  channel.publish(`${w.prefix}.task`, 'task.foreign.p1', Buffer.from('{"capability":"foreign","parameters":{"n":1}}'), {
    messageId: 'from-outside',
    persistent: true,
  });
  await channel.waitForConfirms();
  await w.join('host', echo('foreign'));
  await w.until('task.completed', { task: 'from-outside' });
  expect(await w.client.result('from-outside')).toEqual({ n: 1 });
});

it('a task whose queue was emptied by an operator is published again when it is looked at', async () => {
  const holder = capability('fragile').handle((input) => input);
  const agent = await w.join('keeper', holder);
  await agent.stop();
  const tasks = await Promise.all([1, 2, 3].map((n) => w.client.submit('fragile', { n })));
  await Promise.all(tasks.map((task) => w.until('task.dispatched', { task: task.id })));
  const { bus, tasks: store } = w.client.instance.ports;
  await eventually(
    () => w.client.instance.ports.tasks.due(10),
    (due) => due.length === 0,
  );
  const channel = await (await w.amqp()).createChannel();
  expect(await channel.purgeQueue(w.queueOf('fragile'))).toEqual({ messageCount: 3 });

  // The look comes ten minutes after the broker confirmed; here at once.
  await store.dispatched(
    tasks.map(({ id }) => ({ id, priority: 2 })),
    0,
  );
  await w.manager();
  await eventually(
    () => bus.inspect(w.queueOf('fragile')),
    (seen) => seen?.messages === 3,
  );
  await w.join('keeper-2', holder);
  expect(await Promise.all(tasks.map((task) => w.client.result(task)))).toEqual([1, 2, 3].map((n) => ({ n })));
});

it('a task whose queue still holds messages is not published again when it is looked at', async () => {
  const agent = await w.join('keeper', echo('patient'));
  await agent.stop();
  const tasks = await Promise.all([1, 2, 3].map((n) => w.client.submit('patient', { n })));
  await Promise.all(tasks.map((task) => w.until('task.dispatched', { task: task.id })));
  const { bus, tasks: store } = w.client.instance.ports;
  await eventually(
    () => bus.inspect(w.queueOf('patient')),
    (seen) => seen?.messages === 3,
  );
  await store.dispatched(
    tasks.map(({ id }) => ({ id, priority: 2 })),
    0,
  );
  await w.manager();
  // Looked at: their next look is far away again.
  const nextLook = async () => {
    const scores = await w.redis.zrange(`${w.prefix}:ready:p2`, '0', '-1', 'WITHSCORES');
    return Math.min(...scores.filter((_, i) => i % 2 === 1).map(Number)) - Date.now();
  };
  await eventually(nextLook, (ms) => ms > 60_000);
  expect(await bus.inspect(w.queueOf('patient'))).toMatchObject({ messages: 3 });
  await w.join('keeper-2', echo('patient'));
  await Promise.all(tasks.map((task) => w.client.result(task)));
  expect(w.seen('task.duplicate')).toEqual([]);
});

it.each(['pull', 'push'] as const)(
  'a paused queue is left alone by every agent, and worked off once resumed (%s)',
  async (drain) => {
    const { agents } = w.client.instance.ports;
    const offers = [echo('still'), echo('moving')];
    await w.join('one', offers, { drain });
    await agents.setPaused('still', true);
    // Joined while it is paused: it must know.
    await w.join('two', offers, { drain });
    const still = await Promise.all(Array.from({ length: 20 }, (_, n) => w.client.submit('still', { n })));
    const direct = await w.client.submit('still', { n: 20 }, { route: 'least-connections' });
    const moving = await Promise.all(Array.from({ length: 40 }, (_, n) => w.client.submit('moving', { n })));
    await Promise.all(moving.map((task) => w.client.result(task)));
    expect(w.seen('task.started', { capability: 'still' })).toEqual([]);

    await w.manager();
    await agents.setPaused('still', false);
    const results = await Promise.all([...still, direct].map((task) => w.client.result(task)));
    expect(results).toEqual(Array.from({ length: 21 }, (_, n) => ({ n })));
  },
);
