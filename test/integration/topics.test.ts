// Publish and subscribe: patterns, Muster's own events, and subscriptions that keep what they missed.

import { capability } from '../../src/agent/capability.js';
import type { TopicEvent } from '../../src/agent/topics.js';
import { eventually } from '../support/eventually.js';
import { type World, world } from '../support/world.js';

let w: World;
beforeAll(async () => {
  w = await world();
});
afterAll(() => w.close());

it('an event reaches every pattern it matches, and no other', async () => {
  const heard: Record<string, string[]> = { 'build.*': [], 'build.#': [], '#.failed': [], 'build.done': [] };
  for (const [pattern, list] of Object.entries(heard)) {
    await w.client.subscribe(pattern, (event) => void list.push(event.event));
  }
  const elsewhere = await w.connect('elsewhere');
  for (const topic of ['build.done', 'build.site.failed', 'deploy.failed', 'build.done']) {
    await elsewhere.publish(topic, { n: 1 });
  }
  await eventually(
    () => heard,
    (seen) => seen['#.failed']!.length === 2 && seen['build.#']!.length === 3 && seen['build.done']!.length === 2,
  );
  expect(heard).toEqual({
    'build.*': ['build.done', 'build.done'],
    'build.#': ['build.done', 'build.site.failed', 'build.done'],
    '#.failed': ['build.site.failed', 'deploy.failed'],
    'build.done': ['build.done', 'build.done'],
  });
});

it("Muster's own events are heard by whoever subscribes, with what they say", async () => {
  const heard: TopicEvent[] = [];
  await w.client.subscribe('task.#', (event) => void heard.push(event));
  await w.join(
    'hand',
    capability('work').handle(() => 'done'),
  );
  const task = await w.client.submit('work');
  await w.client.result(task);
  await eventually(
    () => heard.filter((event) => event.task === task.id).map((event) => event.event),
    (seen) =>
      ['task.submitted', 'task.dispatched', 'task.started', 'task.completed'].every((name) => seen.includes(name)),
  );
  expect(heard.find((event) => event.event === 'task.completed')).toMatchObject({
    capability: 'work',
    agent: 'hand',
    attempt: 1,
  });
});

it('a durable subscription keeps events while nobody listens, and delivers again what its handler failed at', async () => {
  w.noteDurable('archive');
  const first = await w.client.subscribe('order.*', () => {}, { durable: 'archive' });
  await first.cancel();
  for (let n = 1; n <= 50; n++) await w.client.publish('order.placed', { n });

  const elsewhere = await w.connect('elsewhere');
  const heard: number[] = [];
  let failed = 0;
  await elsewhere.subscribe(
    'order.*',
    (event) => {
      const { n } = event.data as { n: number };
      if (n === 7 && failed++ < 2) throw new Error('disk full');
      heard.push(n);
    },
    { durable: 'archive' },
  );
  await eventually(
    () => heard.length,
    (seen) => seen >= 50,
  );
  expect(failed).toBe(3);
  expect([...heard].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
});

it('a subscription that ended hears nothing more, and leaves no queue', async () => {
  const heard: string[] = [];
  const subscription = await w.client.subscribe('ping.*', (event) => void heard.push(event.event));
  const witness: string[] = [];
  await w.client.subscribe('ping.*', (event) => void witness.push(event.event));
  await subscription.cancel();
  await w.client.publish('ping.one', {});
  await eventually(
    () => witness,
    (seen) => seen.length === 1,
  );
  expect(heard).toEqual([]);
});

it.each(['', 'Build.Done', 'a..b', '#', 'a b', 'task.completed', 'x'.repeat(201)])(
  'the topic %j is refused',
  async (topic) => {
    await expect(w.client.publish(topic, {})).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  },
);

it.each(['', 'a.', 'a#', '**', 'x'.repeat(201)])('the pattern %j is refused', async (pattern) => {
  await expect((async () => w.client.subscribe(pattern, () => {}))()).rejects.toMatchObject({ code: 'INVALID_INPUT' });
});
