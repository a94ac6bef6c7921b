// Urgent work goes first, and the rest still gets its turn: the scheduler of an agent on real queues.

import type { RunningAgent } from '../../src/agent/agent.js';
import { capability } from '../../src/agent/capability.js';
import { DEFAULT_WEIGHTS, starvationBound } from '../../src/decide/drain.js';
import { eventually } from '../support/eventually.js';
import { figure } from '../support/load.js';
import { type World, world } from '../support/world.js';

const BACKLOG = 10_000;

let w: World;
beforeEach(async () => {
  w = await world();
});
afterEach(() => w.close(), 30_000);

/** Tasks that are done when the test says so, in the order they began. */
function gated() {
  const begun: { priority: string; finish: () => void }[] = [];
  const offer = capability('work').handle(
    (_, context) =>
      new Promise<string>((resolve) => {
        begun.push({ priority: context.priority, finish: () => resolve(context.priority) });
      }),
  );
  return { begun, offer };
}

const begins = (begun: readonly unknown[], count: number) =>
  eventually(
    () => begun.length,
    (seen) => seen >= count,
  );

async function backlog(count: number): Promise<void> {
  await w.client.run({
    tasks: Array.from({ length: count }, (_, i) => ({ key: `t${i}`, capability: 'work', priority: 'P2' })),
  });
  await eventually(
    () => w.seen('task.dispatched').length,
    (seen) => seen >= count,
    { withinMs: 30_000 },
  );
}

/** What is still in hand goes back; nobody waits for the backlog. */
async function leave(agent: RunningAgent, begun: readonly { finish: () => void }[]): Promise<void> {
  const stopped = agent.stop();
  for (const task of begun) task.finish();
  await stopped;
}

it.each(['pull', 'push'] as const)(
  'behind 10,000 P2 with all slots busy, a P0 is the next to start (%s)',
  async (drain) => {
    const { begun, offer } = gated();
    const agent = await w.join('busy', offer, { concurrency: 2, drain });
    const first = performance.now();
    await backlog(BACKLOG);
    figure(`${drain}: ${BACKLOG} tasks accepted and dispatched in ${Math.round(performance.now() - first)} ms`);
    await begins(begun, 2);

    const urgent = await w.client.submit('work', {}, { priority: 'P0' });
    await w.until('task.dispatched', { task: urgent.id });
    begun[0]!.finish();
    const started = await w.until('task.started', { task: urgent.id });
    expect(begun.map((task) => task.priority)).toEqual(['P2', 'P2', 'P0']);
    figure(`${drain}: the P0 waited ${started.waited_ms} ms, and no other task began before it`);
    await leave(agent, begun);
  },
  60_000,
);

it.each(['pull', 'push'] as const)(
  'with a slot reserved for P0, one starts while all others are busy (%s)',
  async (drain) => {
    const { begun, offer } = gated();
    const agent = await w.join('guarded', offer, { concurrency: 3, reserveP0: 1, drain });
    await backlog(20);
    await begins(begun, 2);
    const urgent = await w.client.submit('work', {}, { priority: 'P0' });
    const { waited_ms } = await w.until('task.started', { task: urgent.id });
    expect(begun.map((task) => task.priority)).toEqual(['P2', 'P2', 'P0']);
    figure(`${drain}: the P0 in its reserved slot waited ${waited_ms} ms`);
    begun[2]!.finish();
    await w.until('task.completed', { task: urgent.id });
    // The reserved slot is free again, and stays so though others wait.
    expect(begun).toHaveLength(3);
    await leave(agent, begun);
  },
);

it.each(['pull', 'push'] as const)('a P3 under constant P1 load is served within the bound (%s)', async (drain) => {
  const bound = starvationBound(DEFAULT_WEIGHTS, 3);
  const begun: string[] = [];
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const offer = capability('work').handle(async (input, context) => {
    if ((input as { first?: boolean }).first === true) await gate;
    else begun.push(context.priority);
  });
  await w.join('steady', offer, { concurrency: 1, drain });
  const first = await w.client.submit('work', { first: true }, { priority: 'P0' });
  await w.until('task.started', { task: first.id });
  // More P1 than may ever go past, so that there is one to prefer at every pick.
  await Promise.all(Array.from({ length: 3 * bound }, () => w.client.submit('work', {}, { priority: 'P1' })));
  const low = await w.client.submit('work', {}, { priority: 'P3' });
  await eventually(
    () => w.seen('task.dispatched').length,
    (seen) => seen === 3 * bound + 2,
  );
  open();
  await w.until('task.started', { task: low.id });
  await eventually(
    () => begun.indexOf('P3'),
    (at) => at >= 0,
  );
  expect(begun.indexOf('P3')).toBeLessThanOrEqual(bound);
  figure(`${drain}: ${begun.indexOf('P3')} P1 went past the P3 (bound ${bound})`);
});
