// Random commands for the task store, drawn with an eye on the model, so that most of them hit something. From a seed only:
// the same seed gives the same commands. For the laws of the model, and for holding the scripts to it.
import type { PriorityClass } from '../../src/contracts/priority.js';
import type { FailureRule } from '../../src/contracts/task.js';
import type { RunPart } from '../../src/decide/submit-run.js';
import type { Command } from '../../src/decide/task-machine.js';
import type { TaskModel } from '../../src/decide/task-model.js';
import type { StoredState } from '../../src/decide/task-state.js';
import type { NewRun, NewTask, Settlement, SubmitContext } from '../../src/ports.js';

/** Numbers that look random and are the same for the same seed (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  hit(probability: number): boolean {
    return this.next() < probability;
  }

  one<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  some<T>(from: readonly T[], most: number): T[] {
    const left = [...from];
    const taken: T[] = [];
    for (let n = this.below(Math.min(most, left.length) + 1); n > 0; n--) {
      taken.push(...left.splice(this.below(left.length), 1));
    }
    return taken;
  }
}

/** One turn: time passes, or commands of one kind leave together. `current` stands for the token a task has by then. */
export type Step = { readonly pass: number } | { readonly commands: readonly (Command | CurrentSettle)[] };
/** A settlement by whoever holds the task when it is carried out. */
interface CurrentSettle {
  readonly do: 'settleCurrent';
  readonly settlements: readonly (Omit<Settlement, 'token'> & { readonly token: number | 'current' })[];
}

export const SINGLES = ['s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9'];
export const RUNS = ['r0', 'r1', 'r2', 'r3', 'r4'];
const KEYS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
export const HOLDERS = ['ann-1', 'ben-1', 'bus:cat', 'bus:dan'];
export const OWNERS = ['client-1', 'client-2'];
export const WATCHERS = ['client-3', 'client-1'];
const CAPABILITIES = ['build', 'test'];
const RULES: readonly FailureRule[] = ['fail', 'skip', 'continue'];

/** A settlement's token is looked up when it is carried out, so that a shortened sequence still settles something. */
export function resolve(command: Command | CurrentSettle, model: TaskModel): Command {
  if (command.do !== 'settleCurrent') return command;
  const settlements = command.settlements.map((settlement) => {
    const token = settlement.token === 'current' ? (model.tasks.get(settlement.id)?.token ?? 1) : settlement.token;
    return { ...settlement, token };
  });
  return { do: 'settle', settlements };
}

export function randomStep(chance: Chance, model: TaskModel): Step {
  const draw = chance.next();
  const commands = (make: () => Command | CurrentSettle, most = 1): Step => ({
    commands: Array.from({ length: 1 + chance.below(most) }, make),
  });
  if (draw < 0.16)
    return { pass: chance.hit(0.04) ? 4_000_000 : chance.one([1, 1, 1, 5, 5, 50, 50, 1000, 2000, 2500]) };
  if (draw < 0.24) return commands(() => randomSubmit(chance, model), 3);
  if (draw < 0.3) return commands(() => randomRun(chance, model));
  if (draw < 0.34) return commands(() => randomAppend(chance, model));
  if (draw < 0.52) return commands(() => randomClaim(chance, model), 4);
  if (draw < 0.74) return commands(() => randomSettle(chance, model));
  if (draw < 0.78) {
    const token = model.tasks.get(anyTask(chance, model, 'running'))?.token ?? 1;
    const id = anyTask(chance, model, 'running');
    return commands(() => ({
      do: 'progress',
      id,
      token,
      fraction: chance.below(5) / 4,
      ...maybe(chance, 'note', 'half way'),
    }));
  }
  if (draw < 0.81) return commands(() => randomCancel(chance, model));
  if (draw < 0.84) return commands(() => ({ do: 'approve', id: anyTask(chance, model, 'blocked') }));
  if (draw < 0.87) return commands(() => randomDispatched(chance, model));
  if (draw < 0.9) return commands(() => ({ do: 'due', limit: chance.one([1, 3, 100]) }));
  if (draw < 0.93) return commands(() => ({ do: 'release', limit: chance.one([1, 2, 100]) }));
  if (draw < 0.95)
    return commands(() => ({ do: 'overdue', graceMs: chance.one([0, 1000]), limit: chance.one([1, 100]) }));
  if (draw < 0.965) {
    return commands(() => ({ do: 'rescue', holder: chance.one(HOLDERS), maxLost: chance.one([0, 1, 5]), limit: 1000 }));
  }
  if (draw < 0.975) return commands(() => ({ do: 'expire', limit: chance.one([1, 3, 100]) }));
  const id = chance.hit(0.3) ? chance.one(RUNS) : anyTask(chance, model);
  return commands(() => ({ do: 'watch', id, watcher: chance.one(WATCHERS) }));
}

