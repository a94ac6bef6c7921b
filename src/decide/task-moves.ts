// The moves every command of the model is made of, as tasks/common.lua is for the scripts: make ready, grant, end.
// Each changes one task, keeps the indexes true, and goes through the table of legal states.
import type { FinalState, TaskOutcome, TaskReason } from '../contracts/task.js';
import type { ErrorRecord } from '../errors.js';
import type { Grant, ReadyTask, SettleAnswer, StoreNotice } from '../ports.js';
import {
  addTo,
  DISPATCH_MS,
  NOTICE_BYTES,
  type RunRecord,
  removeFrom,
  type TaskModel,
  type TaskRecord,
} from './task-model.js';
import { mayFollow, type StoredState } from './task-state.js';

export type Ended = SettleAnswer['ended'][number];

/** What one command made ready and ended, in order, and the ended tasks somebody waits for. */
export interface Wake {
  readonly ready: ReadyTask[];
  readonly ended: Ended[];
  readonly spreading: string[];
}

export function newWake(): Wake {
  return { ready: [], ended: [], spreading: [] };
}

export function moveTo(task: TaskRecord, state: StoredState): void {
  if (!mayFollow(task.state, state))
    throw new Error(`Task '${task.task.id}' cannot go from ${task.state} to ${state}.`);
  task.state = state;
}

export function makeReady(model: TaskModel, task: TaskRecord, wake: Wake): void {
  moveTo(task, 'ready');
  enterOutbox(model, task);
  wake.ready.push(describe(task));
}

export function enterOutbox(model: TaskModel, task: TaskRecord): void {
  task.readyAt = model.now;
  model.ready[task.task.priority].set(task.task.id, model.now + DISPATCH_MS);
}

/** A blocked task that waits for nothing more: ready, or scheduled until its time. */
export function unblock(model: TaskModel, task: TaskRecord, wake: Wake): void {
  const { notBefore } = task.task;
  if (notBefore !== undefined && notBefore > model.now) {
    moveTo(task, 'scheduled');
    model.timers.set(task.task.id, notBefore);
  } else {
    makeReady(model, task, wake);
  }
}

/** All that the task's message needs. */
export function describe({ task, context, attempt }: TaskRecord): ReadyTask {
  return {
    id: task.id,
    capability: task.capability,
    priority: task.priority,
    attempt: attempt + 1,
    body: task.body,
    traceparent: context.traceparent,
    root: context.root,
    hops: context.hops,
    ...(task.assignedTo === undefined ? {} : { assignedTo: task.assignedTo }),
    ...(task.leastConnections === true ? { leastConnections: true } : {}),
  };
}

/** Past its deadline a task is not run any more; the next sweep ends it. */
export function isLate(model: TaskModel, { task }: TaskRecord): boolean {
  return task.deadlineAt !== undefined && task.deadlineAt <= model.now;
}

/** Grants the next attempt of a ready task. The token only grows, also when the store lost its last moments. */
export function grant(model: TaskModel, record: TaskRecord, holder: string): Grant {
  const { task } = record;
  moveTo(record, 'running');
  record.attempt += 1;
  record.token = Math.max(record.token + 1, model.now * 1000);
  record.holder = holder;
  record.startedAt = model.now;
  model.ready[task.priority].delete(task.id);
  addTo(model.held, holder, task.id);
  model.slotsFreed.push(task.id);
  if (task.timeoutMs !== undefined) {
    model.deadlines.set(task.id, Math.min(model.now + task.timeoutMs, task.deadlineAt ?? Number.POSITIVE_INFINITY));
  }
  return {
    id: task.id,
    attempt: record.attempt,
    token: record.token,
    failedAttempts: record.failed,
    maxAttempts: task.maxAttempts,
    waitedMs: model.now - (record.readyAt ?? model.now),
  };
}

/** A running task's attempt is over without ending the task: its timeout goes with it, the task's own deadline stays. */
export function endAttempt(model: TaskModel, { task, holder }: TaskRecord): void {
  removeFrom(model.held, holder!, task.id);
  if (task.timeoutMs === undefined) return;
  if (task.deadlineAt !== undefined) model.deadlines.set(task.id, task.deadlineAt);
  else model.deadlines.delete(task.id);
}

export interface End {
  readonly state: FinalState;
  readonly reason?: TaskReason;
  /** JSON text. */
  readonly output?: string;
  readonly error?: ErrorRecord;
}

/** Ends a task for good, tells who wants to know, counts it in its run. */
export function endTask(model: TaskModel, record: TaskRecord, end: End, wake: Wake): void {
  const { id } = record.task;
  if (record.state === 'running') removeFrom(model.held, record.holder!, id);
  moveTo(record, end.state);
  record.finishedAt = model.now;
  if (end.reason !== undefined) record.reason = end.reason;
  model.ready[record.task.priority].delete(id);
  model.timers.delete(id);
  model.deadlines.delete(id);
  record.open.clear();
  model.slotsFreed.push(id);

  const head: TaskOutcome = {
    id,
    status: end.state,
    attempt: record.attempt,
    ...(record.holder === undefined ? {} : { agent: record.holder }),
    ...(end.reason === undefined ? {} : { reason: end.reason }),
    ...(end.error === undefined ? {} : { error: { ...end.error } }),
  };
  const full: TaskOutcome = { ...head, ...(end.output === undefined ? {} : { output: JSON.parse(end.output) }) };
  record.outcome = JSON.stringify(full);
  const large = end.output !== undefined && Buffer.byteLength(end.output) > NOTICE_BYTES;
  tellWatchers(model, id, record.context.owner, {
    kind: 'ended',
    ...(large ? { ...head, fetch: true as const } : full),
  });
  countInRun(model, record);
  if (model.dependents.has(id)) wake.spreading.push(id);
}

/** The run a task belongs to. One taken over from a message has a digest of its own: it belongs to none, even if its id names one. */
export function runOf(model: TaskModel, record: TaskRecord): RunRecord | undefined {
  const alone = record.digest !== undefined && record.key !== '';
  return alone ? undefined : model.runs.get(record.run);
}

function countInRun(model: TaskModel, record: TaskRecord): void {
  const run = runOf(model, record);
  if (run === undefined) {
    model.retention.set(record.task.id, model.now + model.retentionMs);
    return;
  }
  run.done += 1;
  if (record.state !== 'completed') run.failed += 1;
  if (run.done !== run.total) return;
  run.state = run.failed > 0 ? 'failed' : 'completed';
  run.finishedAt = model.now;
  model.retention.set(record.run, model.now + model.retentionMs);
  tellWatchers(model, record.run, run.owner, {
    kind: 'run_ended',
    run: record.run,
    status: run.state,
    ms: model.now - run.submittedAt,
  });
}

function tellWatchers(model: TaskModel, id: string, owner: string, notice: StoreNotice): void {
  const instances = new Set([owner, ...(model.watchers.get(id) ?? [])]);
  model.watchers.delete(id);
  for (const instance of instances) tell(model, instance, notice);
}

export function tell(model: TaskModel, instance: string, notice: StoreNotice): void {
  if (instance !== '') model.notices.push({ instance, notice });
}
