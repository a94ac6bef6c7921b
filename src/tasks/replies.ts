// What the task scripts answer, turned into the shapes of ports.ts. The only place that knows a reply's positions.
import type { PriorityClass } from '../contracts/priority.js';
import type { TaskReason } from '../contracts/task.js';
import type { ClaimAnswer, Grant, ReadyTask, SettleAnswer } from '../ports.js';
import type { Reply } from '../redis/script.js';

type List = Reply[];

export function readyTask(reply: Reply): ReadyTask {
  const r = reply as List;
  const id = r[0] as string;
  return {
    id,
    capability: r[1] as string,
    priority: r[2] as PriorityClass,
    attempt: r[3] as number,
    body: r[4] as string,
    traceparent: r[5] as string,
    root: (r[6] as string) || rootOf(id),
    hops: r[7] as number,
    ...(r[8] === '' ? {} : { assignedTo: r[8] as string }),
    ...(r[9] === '' ? {} : { leastConnections: true }),
  };
}

/** A task submitted from outside is its own root: its run. */
export function rootOf(id: string): string {
  const dot = id.indexOf('.');
  return dot < 0 ? id : id.slice(0, dot);
}

export function readyTasks(reply: Reply): ReadyTask[] {
  return (reply as List).map(readyTask);
}

export function endedTasks(reply: Reply): SettleAnswer['ended'] {
  return (reply as List).map((entry) => {
    const e = entry as List;
    return {
      id: e[0] as string,
      capability: e[1] as string,
      state: e[2] as 'dead' | 'cancelled',
      reason: e[3] as TaskReason,
    };
  });
}

export function grant(id: string, reply: Reply): Grant {
  const g = reply as number[];
  return { id, attempt: g[0]!, token: g[1]!, failedAttempts: g[2]!, maxAttempts: g[3]!, waitedMs: g[4]! };
}

export function claimAnswer(id: string, reply: Reply): ClaimAnswer {
  const r = reply as List;
  switch (r[0]) {
    case 'granted':
      return { outcome: 'granted', ...grant(id, r.slice(1)) };
    case 'held':
      return { outcome: 'held', by: r[1] as string };
    case 'obsolete':
      return { outcome: 'obsolete', state: r[1] as string };
    default:
      return { outcome: 'unknown' };
  }
}

export function settleAnswer(reply: Reply): SettleAnswer {
  const r = reply as List;
  const next = r[4] as List | 0;
  return {
    outcome: r[0] as SettleAnswer['outcome'],
    ready: readyTasks(r[1]!),
    ended: endedTasks(r[2]!),
    more: r[3] === 1,
    ...(next === 0
      ? {}
      : { next: { task: readyTask(next[0]!), grant: grant((next[0] as List)[0] as string, next[1]!) } }),
  };
}
