// What an agent may be told besides its id and what it offers.
import type { AgentCard } from '../contracts/agent.js';
import type { DrainMode } from './intake.js';

export interface AgentOptions {
  /** For people. Default: the id. */
  readonly name?: string;
  /** Tasks at once. Default: WORKER_CONCURRENCY. */
  readonly concurrency?: number;
  /** Slots of these that only P0 may use. Default 0. */
  readonly reserveP0?: number;
  readonly drain?: DrainMode;
  /** Requests answered at once, besides tasks. Default: 16, or the concurrency if that is more. */
  readonly requests?: number;
  readonly tags?: readonly string[];
  readonly metadata?: AgentCard['metadata'];
  readonly baseUrl?: string;
  /** An unacked delivery is acked after this long; the lease alone then owns the task. Default 10 min (the broker allows 30). */
  readonly ackAfterMs?: number;
}
