// Carries out commands on the scripts and on the model side by side, and finds what they disagree about: an answer, something
// stored, a notice, or what is left in the end. Shortens a sequence that shows it.
import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import type { RunPart } from '../../src/decide/submit-run.js';
import { apply, type Command } from '../../src/decide/task-machine.js';
import { emptyModel, type Index, type TaskModel } from '../../src/decide/task-model.js';
import type { NewRun, StoreNotice, SubmitContext } from '../../src/ports.js';
import type { Keys } from '../../src/redis/keys.js';
import { loadScript, type Reply, runScript } from '../../src/redis/script.js';
import { chunkRun } from '../../src/tasks/chunks.js';
import { readyTasks } from '../../src/tasks/replies.js';
import * as views from '../../src/testing/task-views.js';
import { eventually } from './eventually.js';
import { type LiveTasks, liveTasks } from './live-tasks.js';
import { Chance, HOLDERS, OWNERS, randomStep, resolve, type Step, WATCHERS } from './task-commands.js';

const STEPS = 250;
const INSTANCES = [...new Set([...HOLDERS, ...OWNERS, ...WATCHERS])];

type Source = (model: TaskModel) => Step | undefined;

/** Draws the next step as the sequence goes, and writes it down. */
export function drawn(seed: number, steps: Step[]): Source {
  const chance = new Chance(seed);
  return (model) => {
    if (steps.length >= STEPS) return undefined;
    const step = randomStep(chance, model);
    steps.push(step);
    return step;
  };
}

export function repeated(steps: readonly Step[]): Source {
  let i = 0;
  return () => steps[i++];
}

/** Carries a sequence out on both; resolves to what they disagree about, and after which step. */
export async function play(source: Source): Promise<{ about: string; at: number } | undefined> {
  const live = await liveTasks({ retentionMs: 3_600_000 });
  try {
    const model = emptyModel(3_600_000);
    const told = await listen(live);
    for (const instance of INSTANCES) await live.register(instance);
    let at = 0;
    model.now = live.clock.now();
    for (let step = source(model); step !== undefined; step = source(model)) {
      at += 1;
      if ('pass' in step) {
        live.clock.advance(step.pass);
        model.now = live.clock.now();
        continue;
      }
      const commands = step.commands.map((command) => resolve(command, model));
      const answers = await Promise.all(commands.map((command) => carryOut(live, command)));
      for (let i = 0; i < commands.length; i++) {
        const expected = apply(model, commands[i]!, live.clock.now());
        const about = difference(commands[i]!.do, answers[i], expected);
        if (about !== undefined) return { about: `${JSON.stringify(commands[i])}\n${about}`, at };
      }
    }
    const about = (await compareState(live, model)) ?? (await told.compare(model)) ?? (await compareEnd(live, model));
    return about === undefined ? undefined : { about, at };
  } finally {
    await live.close();
  }
}

const submitRunScript = loadScript(`${__dirname}/../../src/tasks`, 'submit-run', ['common']);

async function carryOut({ store, redis, keys, clock }: LiveTasks, command: Command): Promise<unknown> {
  switch (command.do) {
    case 'submit':
      return store.submit(command.task, command.context, command.digest);
    case 'submitRun':
      if (command.part === undefined) return store.submitRun(command.run, command.context);
      return submitPart(redis, keys, clock.now(), command.run, command.context, command.part);
    case 'claim':
      return store.claim(command);
    case 'settle':
      return Promise.all(command.settlements.map((settlement) => store.settle(settlement)));
    case 'progress':
      return store.progress(command.id, command.token, command.fraction, command.note);
    case 'cancel':
      return store.cancel(command.id, command.how);
    case 'approve':
      return store.approve(command.id);
    case 'dispatched':
      return store.dispatched(command.tasks, command.recheckMs);
    case 'due':
      return store.due(command.limit);
    case 'release':
      return store.release(command.limit);
    case 'overdue':
      return store.overdue(command.graceMs, command.limit);
    case 'rescue':
      return store.rescue(command.holder, command.maxLost, command.limit);
    case 'expire':
      return store.expire(command.limit);
    case 'watch':
      return store.watch(command.id, command.watcher);
  }
}

