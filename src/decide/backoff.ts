// How long a failed task waits for its next attempt (hop 7): exponential with full jitter.
// Pure: the caller draws the random number, so a test or a replay sees the same wait.
import type { RetryPolicy } from '../contracts/task.js';

export const DEFAULT_RETRY = {
  max_attempts: 3,
  base_ms: 1000,
  factor: 2,
  cap_ms: 300_000,
} as const satisfies RetryPolicy;

/**
 * Milliseconds before the attempt after the `failedAttempts`th failure (>= 1). Full jitter spreads a crowd that failed together
 * over the whole interval; the wait is never 0, so a retry never runs in the turn it failed in. With the defaults:
 *
 *   failed attempts   longest   random 0.25   random 0.5   random 0.99
 *                 1     1,000           250          500           990
 *                 2     2,000           500        1,000         1,980
 *                 3     4,000         1,000        2,000         3,960
 *                 9   256,000        64,000      128,000       253,440
 *              >= 10   300,000        75,000      150,000       297,000
 */
export function backoffMs(policy: RetryPolicy | undefined, failedAttempts: number, random: number): number {
  return Math.max(1, Math.round(random * longestBackoffMs(policy, failedAttempts)));
}

/** The upper end of the jitter: never shrinks from one failure to the next, never exceeds the cap. */
export function longestBackoffMs(policy: RetryPolicy | undefined, failedAttempts: number): number {
  const base = policy?.base_ms ?? DEFAULT_RETRY.base_ms;
  const factor = policy?.factor ?? DEFAULT_RETRY.factor;
  const cap = policy?.cap_ms ?? DEFAULT_RETRY.cap_ms;
  return Math.min(cap, base * factor ** (failedAttempts - 1));
}
