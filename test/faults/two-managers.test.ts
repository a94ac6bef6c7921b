// Two managers over the same store: each dependent is released once, whoever releases it, and one of them may die at it.
import { capability } from '../../src/agent/capability.js';
import { type World, world } from '../support/world.js';

let w: World;
beforeEach(async () => {
  w = await world();
});
afterEach(() => w.close());

function countsOf(tasks: readonly { task: string }[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { task } of tasks) counts.set(task, (counts.get(task) ?? 0) + 1);
  return counts;
}

it('release each dependent exactly once, though one of them is killed in the middle', async () => {
  const [first] = await Promise.all([w.spawnManager(), w.spawnManager()]);
  const offer = capability('work').handle((_, context) => context.key);
  await w.join('hand', offer, { concurrency: 20, drain: 'push' });

  // A fan-out above what one script call releases, twice, with joins: root -> 1,200 -> join -> 1,200 -> join.
  const fan = (name: string, after: string) =>
    Array.from({ length: 1200 }, (_, i) => ({ key: `${name}${i}`, capability: 'work', after: [after] }));
  const keysOf = (name: string) => Array.from({ length: 1200 }, (_, i) => `${name}${i}`);
  const run = await w.client.run({
    tasks: [
      { key: 'root', capability: 'work' },
      ...fan('a', 'root'),
      { key: 'join', capability: 'work', after: keysOf('a') },
      ...fan('b', 'join'),
      { key: 'end', capability: 'work', after: keysOf('b') },
    ],
  });
  await w.until('task.started', { task: `${run.id}.a600` });
  await first?.kill();
  expect(await w.client.runOutcome(run.id)).toEqual({ run: run.id, status: 'completed' });

  const starts = countsOf(w.seen('task.started'));
  expect([...starts].filter(([, n]) => n !== 1)).toEqual([]);
  expect([...starts.keys()].sort()).toEqual([...run.tasks].sort());
  expect([...countsOf(w.seen('task.ready'))].filter(([, n]) => n !== 1)).toEqual([]);
  expect(await w.client.runState(run.id)).toMatchObject({ total: 2403, done: 2403, failed: 0 });
}, 60_000);

it('carry on where a client died that had stored a run but not dispatched it', async () => {
  await Promise.all([w.spawnManager(), w.spawnManager()]);
  await w.join(
    'hand',
    capability('work').handle(() => 'done'),
  );
  const hurried = await w.connect('hurried');
  // The relay finds what was stored and never sent.
  hurried.instance.dispatcher.dispatch = () => {};
  const tasks = await Promise.all(Array.from({ length: 50 }, () => hurried.submit('work')));
  const results = await Promise.all(tasks.map((task) => w.client.result(task.id)));
  expect(results).toEqual(tasks.map(() => 'done'));
  expect([...countsOf(w.seen('task.started'))].filter(([, n]) => n !== 1)).toEqual([]);
});