/** One part of a run, as RedisTaskStore.submitRun sends it for a run of more than 500 tasks. */
async function submitPart(
  redis: Redis,
  keys: Keys,
  now: number,
  run: NewRun,
  context: SubmitContext,
  part: RunPart,
): Promise<unknown> {
  const mode = part.first ? 'new' : 'more';
  const root = context.root === run.run ? '' : context.root;
  const answer = (await runScript(redis, submitRunScript, [
    ...[keys.prefix, now, 3_600_000, run.run, mode, part.last ? 1 : 0, part.total, run.digest],
    ...[context.owner, context.traceparent, root, context.hops, JSON.stringify(run.labels)],
    ...chunkRun(run.tasks)[0]!,
  ])) as Reply[];
  return answer[0] === 'accepted' ? { outcome: 'accepted', ready: readyTasks(answer[1]!) } : { outcome: answer[0] };
}

function difference(what: string, live: unknown, model: unknown): string | undefined {
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));
  if (isDeepStrictEqual(plain(live), plain(model))) return undefined;
  return `${what}:\n  scripts ${JSON.stringify(live)}\n  model   ${JSON.stringify(model)}`;
}

async function compareState(live: LiveTasks, model: TaskModel): Promise<string | undefined> {
  const { store } = live;
  const abouts = await Promise.all(
    [...model.tasks].map(
      async ([id, record]) =>
        difference(`find ${id}`, await store.find(id), views.viewTask(model, record)) ??
        difference(`dependencies of ${id}`, await store.dependencies(id), views.dependencyOutcomes(model, id)),
    ),
  );
  const first = abouts.find((about) => about !== undefined);
  if (first !== undefined) return first;
  for (const id of new Set([...model.submitted.keys(), 'never'])) {
    const about =
      difference(`findRun ${id}`, await store.findRun(id), views.viewRun(model, id)) ??
      difference(`runTasks ${id}`, await store.runTasks(id), views.runTasks(model, id));
    if (about !== undefined) return about;
  }
  return (
    difference('readyTasks', await store.readyTasks(100), views.readyTasks(model, 100)) ??
    difference('counts', await store.counts(), views.countTasks(model)) ??
    difference('indexes', await indexesOf(live), indexesOfModel(model))
  );
}

/** Everything stored beside the tasks themselves, read past the store. */
async function indexesOf({ redis, keys, storedKeys }: LiveTasks): Promise<unknown> {
  const stored = await storedKeys();
  const scores = async (key: string): Promise<unknown> => {
    const flat = await redis.zrange(key, 0, '-1', 'WITHSCORES');
    return sorted(flat.flatMap((id, i) => (i % 2 === 0 ? [[id, Number(flat[i + 1])]] : [])));
  };
  const collect = async (kind: string, read: (key: string) => Promise<string[]>): Promise<unknown> => {
    const found: [string, string[]][] = [];
    for (const key of stored.filter((name) => name.startsWith(`${keys.prefix}:${kind}:`))) {
      const id = key.slice(keys.prefix.length + kind.length + 2).replace(/^\{(.*)\}:?/, (_, run) => `${run}.`);
      found.push([id.replace(/\.$/, ''), await read(key)]);
    }
    return sorted(found);
  };
  return {
    ready: await Promise.all(([0, 1, 2, 3] as const).map((priority) => scores(keys.ready(priority)))),
    timers: await scores(keys.timers),
    deadlines: await scores(keys.deadlines),
    releasing: await scores(keys.releasing),
    retention: await scores(keys.retention),
    submitted: await scores(keys.runs),
    held: await collect('held', async (key) => (await redis.smembers(key)).sort()),
    watchers: await collect('watchers', async (key) => (await redis.smembers(key)).sort()),
    dependents: await collect('dependents', (key) => redis.lrange(key, 0, -1)),
  };
}