/** Mostly a task in one of these states; else any, or one that never was. */
function anyTask(chance: Chance, model: TaskModel, ...states: StoredState[]): string {
  const fit = [...model.tasks.values()].filter((record) => states.includes(record.state)).map(({ task }) => task.id);
  if (fit.length > 0 && chance.hit(0.85)) return chance.one(fit);
  const all = [...model.tasks.keys(), 'r0.zz', 'never'];
  return chance.one(all);
}

function maybe<K extends string, V>(chance: Chance, key: K, value: V, probability = 0.2): { [k in K]?: V } {
  return chance.hit(probability) ? ({ [key]: value } as { [k in K]: V }) : {};
}

function randomTask(chance: Chance, model: TaskModel, id: string, dependencies: NewTask['dependencies']): NewTask {
  const now = model.now;
  return {
    id,
    capability: chance.one(CAPABILITIES),
    priority: chance.below(4) as PriorityClass,
    body: JSON.stringify({ id, parameters: { n: chance.below(3) } }),
    maxAttempts: 1 + chance.below(3),
    dependencies,
    requiresApproval: chance.hit(0.12),
    ...maybe(chance, 'timeoutMs', chance.one([50, 1500])),
    ...maybe(chance, 'notBefore', now + chance.one([-5, 0, 1, 1000]), 0.15),
    ...maybe(chance, 'deadlineAt', now + chance.one([0, 5, 1000, 3000, 4_000_000, 9_000_000]), 0.1),
    ...maybe(chance, 'assignedTo', 'ann', 0.1),
    ...maybe(chance, 'leastConnections', true, 0.1),
  };
}

function randomContext(chance: Chance, run: string): SubmitContext {
  const traceparent = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
  return {
    owner: chance.one([...OWNERS, '']),
    traceparent,
    root: chance.one([run, 'elsewhere']),
    hops: chance.below(3),
  };
}

function randomSubmit(chance: Chance, model: TaskModel): Command {
  // 'r0.a' is a task taken over from a message: its own run, whatever its id says.
  const id = chance.hit(0.85) ? chance.one(SINGLES) : chance.one(['r0.a', 'r1', 'r1.a', 'r2.x', 'r0.x']);
  const task = randomTask(chance, model, id, []);
  return { do: 'submit', task, context: randomContext(chance, id.split('.')[0]!), digest: chance.one(['d1', 'd2']) };
}

function randomDependencies(chance: Chance, keys: readonly string[]): NewTask['dependencies'] {
  return chance.some(keys, 3).map((key) => ({ key, rule: chance.one(RULES) }));
}

function randomRun(chance: Chance, model: TaskModel): Command {
  const open = [...model.runs].filter(([, record]) => record.state === 'open').map(([id]) => id);
  if (open.length > 0 && chance.hit(0.7)) return randomPart(chance, model, chance.one(open));
  const run = chance.one([...RUNS, ...SINGLES.slice(0, 1)]);
  const keys = KEYS.slice(0, 1 + chance.below(KEYS.length));
  const tasks = keys.map((key, i) =>
    randomTask(chance, model, `${run}.${key}`, randomDependencies(chance, keys.slice(0, i))),
  );
  const whole = chance.hit(0.75);
  const first = whole ? tasks : tasks.slice(0, chance.below(tasks.length + 1));
  const record: NewRun = {
    run,
    tasks: first,
    labels: chance.one([{}, { team: 'core' }]),
    digest: chance.one(['d1', 'd1', 'd2']),
    append: false,
  };
  const part: RunPart = { first: open.includes(run) || chance.hit(0.97), last: whole, total: tasks.length };
  return { do: 'submitRun', run: record, context: randomContext(chance, run), part };
}

