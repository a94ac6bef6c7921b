// What becomes of a task when an attempt at it ends (hop 7): completed, tried again, dead, or given back.
// Pure; the store carries the verdict out, fenced by the attempt's token.
import type { RetryPolicy, TaskReason } from '../contracts/task.js';
import type { ErrorRecord } from '../errors.js';
import type { Verdict } from '../ports.js';
import { backoffMs } from './backoff.js';

/** How an attempt ended, as its agent (or who stopped it) saw it. */
export type AttemptEnd =
  /** `output` is JSON text. */
  | { readonly kind: 'returned'; readonly output: string }
  | { readonly kind: 'failed'; readonly error: ErrorRecord; readonly retryable: boolean }
  | { readonly kind: 'timed_out'; readonly error: ErrorRecord }
  /** The agent is stopping, or found it cannot do this one: nobody's failure. */
  | { readonly kind: 'handed_back' };

export interface SettleContext {
  /** Attempts that failed before this one. */
  readonly failedAttempts: number;
  /** The first try counts. */
  readonly maxAttempts: number;
  readonly retry?: RetryPolicy;
  readonly random: number;
}

/** An error that no further attempt can mend ends the task at once, and says so even on the last attempt. */
export function verdictOf(end: AttemptEnd, about: SettleContext): Verdict {
  switch (end.kind) {
    case 'returned':
      return { do: 'complete', output: end.output };
    case 'handed_back':
      return { do: 'hand_back' };
    case 'failed':
      if (!end.retryable) return { do: 'die', reason: permanentReason(end.error), error: end.error };
      return retryOrDie(end.error, 'attempts_exhausted', about);
    case 'timed_out':
      return retryOrDie(end.error, 'timeout', about);
  }
}

function permanentReason(error: ErrorRecord): TaskReason {
  return error.code === 'INVALID_INPUT' ? 'invalid_input' : 'not_retryable';
}

function retryOrDie(error: ErrorRecord, exhausted: TaskReason, about: SettleContext): Verdict {
  const failed = about.failedAttempts + 1;
  if (failed >= about.maxAttempts) return { do: 'die', reason: exhausted, error };
  return { do: 'retry', afterMs: backoffMs(about.retry, failed, about.random), error };
}
