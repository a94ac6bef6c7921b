// Tasks sent to the free agent with the smallest load: proportional to capacity, and never more than an agent has slots.
import { capability } from '../../src/agent/capability.js';
import { eventually } from '../support/eventually.js';
import { figure } from '../support/load.js';
import { type World, world } from '../support/world.js';

const CAPACITIES = { small: 2, middle: 4, large: 8 } as const;
type Name = keyof typeof CAPACITIES;
const NAMES = Object.keys(CAPACITIES) as Name[];

let w: World;
const running: Record<string, number> = {};
const most: Record<string, number> = {};
const finishers: (() => void)[] = [];
beforeAll(async () => {
  w = await world();
  await w.manager();
  const slow = capability('slow').handle(async (_, context) => {
    running[context.agent] = (running[context.agent] ?? 0) + 1;
    most[context.agent] = Math.max(most[context.agent] ?? 0, running[context.agent]!);
    await new Promise<void>((resolve) => finishers.push(resolve));
    running[context.agent]! -= 1;
    return context.agent;
  });
  await Promise.all(NAMES.map((name) => w.join(name, slow, { concurrency: CAPACITIES[name] })));
});
afterAll(() => w.close());

const submit = (count: number) =>
  Promise.all(Array.from({ length: count }, () => w.client.submit('slow', {}, { route: 'least-connections' })));
const inFlight = () => Object.values(running).reduce((sum, n) => sum + n, 0);

it('keeps the tasks in flight proportional to capacity at every level of load', async () => {
  const shares: string[] = [];
  for (let total = 1; total <= 14; total++) {
    await submit(1);
    await eventually(inFlight, (seen) => seen === total);
    shares.push(NAMES.map((name) => running[name] ?? 0).join('+'));
    // Each got its last task when its load was no larger than anyone else's is now, relative to capacity.
    for (const name of NAMES) {
      const before = ((running[name] ?? 0) - 1) / CAPACITIES[name];
      for (const other of NAMES) expect(before).toBeLessThanOrEqual((running[other] ?? 0) / CAPACITIES[other]);
    }
  }
  figure(`in flight at capacities 2, 4, 8: ${shares.join(', ')}`);
  expect(running).toEqual(CAPACITIES);
  const last = w.seen('task.submitted').length;
  for (const finish of finishers.splice(0)) finish();
  await eventually(
    () => w.seen('task.completed').length,
    (seen) => seen === last,
  );
});

it('never oversubscribes an agent when 100 are submitted at once, and all of them run', async () => {
  for (const name of NAMES) most[name] = 0;
  const tasks = await submit(100);
  await eventually(inFlight, (seen) => seen === 14);
  const ended = Promise.all(tasks.map((task) => w.client.result(task)));
  let isOver = false;
  void ended.finally(() => {
    isOver = true;
  });
  await eventually(
    () => {
      for (const finish of finishers.splice(0)) finish();
      return isOver;
    },
    (over) => over,
    { withinMs: 20_000 },
  );
  const by = await ended;
  expect(most).toEqual(CAPACITIES);
  figure(
    `100 at once: ${NAMES.map((name) => `${name} ${by.filter((agent) => agent === name).length}`).join(', ')}; at most ${JSON.stringify(most)} together`,
  );
}, 30_000);
