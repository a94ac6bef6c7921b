// What is stored of tasks and runs, turned into the shapes of the contracts. The only place that knows what a field's letter means
// to a reader; tasks/common.lua lists them.
import { splitTaskId } from '../contracts/names.js';
import { PRIORITIES, type PriorityClass } from '../contracts/priority.js';
import type { FailureRule, Run, Task, TaskOutcome, TaskState } from '../contracts/task.js';
import type { Overdue } from '../ports.js';

export type Hash = Readonly<Record<string, string>>;

const RULES: Record<string, FailureRule> = { f: 'fail', s: 'skip', c: 'continue' };

const iso = (ms: string | null | undefined): string | undefined =>
  ms === undefined || ms === null ? undefined : new Date(Number(ms)).toISOString();

/** All that is stored of one task, as read. */
export interface StoredTask {
  readonly hash: Hash;
  readonly body: string | null;
  readonly outcome: string | null;
  readonly open: readonly string[];
  readonly after: readonly string[];
  readonly dueAt: string | null;
  /** Its entry in the outbox. */
  readonly dispatchAt: string | undefined;
}

/** An entry of the outbox has a half added once the broker confirmed the message. */
export function isConfirmed(dispatchAt: string | undefined): boolean {
  return dispatchAt !== undefined && Number(dispatchAt) % 1 > 0;
}

/** Taken over from a message: in no run, even if its id names one. */
export function isAlone(id: string, hash: Hash): boolean {
  return hash.dg !== undefined && splitTaskId(id).key !== '';
}

export function toTask(id: string, { hash: t, body, outcome, open, after, dueAt, dispatchAt }: StoredTask): Task {
  const ended = outcome === null ? undefined : (JSON.parse(outcome) as TaskOutcome);
  const message = body === null ? {} : (JSON.parse(body) as { parameters?: Task['parameters'] });
  const known = {
    reason: t.r === '' ? undefined : t.r,
    assigned_to: t.to,
    agent: t.h,
    parameters: message.parameters,
    progress: t.pf === undefined ? undefined : { fraction: Number(t.pf), ...(t.pn ? { note: t.pn } : {}) },
    result: ended?.output,
    // A completed task shows no error, though an earlier attempt may have failed.
    error: ended !== undefined ? ended.error : t.er === undefined ? undefined : JSON.parse(t.er),
    ready_at: iso(t.t1),
    started_at: iso(t.t2),
    finished_at: iso(t.t3),
    due_at: iso(dueAt),
    deadline_at: iso(t.d),
    traceparent: t.tp,
  };
  return {
    id,
    ...splitTaskId(id),
    capability: t.c!,
    priority: PRIORITIES[Number(t.p) as PriorityClass],
    status: (t.s === 'ready' && isConfirmed(dispatchAt) ? 'dispatched' : t.s) as TaskState,
    attempt: Number(t.a ?? 0),
    max_attempts: Number(t.m),
    failed_attempts: Number(t.f ?? 0),
    lost_attempts: Number(t.l ?? 0),
    waiting_for: [...open].sort(),
    after: after.map((entry) => ({ task: entry.slice(2), on_failure: RULES[entry[0]!]! })),
    submitted_at: iso(t.t0)!,
    ...(Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)) as Partial<Task>),
  };
}

export function toRun(id: string, r: Hash): Run {
  return {
    id,
    status: r.s as Run['status'],
    total: Number(r.n),
    done: Number(r.done),
    failed: Number(r.bad),
    labels: JSON.parse(r.lb ?? '{}'),
    submitted_at: iso(r.t0)!,
    ...(r.t3 === undefined ? {} : { finished_at: iso(r.t3)! }),
  };
}

/** A task that is its own run, seen as one. */
export function runOfOne(task: Task): Run {
  const final = task.finished_at !== undefined;
  const completed = task.status === 'completed';
  return {
    id: task.id,
    status: !final ? 'running' : completed ? 'completed' : 'failed',
    total: 1,
    done: final ? 1 : 0,
    failed: final && !completed ? 1 : 0,
    labels: {},
    submitted_at: task.submitted_at,
    ...(task.finished_at === undefined ? {} : { finished_at: task.finished_at }),
  };
}

/** `at`: when its time is over, as `deadlines` says. undefined: its agent still has its grace, or it is over already. */
export function toOverdue(
  id: string,
  t: Hash,
  body: string | null,
  at: number,
  now: number,
  graceMs: number,
): Overdue | undefined {
  if (t.s === undefined || ['completed', 'dead', 'cancelled'].includes(t.s)) return undefined;
  const cause = t.d !== undefined && Number(t.d) <= now ? 'deadline' : 'timeout';
  // The agent stops an attempt at its timeout by itself; only one that did not is our business.
  if (cause === 'timeout' && at + graceMs > now) return undefined;
  return {
    id,
    cause,
    capability: t.c!,
    token: Number(t.k ?? 0),
    holder: t.h ?? '',
    attempt: Number(t.a ?? 0),
    failedAttempts: Number(t.f ?? 0),
    maxAttempts: Number(t.m),
    timeoutMs: Number(t.n ?? 0),
    body: body ?? '{}',
  };
}
