// The states of a task and every legal way from one to the next. The model (task-machine.ts) refuses any other,
// and the scripts of tasks/ are held to the model.
import type { FinalState, TaskState } from '../contracts/task.js';

/** What is stored. 'dispatched' is not: it is a ready task whose message the broker confirmed. */
export type StoredState = Exclude<TaskState, 'dispatched'>;

/** Where a task may begin: behind dependencies or an approval, before its time, or ready at once. */
export const FIRST_STATES = ['blocked', 'scheduled', 'ready'] as const satisfies readonly StoredState[];

export const next = {
  /** Waits for dependencies or an approval. Falls with them by their failure rule. */
  blocked: ['scheduled', 'ready', 'dead', 'cancelled'],
  /** Waits for `notBefore`. */
  scheduled: ['ready', 'dead', 'cancelled'],
  /** In the outbox until it is claimed; its message may be on the way. */
  ready: ['dispatched', 'running', 'dead', 'cancelled'],
  dispatched: ['running', 'dead', 'cancelled'],
  /** One attempt holds it. To ready without a failure when handed back or rescued, to running when a bus-only agent is replaced. */
  running: ['ready', 'running', 'retrying', 'completed', 'dead', 'cancelled'],
  /** Waits out its backoff. */
  retrying: ['ready', 'dead', 'cancelled'],
  completed: [],
  dead: [],
  cancelled: [],
} as const satisfies Record<TaskState, readonly TaskState[]>;

export function mayFollow(from: TaskState, to: TaskState): boolean {
  return (next[from] as readonly TaskState[]).includes(to);
}

export function isFinalState(state: TaskState): state is FinalState {
  return next[state].length === 0;
}
