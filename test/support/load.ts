// Load for fault tests: runs of layered tasks, and what must be true of them when everything has come back.
import { capability } from '../../src/agent/capability.js';
import type { Client } from '../../src/agent/client.js';
import type { World } from './world.js';

export interface Load {
  readonly runs: readonly string[];
  readonly tasks: readonly string[];
}

const WIDTH = 6;
const LAYERS = 5;

/** Counts executions per task: more than one is allowed after a fault, never none. */
export function countingWork(ms: number) {
  const executions = new Map<string, number>();
  const offer = capability('work').handle(async (_, context) => {
    executions.set(context.id, (executions.get(context.id) ?? 0) + 1);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return context.key;
  });
  return { offer, executions };
}

/** Runs of 5 layers of 6 tasks; each task waits for two of the layer before. */
export async function submitLoad(client: Client, runs: number): Promise<Load> {
  const handles = await Promise.all(
    Array.from({ length: runs }, () =>
      client.run({
        tasks: Array.from({ length: WIDTH * LAYERS }, (_, i) => {
          const layer = Math.floor(i / WIDTH);
          const after = layer === 0 ? [] : [i - WIDTH, (layer - 1) * WIDTH + ((i + 1) % WIDTH)];
          return { key: `t${i}`, capability: 'work', after: after.map((n) => `t${n}`) };
        }),
      }),
    ),
  );
  return { runs: handles.map((handle) => handle.id), tasks: handles.flatMap((handle) => handle.tasks) };
}

/** Waits for every run, then compares: each task completed, and was said to be so once; nothing of it is left to do. */
export async function expectAllCompletedOnce(
  world: World,
  { runs, tasks }: Load,
  executions: ReadonlyMap<string, number>,
): Promise<void> {
  const outcomes = await Promise.all(runs.map((run) => world.client.runOutcome(run)));
  expect(outcomes).toEqual(runs.map((run) => ({ run, status: 'completed' })));
  const stored = (await Promise.all(runs.map((run) => world.client.tasks({ run, limit: 1000 })))).flat();
  expect(stored.map((task) => task.id).sort()).toEqual([...tasks].sort());
  expect(stored.filter((task) => task.status !== 'completed')).toEqual([]);
  expect(stored.filter((task) => task.result !== task.key)).toEqual([]);
  expect(tasks.filter((task) => !executions.has(task))).toEqual([]);
  const completed = new Map<string, number>();
  for (const { task } of world.seen('task.completed')) completed.set(task, (completed.get(task) ?? 0) + 1);
  expect(tasks.filter((task) => (completed.get(task) ?? 0) > 1)).toEqual([]);
  const { running, ready, timers } = await world.client.instance.ports.tasks.counts();
  expect({ running, ready, timers }).toEqual({ running: 0, ready: [0, 0, 0, 0], timers: 0 });
}

/** A figure for whoever reads the run: jest's own console adds a stack to every line. */
export function figure(text: string): void {
  process.stderr.write(`    ${text}\n`);
}