function indexesOfModel(model: TaskModel): unknown {
  const scores = (index: Index): unknown => sorted([...index]);
  const sets = (of: Map<string, Set<string>>): unknown => sorted([...of].map(([id, set]) => [id, [...set].sort()]));
  const dependents = [...model.dependents].map(([id, list]) => [id, list.map(({ key, rule }) => `${rule[0]}:${key}`)]);
  return {
    ready: model.ready.map(scores),
    timers: scores(model.timers),
    deadlines: scores(model.deadlines),
    releasing: scores(model.releasing),
    retention: scores(model.retention),
    submitted: scores(model.submitted),
    held: sets(model.held),
    watchers: sets(model.watchers),
    dependents: sorted(dependents),
  };
}

function sorted(entries: unknown[]): unknown[] {
  return entries.map((entry) => JSON.stringify(entry)).sort();
}

/** Hears everything said to anyone. */
async function listen({
  store,
  redis,
  keys,
}: LiveTasks): Promise<{ compare(model: TaskModel): Promise<string | undefined> }> {
  const heard = new Map<string, StoreNotice[]>(INSTANCES.map((instance) => [instance, []]));
  for (const instance of INSTANCES) await store.onNotice(instance, (notice) => heard.get(instance)!.push(notice));
  return {
    async compare(model) {
      const last = { kind: 'cancel', id: 'the-last', reason: '' };
      for (const instance of INSTANCES) await redis.publish(keys.instanceChannel(instance), JSON.stringify([last]));
      const isLast = (notice: StoreNotice | undefined): boolean => notice?.kind === 'cancel' && notice.id === last.id;
      await eventually(
        () => [...heard.values()],
        (all) => all.every((notices) => isLast(notices.at(-1))),
        { everyMs: 2 },
      );
      for (const [instance, notices] of heard) {
        const expected = model.notices.filter((told) => told.instance === instance).map(({ notice }) => notice);
        const about = difference(`notices of ${instance}`, canonical(notices.slice(0, -1)), canonical(expected));
        if (about !== undefined) return about;
      }
      return undefined;
    },
  };
}

/** With the fields of each in one order, whoever wrote them. */
function canonical(notices: readonly StoreNotice[]): unknown[] {
  return notices.map((notice) => Object.entries(notice).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Ends everything, lets its time pass, and has it forgotten: then nothing may be left. */
async function compareEnd(live: LiveTasks, model: TaskModel): Promise<string | undefined> {
  const both = async (command: Command): Promise<string | undefined> =>
    difference(command.do, await carryOut(live, command), apply(model, command, live.clock.now()));
  const how = { state: 'cancelled', reason: 'cancelled_by_request' } as const;
  for (const id of [...model.tasks.keys()]) {
    const about = await both({ do: 'cancel', id, how });
    if (about !== undefined) return about;
  }
  live.clock.advance(4_000_000);
  for (let deleted = 1; deleted > 0; ) {
    const about = (await both({ do: 'release', limit: 100 })) ?? (await both({ do: 'expire', limit: 100 }));
    if (about !== undefined) return about;
    deleted = model.retention.size;
  }
  return (
    difference('what is left', await live.storedKeys(), []) ?? difference('what is left', [], [...model.tasks.keys()])
  );
}

/** Leaves out ever smaller pieces of the sequence while the two still disagree. */
export async function report(
  seed: number,
  steps: readonly Step[],
  found: { about: string; at: number },
): Promise<string> {
  let shortest = steps.slice(0, found.at);
  let about = found.about;
  for (let size = Math.ceil(shortest.length / 2), tries = 0; size >= 1 && tries < 400; ) {
    let shorter = false;
    for (let from = 0; from < shortest.length && tries < 400; from += size, tries++) {
      const without = [...shortest.slice(0, from), ...shortest.slice(from + size)];
      const still = await play(repeated(without)).catch(() => undefined);
      if (still === undefined) continue;
      shortest = without.slice(0, still.at);
      about = still.about;
      shorter = true;
      from -= size;
    }
    if (!shorter) size = size === 1 ? 0 : Math.ceil(size / 2);
  }
  const lines = shortest.map((step) => JSON.stringify(step)).join('\n');
  return `The scripts and the model disagree (MUSTER_MODEL_SEED=${seed}):\n${about}\n\nafter\n${lines}`;
}
