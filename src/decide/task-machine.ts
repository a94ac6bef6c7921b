// The specification of the task store: every command of tasks/*.lua on a model, with the same named outcomes and the same order.
// Deterministic: the time comes in, nothing is drawn. The store in memory is this in a variable; random command sequences hold
// the scripts to it (test/integration/lua-vs-model.test.ts).
import { joinTaskId, splitTaskId } from '../contracts/names.js';
import type { TaskReason } from '../contracts/task.js';
import type { ErrorRecord } from '../errors.js';
import type {
  CancelAnswer,
  ClaimRequest,
  NewRun,
  NewTask,
  Settlement,
  SubmitAnswer,
  SubmitContext,
  TaskStore,
} from '../ports.js';
import { claim, overdue, progress, rescue, settle } from './attempts.js';
import { release, spread } from './spread.js';
import { type RunPart, submitRun } from './submit-run.js';
import {
  APPROVAL,
  addTo,
  DISPATCH_MS,
  earliest,
  SPREAD_BUDGET,
  type TaskModel,
  type TaskRecord,
} from './task-model.js';
import { describe, endTask, enterOutbox, newWake, runOf, tell, unblock } from './task-moves.js';
import { isFinalState } from './task-state.js';

type Answer<Method extends keyof TaskStore> = TaskStore[Method] extends (...args: never[]) => Promise<infer A>
  ? A
  : never;
type CancelHow = Parameters<TaskStore['cancel']>[1];

/** Each command does what the method of TaskStore of that name promises. */
const commands = {
  submit,
  submitRun: (model: TaskModel, c: { run: NewRun; context: SubmitContext; part?: RunPart }) =>
    submitRun(model, c.run, c.context, c.part),
  claim: (model: TaskModel, c: ClaimRequest) => claim(model, c),
  settle: (model: TaskModel, c: { settlements: readonly Settlement[] }) => settle(model, c.settlements),
  progress: (model: TaskModel, c: { id: string; token: number; fraction: number; note?: string }) =>
    progress(model, c.id, c.token, c.fraction, c.note),
  cancel: (model: TaskModel, c: { id: string; how: CancelHow }) => cancel(model, c.id, c.how),
  approve: (model: TaskModel, c: { id: string }) => approve(model, c.id),
  dispatched,
  due: (model: TaskModel, c: { limit: number }) => due(model, c.limit),
  release: (model: TaskModel, c: { limit: number }) => release(model, c.limit),
  overdue: (model: TaskModel, c: { graceMs: number; limit: number }) => overdue(model, c.graceMs, c.limit),
  rescue: (model: TaskModel, c: { holder: string; maxLost: number; limit: number }) =>
    rescue(model, c.holder, c.maxLost, c.limit),
  expire: (model: TaskModel, c: { limit: number }) => expire(model, c.limit),
  watch: (model: TaskModel, c: { id: string; watcher: string }) => watch(model, c.id, c.watcher),
};
type Commands = typeof commands;
export type CommandName = keyof Commands;
export type Command<Name extends CommandName = CommandName> = {
  [N in Name]: { readonly do: N } & Readonly<Parameters<Commands[N]>[1]>;
}[Name];

/** Carries a command out at the time `now`, ms. Notices and freed slots are left in the model for its owner to take out. */
export function apply<Name extends CommandName>(
  model: TaskModel,
  command: Command<Name>,
  now: number,
): ReturnType<Commands[Name]> {
  model.now = now;
  const carryOut = commands[command.do] as (model: TaskModel, command: unknown) => ReturnType<Commands[Name]>;
  return carryOut(model, command);
}

function submit(
  model: TaskModel,
  { task, context, digest }: { task: NewTask; context: SubmitContext; digest: string },
): SubmitAnswer {
  const known = model.tasks.get(task.id);
  if (known !== undefined) return { outcome: known.digest === digest ? 'duplicate' : 'conflict' };
  if (model.runs.has(task.id)) return { outcome: 'conflict' };
  const waits = task.notBefore !== undefined && task.notBefore > model.now;
  const record: TaskRecord = {
    ...{ task, ...splitTaskId(task.id), context, digest, submittedAt: model.now },
    state: task.requiresApproval ? 'blocked' : waits ? 'scheduled' : 'ready',
    ...{ attempt: 0, failed: 0, lost: 0, token: 0 },
    open: new Set(task.requiresApproval ? [APPROVAL] : []),
  };
  model.tasks.set(task.id, record);
  model.submitted.set(task.id, model.now);
  if (task.deadlineAt !== undefined) model.deadlines.set(task.id, task.deadlineAt);
  if (record.state === 'scheduled') model.timers.set(task.id, task.notBefore!);
  if (record.state !== 'ready') return { outcome: 'accepted' };
  enterOutbox(model, record);
  return { outcome: 'accepted', ready: describe(record) };
}

