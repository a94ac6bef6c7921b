// What a connection in memory holds, and loses when it is cut: its consumers, and what was handed out on it.
import type { MemoryQueue, Stored, Taker } from './memory-queue.js';

export interface Consumption extends Taker {
  readonly queueName: string;
  queue: MemoryQueue | undefined;
  isCancelled: boolean;
  unsettled: number;
}

export interface Connectivity {
  isOpen: boolean;
  /** What was handed out and is neither acked nor given back. */
  readonly unsettled: Set<{ readonly queue: MemoryQueue; readonly stored: Stored }>;
}
