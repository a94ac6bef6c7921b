// What a handler may know and do while it runs: its task, a signal to stop, a workspace, progress, and the bus itself.
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Priority } from '../contracts/priority.js';
import type { Client } from './client.js';

export interface Context {
  /** 'task': stored, tried again when it fails. 'request': lives in its message; the caller waits. */
  readonly kind: 'task' | 'request';
  /** The task id (or the request's event id): pass it on as an idempotency key to what is done outside. */
  readonly id: string;
  readonly run: string;
  readonly key: string;
  readonly priority: Priority;
  /** 1-based. */
  readonly attempt: number;
  /** Fencing token of this attempt: grows with every attempt. Stores outside can refuse an older one. 0 for requests. */
  readonly token: number;
  readonly agent: string;
  readonly traceparent: string;
  /** Aborts when the task is cancelled, timed out, lost its lease, or the agent stops; `reason` is the error that says why. */
  readonly signal: AbortSignal;
  /** A directory of this attempt's own, made when first asked for and removed after the attempt. */
  readonly workspace: string;
  /** Results of the tasks this one waited for, by key. A dependency that did not complete (rule continue) has no entry. */
  dependencies(): Promise<Record<string, unknown>>;
  /** Tells how far it is, 0-1. Rejects with LEASE_LOST when another attempt took over: stop then. */
  progress(fraction: number, note?: string): Promise<void>;
  readonly log: Log;
  /** Submits and asks on behalf of this task: same trace, same root, one hop more. */
  readonly client: Client;
}

export interface Log {
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}

/** A directory that exists once it was asked for. */
export class Workspace {
  readonly #path: string;
  #made = false;

  /** `name` comes from the name grammar (ids), so it cannot leave the root. */
  constructor(root: string, name: string) {
    this.#path = join(root === '' ? join(tmpdir(), 'muster') : root, name);
  }

  get path(): string {
    if (!this.#made) {
      mkdirSync(this.#path, { recursive: true });
      this.#made = true;
    }
    return this.#path;
  }

  remove(): void {
    if (this.#made) rmSync(this.#path, { recursive: true, force: true });
  }
}
