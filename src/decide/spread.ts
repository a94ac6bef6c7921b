// How the end of a task reaches those that waited for it (hop 2): released, or fallen by their failure rule, in bounded steps.
// spread() is tasks/common.lua's of that name; release() is tasks/release.lua.
import { joinTaskId, splitTaskId } from '../contracts/names.js';
import type { FailureRule, FinalState, TaskReason } from '../contracts/task.js';
import type { SettleAnswer } from '../ports.js';
import { type Dependent, earliest, RELEASING_AT_ONCE, type TaskModel, type TaskRecord } from './task-model.js';
import { endTask, makeReady, newWake, unblock, type Wake } from './task-moves.js';

/**
 * Tells dependents that tasks ended, at most `budget` of them, first ended first; what is left waits for release().
 * A dependent may fall by its rule, and then its own dependents are told in turn.
 */
export function spread(model: TaskModel, wake: Wake, budget: number): { more: boolean; budget: number } {
  const { spreading } = wake;
  let left = Math.max(0, budget);
  let i = 0;
  for (; i < spreading.length && left > 0; i++) {
    const id = spreading[i]!;
    const list = model.dependents.get(id) ?? [];
    const told = list.splice(0, left);
    left -= told.length;
    for (const dependent of told) tellDependent(model, id, dependent, wake);
    if (list.length > 0) break;
    model.dependents.delete(id);
    model.releasing.delete(id);
  }
  const rest = spreading.slice(i).filter((id) => model.dependents.has(id));
  for (const id of rest) model.releasing.set(id, model.now);
  return { more: rest.length > 0, budget: left };
}

function tellDependent(model: TaskModel, parentId: string, { key, rule }: Dependent, wake: Wake): void {
  const { run, key: parentKey } = splitTaskId(parentId);
  const child = model.tasks.get(joinTaskId(run, key));
  // It fell or was cancelled meanwhile, or is forgotten.
  if (child?.state !== 'blocked') return;
  // A run that has just become whole tells its first tasks, as if it were one they waited for.
  const parent = model.tasks.get(parentId)?.state ?? 'completed';
  if (parent === 'completed' || rule === 'continue') {
    child.open.delete(parentKey);
    if (child.open.size === 0) unblock(model, child, wake);
  } else {
    fall(model, child, { id: parentId, state: parent as FinalState }, rule, wake);
  }
}

/** Ends a task because one it waited for did not complete. */
export function fall(
  model: TaskModel,
  child: TaskRecord,
  parent: { readonly id: string; readonly state: FinalState },
  rule: FailureRule,
  wake: Wake,
): void {
  const state = rule === 'fail' && parent.state === 'dead' ? 'dead' : 'cancelled';
  const reason: TaskReason =
    rule === 'skip' ? 'dependency_skipped' : parent.state === 'dead' ? 'dependency_failed' : 'dependency_cancelled';
  const error = { code: reason.toUpperCase(), message: `Task ${parent.id} it waited for is ${parent.state}.` };
  endTask(model, child, { state, reason, error }, wake);
  wake.ended.push({ id: child.task.id, capability: child.task.capability, state, reason });
}

/** Makes scheduled and retrying tasks ready whose time has come, then goes on telling dependents of ended tasks. */
export function release(model: TaskModel, limit: number): SettleAnswer {
  const wake = newWake();
  const due = earliest(model.timers, model.now, limit);
  for (const id of due) {
    model.timers.delete(id);
    makeReady(model, model.tasks.get(id)!, wake);
  }
  wake.spreading.push(...earliest(model.releasing, Number.POSITIVE_INFINITY, RELEASING_AT_ONCE));
  spread(model, wake, limit - due.length);
  const more = due.length >= limit || model.releasing.size > 0;
  return { outcome: 'settled', ready: wake.ready, ended: wake.ended, more };
}
