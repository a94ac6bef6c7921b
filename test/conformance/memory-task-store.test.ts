// The in-memory TaskStore keeps the promises of the port.
import { ManualClock } from '../../src/testing/manual-clock.js';
import { MemoryTaskWorld } from '../../src/testing/memory-task-store.js';
import { aContext, aTask, RETENTION } from '../support/task-stage.js';
import { testTaskStore } from './task-store.suite.js';

testTaskStore(async () => {
  const clock = new ManualClock();
  const world = new MemoryTaskWorld(clock, { retentionMs: RETENTION });
  return {
    store: world.store(),
    another: async () => world.store(),
    now: () => clock.now(),
    pass: (ms) => clock.advance(ms),
    register: async () => undefined,
    stored: async () => {
      const { model } = world;
      const ofTask = [
        ...model.tasks.keys(),
        ...model.dependents.keys(),
        ...model.watchers.keys(),
        ...model.runs.keys(),
      ];
      const indexes = [
        ...model.ready,
        model.timers,
        model.deadlines,
        model.releasing,
        model.retention,
        model.submitted,
      ];
      return [...ofTask, ...indexes.flatMap((index) => [...index.keys()]), ...model.held.keys()];
    },
    close: async () => undefined,
  };
});

describe('a world of tasks in memory', () => {
  it('knows how much each instance holds, and says which slots are free again', async () => {
    const world = new MemoryTaskWorld(new ManualClock());
    const freed: string[] = [];
    world.onClaimedOrEnded((id) => freed.push(id));
    const store = world.store();
    await store.submit(aTask('s'), aContext(), 'd');
    await store.submit(aTask('t'), aContext(), 'd');
    expect(world.held('ann-1')).toBe(0);
    await store.claim({ id: 's', holder: 'ann-1', redelivered: false });
    await store.cancel('t', { state: 'cancelled', reason: 'cancelled_by_request' });
    expect(world.held('ann-1')).toBe(1);
    expect(freed).toEqual(['s', 't']);
  });

  it('can be away', async () => {
    const world = new MemoryTaskWorld(new ManualClock());
    world.outage = 'pulled the plug';
    const store = world.store();
    await expect(store.submit(aTask('s'), aContext(), 'd')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await expect(store.find('s')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    world.outage = undefined;
    expect(await store.find('s')).toBeUndefined();
  });

  it('hands out copies', async () => {
    const world = new MemoryTaskWorld(new ManualClock());
    const store = world.store();
    const task = { ...aTask('s'), capability: 'build' };
    await store.submit(task, aContext(), 'd');
    task.capability = 'changed';
    const found = await store.find('s');
    found!.after.push({ task: 'x', on_failure: 'fail' });
    expect(await store.find('s')).toMatchObject({ capability: 'build', after: [] });
  });
});
