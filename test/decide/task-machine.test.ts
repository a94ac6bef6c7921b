// The laws of the task model, for any sequence of commands: what may never be false between two of them, and what they come to.
import fc from 'fast-check';
import type { FailureRule } from '../../src/contracts/task.js';
import { verdictOf } from '../../src/decide/settle.js';
import { apply } from '../../src/decide/task-machine.js';
import { emptyModel, type TaskModel, type TaskRecord } from '../../src/decide/task-model.js';
import { isFinalState, mayFollow, next, type StoredState } from '../../src/decide/task-state.js';
import type { NewTask } from '../../src/ports.js';
import { Chance, randomStep, resolve } from '../support/task-commands.js';
import { aContext, aTask, DIE } from '../support/task-stage.js';

const START = Date.UTC(2026, 0, 1);

describe('the table of states', () => {
  it('lets no final state go, and every other reach one', () => {
    for (const state of Object.keys(next) as StoredState[]) {
      expect(isFinalState(state)).toBe(['completed', 'dead', 'cancelled'].includes(state));
      if (!isFinalState(state)) expect(mayFollow(state, 'dead') && mayFollow(state, 'cancelled')).toBe(true);
    }
  });

  it('completes only what runs', () => {
    const before = (Object.keys(next) as StoredState[]).filter((state) => mayFollow(state, 'completed'));
    expect(before).toEqual(['running']);
  });
});

