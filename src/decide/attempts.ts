// Attempts at tasks: claimed, settled, rescued, overdue (hops 5, 7 and 8). The model of claim.lua, settle.lua and rescue.lua,
// and of the store's question for what is overdue.
import type { ClaimAnswer, ClaimRequest, Overdue, ReadyTask, SettleAnswer, Settlement, TaskStore } from '../ports.js';
import { spread } from './spread.js';
import { earliest, removeFrom, SPREAD_BUDGET, type TaskModel, type TaskRecord } from './task-model.js';
import { endAttempt, endTask, grant, isLate, makeReady, moveTo, newWake, runOf, type Wake } from './task-moves.js';

/** Such an agent holds its delivery until it is done: if the broker delivers it again, that attempt is over. */
const BUS_ONLY = 'bus:';

export function claim(model: TaskModel, { id, holder, redelivered }: ClaimRequest): ClaimAnswer {
  const record = model.tasks.get(id);
  if (record === undefined) return { outcome: 'unknown' };
  const late = isLate(model, record);
  if (record.state === 'running') {
    const by = record.holder!;
    if (late || !redelivered || !by.startsWith(BUS_ONLY)) return { outcome: 'held', by };
    removeFrom(model.held, by, id);
    record.lost += 1;
  } else if (record.state !== 'ready' || late) {
    return { outcome: 'obsolete', state: record.state };
  }
  return { outcome: 'granted', ...grant(model, record, holder) };
}

/** The settlements of one call share its budget. */
export function settle(model: TaskModel, settlements: readonly Settlement[]): SettleAnswer[] {
  let budget = SPREAD_BUDGET;
  return settlements.map((settlement) => {
    const nothing = { ready: [], ended: [], more: false };
    const record = model.tasks.get(settlement.id);
    if (record === undefined) return { outcome: 'unknown', ...nothing };
    if (record.state !== 'running' || record.token !== settlement.token) return { outcome: 'stale', ...nothing };
    const holder = record.holder!;
    const wake = newWake();
    carryOut(model, record, settlement.verdict, wake);
    const rest = spread(model, wake, budget);
    budget = rest.budget;
    const next = takeNext(model, wake.ready, settlement.takeNext ?? [], holder);
    const answer = { outcome: 'settled', ready: wake.ready, ended: wake.ended, more: rest.more } as const;
    return next === undefined ? answer : { ...answer, next };
  });
}

function carryOut(model: TaskModel, record: TaskRecord, verdict: Settlement['verdict'], wake: Wake): void {
  switch (verdict.do) {
    case 'complete':
      endTask(model, record, { state: 'completed', output: verdict.output }, wake);
      break;
    case 'die':
      record.failed += 1;
      endTask(model, record, { state: 'dead', reason: verdict.reason, error: verdict.error }, wake);
      break;
    case 'retry':
      endAttempt(model, record);
      moveTo(record, 'retrying');
      record.failed += 1;
      record.error = verdict.error;
      model.timers.set(record.task.id, model.now + Math.round(verdict.afterMs));
      break;
    case 'hand_back':
      endAttempt(model, record);
      makeReady(model, record, wake);
      break;
  }
}

/**
 * One released task may be run by the agent that released it, past the broker: the first it can run, when nothing more urgent
 * waits anywhere. Tasks with an agent of their own, or to be placed by load, are not taken.
 */
function takeNext(
  model: TaskModel,
  released: ReadyTask[],
  capabilities: readonly string[],
  holder: string,
): SettleAnswer['next'] {
  const at = released.findIndex(
    ({ capability, assignedTo, leastConnections }) =>
      assignedTo === undefined && leastConnections === undefined && capabilities.includes(capability),
  );
  const task = released[at];
  if (task === undefined) return undefined;
  const record = model.tasks.get(task.id)!;
  const urgent = model.ready.slice(0, task.priority).some((index) => index.size > 0);
  if (urgent || isLate(model, record)) return undefined;
  released.splice(at, 1);
  return { task, grant: grant(model, record, holder) };
}

/** Takes back what an instance holds. Ready again without a failed attempt, unless the task outlived too many agents. */
export function rescue(
  model: TaskModel,
  holder: string,
  maxLost: number,
  limit: number,
): Awaited<ReturnType<TaskStore['rescue']>> {
  const wake = newWake();
  for (const id of [...(model.held.get(holder) ?? [])].sort().slice(0, limit)) {
    const record = model.tasks.get(id)!;
    record.lost += 1;
    if (record.lost > maxLost) {
      const message = `${record.lost} agents vanished while running it, the last was ${holder}.`;
      const end = { state: 'dead', reason: 'agents_lost' } as const;
      endTask(model, record, { ...end, error: { code: 'AGENTS_LOST', message } }, wake);
      wake.ended.push({ id, capability: record.task.capability, ...end });
    } else {
      endAttempt(model, record);
      makeReady(model, record, wake);
    }
  }
  const { more } = spread(model, wake, SPREAD_BUDGET);
  return { rescued: wake.ready, ended: wake.ended, more: more || model.held.has(holder) };
}

export function overdue(model: TaskModel, graceMs: number, limit: number): Overdue[] {
  const found: Overdue[] = [];
  for (const id of earliest(model.deadlines, model.now, Number.POSITIVE_INFINITY)) {
    if (found.length >= limit) break;
    const record = model.tasks.get(id)!;
    const { task } = record;
    const cause = isLate(model, record) ? 'deadline' : 'timeout';
    // The agent stops an attempt at its timeout by itself; only one that did not is somebody else's business.
    if (cause === 'timeout' && model.deadlines.get(id)! + graceMs > model.now) continue;
    // A task of a run that is not submitted whole is not accepted yet, and cannot be ended.
    if (runOf(model, record)?.state === 'open') continue;
    found.push({
      id,
      cause,
      capability: task.capability,
      token: record.token,
      holder: record.holder ?? '',
      attempt: record.attempt,
      failedAttempts: record.failed,
      maxAttempts: task.maxAttempts,
      timeoutMs: task.timeoutMs ?? 0,
      body: task.body,
    });
  }
  return found;
}

export function progress(model: TaskModel, id: string, token: number, fraction: number, note?: string): boolean {
  const record = model.tasks.get(id);
  if (record?.state !== 'running' || record.token !== token) return false;
  record.progress = { fraction, ...(note === undefined || note === '' ? {} : { note }) };
  return true;
}
