// Takes in a run (hop 1): a new one in parts, or tasks added to one that exists. The model of tasks/submit-run.lua.
// Nothing of a new run is released before its last part; a refused addition leaves no trace.
import { joinTaskId, splitTaskId } from '../contracts/names.js';
import type { FinalState } from '../contracts/task.js';
import type { NewRun, NewTask, ReadyTask, SubmitContext, SubmitRunAnswer } from '../ports.js';
import { fall, release, spread } from './spread.js';
import {
  APPROVAL,
  appendTo,
  OPEN_RUN_MS,
  type RunRecord,
  removeFrom,
  SPREAD_BUDGET,
  type TaskModel,
  type TaskRecord,
} from './task-model.js';
import { newWake, unblock, type Wake } from './task-moves.js';
import { isFinalState } from './task-state.js';

/** Which part of a new run `run.tasks` are. A run submitted at once is its own first and last part. */
export interface RunPart {
  readonly first: boolean;
  readonly last: boolean;
  /** Tasks of all parts together. */
  readonly total: number;
}

export function submitRun(
  model: TaskModel,
  run: NewRun,
  context: SubmitContext,
  part: RunPart = { first: true, last: true, total: run.tasks.length },
): SubmitRunAnswer {
  const refusal = run.append ? refuseAppend(model, run) : refuseNew(model, run, part);
  if (refusal !== undefined) return refusal;
  if (run.append) openAgain(model, run);
  else if (part.first) openRun(model, run, context, part.total);
  const added = run.tasks.map((task) => addTask(model, run, task, context));
  if (!part.last) return { outcome: 'accepted', ready: [] };
  return { outcome: 'accepted', ready: run.append ? releaseAdded(model, added) : seal(model, run.run) };
}

function refuseNew(model: TaskModel, { run, digest }: NewRun, part: RunPart): SubmitRunAnswer | undefined {
  const known = model.runs.get(run);
  if (!part.first) {
    // Past its time the sweep has begun to forget what came before.
    const whole = known?.state === 'open' && !isForgotten(model, run);
    return whole ? undefined : { outcome: 'busy' };
  }
  if (known === undefined) return model.tasks.has(run) ? { outcome: 'conflict' } : undefined;
  if (known.digest !== digest) return { outcome: 'conflict' };
  return { outcome: known.state === 'open' ? 'busy' : 'duplicate' };
}

/** Everything is checked before the first change. */
function refuseAppend(model: TaskModel, { run, tasks }: NewRun): SubmitRunAnswer | undefined {
  const known = model.runs.get(run);
  if (known?.state === 'open') return { outcome: 'busy' };
  if ((known === undefined && !model.tasks.has(run)) || isForgotten(model, run)) return { outcome: 'no_run' };
  const fresh = new Set<string>();
  for (const { id } of tasks) {
    const { key } = splitTaskId(id);
    if (fresh.has(key) || model.tasks.has(id)) return { outcome: 'task_exists', key };
    fresh.add(key);
  }
  for (const task of tasks) {
    const stranger = task.dependencies.find(({ key }) => !fresh.has(key) && !isTaskOf(model, run, key));
    if (stranger !== undefined) {
      return { outcome: 'unknown_dependency', task: splitTaskId(task.id).key, dependency: stranger.key };
    }
  }
  return undefined;
}

/** A task taken over from a message is none, even if its id names the run. */
function isTaskOf(model: TaskModel, run: string, key: string): boolean {
  const record = model.tasks.get(joinTaskId(run, key));
  return record !== undefined && (key === '' || record.digest === undefined);
}

/** Its retention is over: what is left of it may already be in pieces. */
function isForgotten(model: TaskModel, run: string): boolean {
  return (model.retention.get(run) ?? Number.POSITIVE_INFINITY) <= model.now;
}

function openRun(model: TaskModel, run: NewRun, context: SubmitContext, total: number): void {
  const { digest, labels } = run;
  const record: RunRecord = {
    ...{ state: 'open', total, done: 0, failed: 0, digest, owner: context.owner, submittedAt: model.now, labels },
    members: [],
  };
  model.runs.set(run.run, record);
  model.submitted.set(run.run, model.now);
  model.retention.set(run.run, model.now + OPEN_RUN_MS);
}