describe('after any command', () => {
  const sequences = fc.tuple(fc.integer(), fc.integer({ min: 1, max: 250 }));
  /** Plays a sequence; `look` is called after every command. */
  function play(
    seed: number,
    steps: number,
    look: (model: TaskModel, before: Map<TaskRecord, Seen>) => void,
  ): TaskModel {
    const chance = new Chance(seed);
    const model = emptyModel(3_600_000);
    let now = START;
    model.now = now;
    for (let i = 0; i < steps; i++) {
      const step = randomStep(chance, model);
      if ('pass' in step) {
        now += step.pass;
        model.now = now;
        continue;
      }
      for (const command of step.commands) {
        const before = new Map([...model.tasks.values()].map((record) => [record, seen(record)]));
        apply(model, resolve(command, model), now);
        look(model, before);
      }
    }
    return model;
  }
  /** What is wrong after a command, or undefined. Not by expect(), which is too slow to be asked this often. */
  type Law = (model: TaskModel, before: Map<TaskRecord, Seen>) => unknown;
  const broken = (record: TaskRecord): unknown => JSON.stringify({ ...record, open: [...record.open] });

  const legalWays: Law = (_, before) => {
    for (const [record, { state, outcome }] of before) {
      // A batch may take a task two steps: released and taken along, claimed and given back.
      if (isFinalState(state) && (record.state !== state || record.outcome !== outcome)) return broken(record);
    }
    return undefined;
  };

  const oneHolder: Law = (model) => {
    const held = [...model.held].flatMap(([holder, ids]) => [...ids].map((id) => `${id} ${holder}`));
    const running = [...model.tasks.values()].filter(({ state }) => state === 'running');
    return differ(
      held,
      running.map(({ task, holder }) => `${task.id} ${holder}`),
    );
  };

  const onePlace: Law = (model) => {
    const records = [...model.tasks.values()];
    const inState = (...states: StoredState[]) =>
      records.filter(({ state }) => states.includes(state)).map(({ task }) => task.id);
    for (const record of records) {
      const over = isFinalState(record.state);
      if ((record.outcome !== undefined) !== over || (record.finishedAt !== undefined) !== over) return broken(record);
      if (record.state !== 'blocked' && record.open.size > 0) return broken(record);
    }
    const outbox = model.ready.flatMap((index) => [...index.keys()]);
    return differ(outbox, inState('ready')) ?? differ([...model.timers.keys()], inState('scheduled', 'retrying'));
  };

  const countedRuns: Law = (model) => {
    for (const [id, run] of model.runs) {
      if ((model.retention.get(id) ?? Number.POSITIVE_INFINITY) <= model.now) continue;
      const members = run.members.map((key) => model.tasks.get(key === '' ? id : `${id}.${key}`)!);
      const over = members.filter(({ state }) => isFinalState(state));
      const failed = over.filter(({ state }) => state !== 'completed').length;
      if (run.done !== over.length || run.failed !== failed) return run;
      if (run.state !== 'open' && (run.state === 'running') !== run.done < run.total) return run;
    }
    return undefined;
  };

  const released = new Set<TaskRecord>();
  const releasedOnce: Law = (model, before) => {
    for (const [record, { state }] of before) {
      if (state !== 'blocked' || !['ready', 'scheduled', 'running'].includes(record.state)) continue;
      if (released.has(record)) return broken(record);
      released.add(record);
      for (const { key, rule } of record.task.dependencies) {
        const parent = model.tasks.get(key === '' ? record.run : `${record.run}.${key}`);
        if (parent === undefined || parent.state === 'completed') continue;
        if (rule !== 'continue' || !isFinalState(parent.state)) return broken(record);
      }
    }
    return undefined;
  };

  const growing: Law = (model, before) => {
    for (const [record, { token, attempt }] of before) {
      if (!model.tasks.has(record.task.id)) continue;
      if (record.token < token || record.attempt - attempt !== (record.token > token ? 1 : 0)) return broken(record);
    }
    return undefined;
  };

  it.each<[string, Law]>([
    ['a final task is as it was', legalWays],
    ['a task is held by the one who runs it, and by nobody else', oneHolder],
    ['every task is in the one place of its state', onePlace],
    ['a run knows how many of its tasks are over', countedRuns],
    ['a task was released when all it waited for was done by its rule, and once', releasedOnce],
    ['tokens and attempts only grew, together', growing],
  ])('%s', (_, law) => {
    const look = (model: TaskModel, before: Map<TaskRecord, Seen>): void => {
      const wrong = law(model, before);
      if (wrong !== undefined) throw new Error(String(wrong));
    };
    fc.assert(
      fc.property(sequences, ([seed, steps]) => void play(seed, steps, look)),
      { numRuns: 100 },
    );
  });

  it('settling again changes nothing', () => {
    fc.assert(
      fc.property(sequences, ([seed, steps]) => {
        const chance = new Chance(seed + 1);
        const model = play(seed, steps, () => undefined);
        const running = [...model.tasks.values()].filter(({ state }) => state === 'running');
        const verdict = { do: 'complete', output: '1' } as const;
        const settlements = running
          .filter(() => chance.hit(0.7))
          .map(({ task, token, holder }) => ({ id: task.id, token, holder: holder!, verdict }));
        const first = apply(model, { do: 'settle', settlements }, model.now);
        expect(first.every(({ outcome }) => outcome === 'settled')).toBe(true);
        const stored = dump(model);
        const again = apply(
          model,
          { do: 'settle', settlements: settlements.map((s) => ({ ...s, verdict: DIE })) },
          model.now,
        );
        expect(
          again.every(({ outcome, ready, ended }) => outcome === 'stale' && ready.length + ended.length === 0),
        ).toBe(true);
        expect(dump(model)).toBe(stored);
      }),
      { numRuns: 60 },
    );
  });
});