/** What the task's record says of a cancellation. */
export function cancelError(id: string, how: { readonly reason: TaskReason; readonly note?: string }): ErrorRecord {
  return { code: how.reason.toUpperCase(), message: how.note ?? `Task ${id}: ${how.reason.replaceAll('_', ' ')}.` };
}

function cancel(model: TaskModel, id: string, how: CancelHow): CancelAnswer {
  const record = accepted(model, id);
  const nothing = { ready: [], ended: [], more: false };
  if (record === undefined) return { outcome: 'unknown', state: '', released: { outcome: 'unknown', ...nothing } };
  const { state } = record;
  const { capability } = record.task;
  if (isFinalState(state)) {
    return { outcome: 'already_final', state, capability, released: { outcome: 'settled', ...nothing } };
  }
  const wake = newWake();
  endTask(model, record, { state: how.state, reason: how.reason, error: cancelError(id, how) }, wake);
  const holder = state === 'running' ? { holder: record.holder! } : {};
  if (state === 'running') tell(model, record.holder!, { kind: 'cancel', id, reason: how.reason });
  const { more } = spread(model, wake, SPREAD_BUDGET);
  const released = { outcome: 'settled', ready: wake.ready, ended: wake.ended, more } as const;
  return { outcome: 'cancelled', state, ...holder, capability, released };
}

function approve(model: TaskModel, id: string): Answer<'approve'> {
  const record = accepted(model, id);
  if (record === undefined) return { outcome: 'unknown', ready: [] };
  if (record.state !== 'blocked' || !record.open.delete(APPROVAL)) return { outcome: 'not_waiting', ready: [] };
  const wake = newWake();
  if (record.open.size === 0) unblock(model, record, wake);
  return { outcome: 'approved', ready: wake.ready };
}

/** A task of a run that is not submitted whole was not accepted yet: nothing may happen to it before all its dependents are known. */
function accepted(model: TaskModel, id: string): TaskRecord | undefined {
  const record = model.tasks.get(id);
  return record !== undefined && runOf(model, record)?.state === 'open' ? undefined : record;
}

function dispatched(
  model: TaskModel,
  { tasks, recheckMs }: { tasks: Parameters<TaskStore['dispatched']>[0]; recheckMs: number },
): void {
  for (const { id, priority } of tasks) {
    const index = model.ready[priority];
    // Claimed meanwhile: no longer ours.
    if (index.has(id)) index.set(id, model.now + recheckMs + 0.5);
  }
}

function due(model: TaskModel, limit: number): Answer<'due'> {
  const found: { task: ReturnType<typeof describe>; confirmed: boolean }[] = [];
  for (const index of model.ready) {
    for (const id of earliest(index, model.now, limit - found.length)) {
      const confirmed = index.get(id)! % 1 > 0;
      const record = model.tasks.get(id)!;
      // The half keeps "was confirmed" across the new reservation.
      index.set(id, model.now + DISPATCH_MS + (confirmed ? 0.5 : 0));
      found.push({ task: describe(record), confirmed });
    }
  }
  return found;
}

function expire(model: TaskModel, limit: number): number {
  let deleted = 0;
  for (const id of earliest(model.retention, model.now, limit)) {
    if (deleted >= limit) break;
    const run = model.runs.get(id);
    const keys = run === undefined ? [''] : run.members.splice(0, limit - deleted);
    for (const key of keys) forget(model, joinTaskId(id, key));
    deleted += keys.length;
    if (run !== undefined && run.members.length > 0) continue;
    for (const index of [model.runs, model.watchers, model.dependents, model.retention, model.submitted])
      index.delete(id);
  }
  return deleted;
}

function forget(model: TaskModel, id: string): void {
  for (const index of [model.tasks, model.watchers, model.dependents, model.deadlines]) index.delete(id);
}

function watch(model: TaskModel, id: string, watcher: string): Answer<'watch'> {
  const record = model.tasks.get(id);
  const run = model.runs.get(id);
  if (record !== undefined) {
    if (record.outcome !== undefined) return JSON.parse(record.outcome);
  } else if (run === undefined) {
    return 'unknown';
  } else if (run.state === 'completed' || run.state === 'failed') {
    return { run: id, status: run.state };
  }
  addTo(model.watchers, id, watcher);
  return 'pending';
}
