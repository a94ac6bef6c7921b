// What `task why` is answered from, and what an answer is: plain data, gathered by cli/snapshot.ts, judged by decide/why.ts.
// Everything is as one moment saw it; `nowMs` is that moment by the store's own clock.
import type { AgentRecord } from '../contracts/agent.js';
import { TASK_REASONS, type Task } from '../contracts/task.js';
import { formatDuration } from './waterfall.js';

/** Every answer there is. Those of finished tasks are the task's own reasons. */
export const WHY_REASONS = [
  'unknown_id',
  'submission_unfinished',
  'blocked_on_dependencies',
  'blocked_on_approval',
  'scheduled',
  'retrying',
  'no_agent_offers',
  'agents_full',
  'agents_draining',
  'agents_unhealthy',
  'agents_offline',
  'agents_unavailable',
  'assigned_agent_unknown',
  'assigned_agent_away',
  'assigned_agent_draining',
  'assigned_agent_busy',
  'assigned_agent_next',
  'capability_paused',
  'queued',
  'rescued',
  'dispatch_pending',
  'broker_unreachable',
  'no_manager',
  'running',
  'running_silent',
  'running_alone',
  'completed',
  'dead',
  'cancelled',
  ...TASK_REASONS,
] as const;
export type WhyReason = (typeof WHY_REASONS)[number];

/** `facts` holds the numbers and names of the sentence, for programs. */
export interface Why {
  readonly id: string;
  readonly reason: WhyReason;
  readonly sentence: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** A task that is waited for, or the one that a failure began with. */
export interface Relative {
  readonly id: string;
  readonly status: Task['status'];
  readonly reason?: string;
  readonly error?: string;
}

export interface WhySnapshot {
  readonly id: string;
  readonly nowMs: number;
  readonly task?: Task;
  /** A run whose submission was begun and not finished. */
  readonly open?: boolean;
  /** Everybody known, who offers the capability and who does not. */
  readonly agents: readonly AgentRecord[];
  readonly paused: boolean;
  /** Ready tasks of the same capability that go first, by class P0-P3. `atLeast`: the look was cut short. */
  readonly ahead: { readonly byClass: readonly [number, number, number, number]; readonly atLeast: boolean };
  /** Managers alive. */
  readonly managers: number;
  readonly broker: 'ready' | 'blocked' | 'unreachable';
  /** The tasks it waits or waited for, those not completed first. */
  readonly dependencies: readonly Relative[];
  /** Where a chain of failures began; only of a task that fell with another. */
  readonly origin?: Relative;
  /** An agent's lease, and the heartbeat of bus-only agents, ms. */
  readonly leaseMs: number;
  readonly heartbeatMs: number;
}

/** A task that exists: what every judge below the first is given. */
export type Seen = WhySnapshot & { readonly task: Task };

export function since(time: string | undefined, nowMs: number): number {
  return time === undefined ? 0 : Math.max(0, nowMs - Date.parse(time));
}

export function lasting(time: string | undefined, nowMs: number): string {
  return formatDuration(since(time, nowMs));
}

/** '1 agent', '3 agents', '12,000 tasks'. */
export function count(n: number, noun: string): string {
  return `${n.toLocaleString('en-US')} ${noun}${n === 1 ? '' : 's'}`;
}

/** 'a', 'a and b', 'a, b and c', 'a, b, c and 9 more'. */
export function list(items: readonly string[], most = 3): string {
  const shown = items.length > most + 1 ? [...items.slice(0, most), `${items.length - most} more`] : items;
  if (shown.length < 2) return shown.join('');
  return `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`;
}

/** One line, and short: an error's message may be a page. */
export function brief(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}

/** Ends a sentence once, whatever it was built of. */
export function sentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}