describe('in the end', () => {
  const RULES: readonly FailureRule[] = ['fail', 'skip', 'continue'];
  const seeds = fc.tuple(fc.integer(), fc.integer({ min: 1, max: 25 }), fc.integer(), fc.integer());

  it('every task is over, within its attempts, and so is the run', () => {
    fc.assert(
      fc.property(seeds, ([shape, size, order]) => {
        const tasks = randomRun(new Chance(shape), size, RULES);
        const model = workOff(tasks, new Set(), new Chance(order), 0.3);
        for (const { state, failed, task } of model.tasks.values()) {
          expect(isFinalState(state)).toBe(true);
          expect(failed).toBeLessThanOrEqual(task.maxAttempts);
        }
        expect(model.runs.get('r')).toMatchObject({ done: size, total: size });
        expect(model.held.size + model.timers.size + model.releasing.size + model.dependents.size).toBe(0);
      }),
    );
  });

  it('the same tasks are completed, in whatever order they were settled', () => {
    fc.assert(
      fc.property(seeds, ([shape, size, one, other]) => {
        const chance = new Chance(shape);
        const tasks = randomRun(chance, size, RULES);
        const doomed = new Set(chance.some(tasks, 3).map(({ id }) => id));
        const completed = (order: number) =>
          [...workOff(tasks, doomed, new Chance(order)).tasks.values()].filter(({ state }) => state === 'completed');
        const ids = (records: TaskRecord[]) => records.map(({ task }) => task.id);
        expect(ids(completed(one))).toEqual(ids(completed(other)));
      }),
    );
  });

  it('all states are the same where a failure has one consequence', () => {
    fc.assert(
      fc.property(seeds, ([shape, size, one, other]) => {
        const chance = new Chance(shape);
        // Where rules are mixed, or the dead and the cancelled meet, who is told first decides between dead and cancelled.
        const tasks = randomRun(chance, size, ['fail', 'continue']);
        const doomed = new Set(chance.some(tasks, 3).map(({ id }) => id));
        const states = (order: number) =>
          [...workOff(tasks, doomed, new Chance(order)).tasks.values()].map(({ task, state }) => `${task.id} ${state}`);
        expect(states(one)).toEqual(states(other));
      }),
    );
  });

  it('a dependent runs exactly when a naive walk over the run says so', () => {
    fc.assert(
      fc.property(seeds, ([shape, size, order]) => {
        const chance = new Chance(shape);
        const tasks = randomRun(chance, size, RULES);
        const doomed = new Set(chance.some(tasks, 3).map(({ id }) => id));
        const model = workOff(tasks, doomed, new Chance(order));
        const completes = new Map<string, boolean>();
        for (const { id, dependencies } of tasks) {
          const runs = dependencies.every(({ key, rule }) => rule === 'continue' || completes.get(`r.${key}`));
          completes.set(id, runs && !doomed.has(id));
        }
        for (const [id, record] of model.tasks) expect(record.state === 'completed').toBe(completes.get(id));
      }),
    );
  });

  function randomRun(chance: Chance, size: number, rules: readonly FailureRule[]): NewTask[] {
    const keys = Array.from({ length: size }, (_, i) => `t${i}`);
    return keys.map((key, i) => {
      const dependencies = chance.some(keys.slice(0, i), 4).map((on) => ({ key: on, rule: chance.one(rules) }));
      return aTask(`r.${key}`, { dependencies, maxAttempts: 1 + chance.below(3) });
    });
  }

  /** Runs everything that gets ready, in an order of chance; `doomed` tasks die, others fail now and then. */
  function workOff(tasks: readonly NewTask[], doomed: ReadonlySet<string>, order: Chance, failing = 0): TaskModel {
    const model = emptyModel();
    const run = { run: 'r', tasks, labels: {}, digest: 'd', append: false };
    apply(model, { do: 'submitRun', run, context: aContext() }, START);
    for (let now = START; ; now += 400_000) {
      apply(model, { do: 'release', limit: 500 }, now);
      const ready = model.ready.flatMap((index) => [...index.keys()]);
      if (ready.length === 0 && model.timers.size === 0) return model;
      if (ready.length === 0) continue;
      const id = order.one(ready);
      const claim = apply(model, { do: 'claim', id, holder: 'ann-1', redelivered: false }, now);
      if (claim.outcome !== 'granted') throw new Error(`${id} is ${claim.outcome}`);
      const error = { code: 'BROKE', message: 'broke' };
      const end = doomed.has(id)
        ? ({ kind: 'failed', error, retryable: false } as const)
        : order.hit(failing)
          ? ({ kind: 'failed', error, retryable: true } as const)
          : ({ kind: 'returned', output: '1' } as const);
      const verdict = verdictOf(end, { ...claim, random: order.next() });
      apply(model, { do: 'settle', settlements: [{ id, token: claim.token, holder: 'ann-1', verdict }] }, now);
    }
  }
});

function differ(some: readonly string[], others: readonly string[]): string | undefined {
  const [a, b] = [[...some].sort().join(), [...others].sort().join()];
  return a === b ? undefined : `${a} is not ${b}`;
}

interface Seen {
  readonly state: StoredState;
  readonly token: number;
  readonly attempt: number;
  readonly outcome: string | undefined;
}

function seen({ state, token, attempt, outcome }: TaskRecord): Seen {
  return { state, token, attempt, outcome };
}

function dump(model: TaskModel): string {
  return JSON.stringify(model, (_, value) => (value instanceof Map || value instanceof Set ? [...value] : value));
}