/** A task that was its own run becomes the first of a run of several. */
function openAgain(model: TaskModel, { run, tasks }: NewRun): void {
  let record = model.runs.get(run);
  if (record === undefined) {
    const first = model.tasks.get(run)!;
    const over = isFinalState(first.state);
    record = {
      state: 'running',
      total: 1,
      done: over ? 1 : 0,
      failed: over && first.state !== 'completed' ? 1 : 0,
      digest: first.digest ?? '',
      owner: first.context.owner,
      submittedAt: first.submittedAt,
      labels: {},
      members: [''],
    };
    model.runs.set(run, record);
  }
  record.state = 'running';
  record.total += tasks.length;
  delete record.finishedAt;
  model.retention.delete(run);
}

/** A stored task, and what it waited for that is already over without having completed. */
interface Added {
  readonly record: TaskRecord;
  readonly lost: {
    readonly key: string;
    readonly rule: NewTask['dependencies'][number]['rule'];
    readonly state: FinalState;
  }[];
}

function addTask(model: TaskModel, run: NewRun, task: NewTask, context: SubmitContext): Added {
  const { key } = splitTaskId(task.id);
  const record: TaskRecord = {
    ...{ task, run: run.run, key, context, submittedAt: model.now, state: 'blocked' },
    ...{ attempt: 0, failed: 0, lost: 0, token: 0 },
    open: new Set(),
  };
  const added: Added = { record, lost: [] };
  for (const dependency of task.dependencies) {
    const state = run.append ? model.tasks.get(joinTaskId(run.run, dependency.key))?.state : undefined;
    if (state === undefined || !isFinalState(state)) {
      record.open.add(dependency.key);
      appendTo(model.dependents, joinTaskId(run.run, dependency.key), { key, rule: dependency.rule });
    } else if (state !== 'completed' && dependency.rule !== 'continue') {
      added.lost.push({ ...dependency, state });
    }
  }
  if (task.requiresApproval) record.open.add(APPROVAL);
  if (!run.append) discard(model, task.id);
  if (!run.append && record.open.size === 0) appendTo(model.dependents, run.run, { key, rule: 'continue' });
  if (task.deadlineAt !== undefined) model.deadlines.set(task.id, task.deadlineAt);
  model.tasks.set(task.id, record);
  model.runs.get(run.run)!.members.push(key);
  return added;
}

/**
 * The store was emptied, a message of this run was taken over as a task of its own, and now the run is submitted again: the task
 * begins anew. What is still done for the old record is stale.
 */
function discard(model: TaskModel, id: string): void {
  const old = model.tasks.get(id);
  if (old === undefined) return;
  if (old.holder !== undefined) removeFrom(model.held, old.holder, id);
  for (const index of [...model.ready, model.timers, model.deadlines, model.retention, model.submitted])
    index.delete(id);
  model.tasks.delete(id);
  model.watchers.delete(id);
  model.slotsFreed.push(id);
}

/** The run is whole: its first tasks are released. */
function seal(model: TaskModel, run: string): readonly ReadyTask[] {
  model.runs.get(run)!.state = 'running';
  model.retention.delete(run);
  const wake = newWake();
  wake.spreading.push(run);
  return releaseAll(model, wake);
}

function releaseAdded(model: TaskModel, added: readonly Added[]): readonly ReadyTask[] {
  const wake = newWake();
  for (const { record, lost } of added) {
    for (const { key, rule, state } of lost) {
      if (record.state === 'blocked') fall(model, record, { id: joinTaskId(record.run, key), state }, rule, wake);
    }
  }
  for (const { record } of added) {
    if (record.state === 'blocked' && record.open.size === 0) unblock(model, record, wake);
  }
  return releaseAll(model, wake);
}

/** Spreads until nothing waits, as the store does before it answers a submission: in steps, each of them bounded. */
function releaseAll(model: TaskModel, wake: Wake): readonly ReadyTask[] {
  const ready = wake.ready;
  let { more } = spread(model, wake, SPREAD_BUDGET);
  while (more) {
    const step = release(model, SPREAD_BUDGET);
    ready.push(...step.ready);
    more = step.more;
  }
  return ready;
}