/** A further part of a run that is not whole: all that is missing, or all but one. */
function randomPart(chance: Chance, model: TaskModel, run: string): Command {
  const { members, total } = model.runs.get(run)!;
  const last = chance.hit(0.6);
  const keys = KEYS.slice(members.length, last ? total : Math.max(members.length, total - 1));
  const tasks = keys.map((key, i) =>
    randomTask(chance, model, `${run}.${key}`, randomDependencies(chance, [...members, ...keys.slice(0, i)])),
  );
  const record: NewRun = { run, tasks, labels: {}, digest: 'd1', append: false };
  return { do: 'submitRun', run: record, context: randomContext(chance, run), part: { first: false, last, total } };
}

function randomAppend(chance: Chance, model: TaskModel): Command {
  const run = chance.one([...RUNS, ...SINGLES.slice(0, 2)]);
  const known = model.runs.get(run)?.members ?? [''];
  const keys = [...new Set(['w', ...chance.some(['w', 'x', 'y', 'z', ...known.slice(0, 1)], 3)])]
    .filter((key) => key !== '')
    .slice(chance.below(2) * -2);
  const tasks = keys.map((key, i) => {
    const candidates = [...known, ...keys.slice(0, i), ...(chance.hit(0.05) ? ['nobody', 'a', 'x'] : [])];
    return randomTask(chance, model, `${run}.${key}`, randomDependencies(chance, candidates));
  });
  const record: NewRun = { run, tasks, labels: {}, digest: 'd3', append: true };
  return { do: 'submitRun', run: record, context: randomContext(chance, run) };
}

function randomClaim(chance: Chance, model: TaskModel): Command {
  return {
    do: 'claim',
    id: anyTask(chance, model, 'ready', ...(chance.hit(0.2) ? (['running'] as const) : [])),
    holder: chance.one(HOLDERS),
    redelivered: chance.hit(0.5),
  };
}

function randomSettle(chance: Chance, model: TaskModel): CurrentSettle {
  const settlements = Array.from({ length: 1 + chance.below(4) }, () => {
    const id = anyTask(chance, model, 'running');
    return {
      id,
      token: chance.hit(0.9) ? ('current' as const) : 1 + chance.below(9),
      holder: model.tasks.get(id)?.holder ?? chance.one(HOLDERS),
      verdict: randomVerdict(chance),
      ...maybe(chance, 'takeNext', chance.some(CAPABILITIES, 2), 0.4),
    };
  });
  return { do: 'settleCurrent', settlements };
}

function randomVerdict(chance: Chance): Settlement['verdict'] {
  const error = { code: 'HANDLER_FAILED', message: 'broke "it" \u2028 ü' };
  const draw = chance.next();
  if (draw < 0.5) {
    return { do: 'complete', output: chance.hit(0.05) ? JSON.stringify('ü'.repeat(9000)) : '{"sum":[1,2.5,null]}' };
  }
  if (draw < 0.7) return { do: 'retry', afterMs: chance.one([1, 50.4, 1000, 5000]), error };
  if (draw < 0.85) return { do: 'die', reason: chance.one(['attempts_exhausted', 'not_retryable', 'timeout']), error };
  return { do: 'hand_back' };
}

function randomCancel(chance: Chance, model: TaskModel): Command {
  const id = anyTask(chance, model, 'blocked', 'scheduled', 'ready', 'running', 'retrying');
  const how = chance.hit(0.7)
    ? { state: 'cancelled' as const, reason: 'cancelled_by_request' as const, ...maybe(chance, 'note', 'not needed') }
    : { state: 'dead' as const, reason: 'deadline' as const };
  return { do: 'cancel', id, how };
}

function randomDispatched(chance: Chance, model: TaskModel): Command {
  const ready = [...model.tasks.values()].filter(({ state }) => state === 'ready');
  const tasks = chance.some(ready, 4).map(({ task: { id, priority } }) => ({ id, priority }));
  return {
    do: 'dispatched',
    tasks: [...tasks, { id: 'never', priority: 0 }],
    recheckMs: chance.one([0, 1000, 600_000]),
  };
}
