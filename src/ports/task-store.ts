// The port of the task store: what it takes, what it answers, and the guarantees its users rely on. Imported by way of ports.ts.
import type { PriorityClass } from '../contracts/priority.js';
import type { FailureRule, Run, Task, TaskOutcome, TaskReason } from '../contracts/task.js';
import type { ErrorRecord } from '../errors.js';
import type { Cancel } from '../ports.js';

/** A task as the store takes it: validated, defaults filled in, times absolute. */
export interface NewTask {
  readonly id: string;
  readonly capability: string;
  readonly priority: PriorityClass;
  /** The message body (taskMessage JSON), stored and sent byte for byte. */
  readonly body: string;
  readonly maxAttempts: number;
  readonly dependencies: readonly { readonly key: string; readonly rule: FailureRule }[];
  readonly requiresApproval: boolean;
  readonly timeoutMs?: number;
  readonly notBefore?: number;
  readonly deadlineAt?: number;
  readonly assignedTo?: string;
  readonly leastConnections?: boolean;
}

/** What is common to everything submitted in one call. */
export interface SubmitContext {
  /** The instance to notify when a task ends. */
  readonly owner: string;
  readonly traceparent: string;
  readonly root: string;
  readonly hops: number;
}

/** A ready task, with all that its message needs. */
export interface ReadyTask {
  readonly id: string;
  readonly capability: string;
  readonly priority: PriorityClass;
  readonly attempt: number;
  readonly body: string;
  readonly traceparent: string;
  readonly root: string;
  readonly hops: number;
  readonly assignedTo?: string;
  readonly leastConnections?: boolean;
}

export type SubmitAnswer =
  | { readonly outcome: 'accepted'; readonly ready?: ReadyTask }
  /** The same id (same idempotency key) and body were accepted before. */
  | { readonly outcome: 'duplicate' }
  | { readonly outcome: 'conflict' };

export interface NewRun {
  readonly run: string;
  readonly tasks: readonly NewTask[];
  readonly labels: Readonly<Record<string, string>>;
  /** Digest of what was submitted, to tell a repeat from a conflict. */
  readonly digest: string;
  /** true: add to a run that exists (at most 500 tasks); false: a new run of any size. */
  readonly append: boolean;
  /** true: answer once the run is accepted, and leave most of a large run's first tasks to release(). */
  readonly leaveRest?: boolean;
}
export type SubmitRunAnswer =
  /** `more`: only with leaveRest; go on with release(). */
  | { readonly outcome: 'accepted'; readonly ready: readonly ReadyTask[]; readonly more?: boolean }
  | { readonly outcome: 'duplicate' }
  | { readonly outcome: 'conflict' }
  | { readonly outcome: 'busy' }
  | { readonly outcome: 'no_run' }
  | { readonly outcome: 'task_exists'; readonly key: string }
  | { readonly outcome: 'unknown_dependency'; readonly task: string; readonly dependency: string };

/** The right to run one attempt. `token` only grows per task; everything written with an older one is refused. */
export interface Grant {
  readonly id: string;
  readonly attempt: number;
  readonly token: number;
  /** Failed attempts so far, and how many attempts there may be in all. */
  readonly failedAttempts: number;
  readonly maxAttempts: number;
  readonly waitedMs: number;
}
export type ClaimAnswer =
  | ({ readonly outcome: 'granted' } & Grant)
  /** Someone's attempt is running: come back later. */
  | { readonly outcome: 'held'; readonly by: string }
  /** Final, or not ready (its message is an old duplicate): drop the delivery. */
  | { readonly outcome: 'obsolete'; readonly state: string }
  | { readonly outcome: 'unknown' };

export interface ClaimRequest {
  readonly id: string;
  readonly holder: string;
  /** The broker delivered it before: an attempt by a bus-only agent has then ended without a report. */
  readonly redelivered: boolean;
}

/** How an attempt ended, decided in decide/settle.ts. */
export type Verdict =
  | { readonly do: 'complete'; readonly output: string }
  | { readonly do: 'retry'; readonly afterMs: number; readonly error: ErrorRecord }
  | { readonly do: 'die'; readonly reason: TaskReason; readonly error: ErrorRecord }
  /** Not a failure: the agent is stopping or gave the task back. Ready again at once, no attempt burned. */
  | { readonly do: 'hand_back' };

export interface Settlement {
  readonly id: string;
  readonly token: number;
  readonly holder: string;
  readonly verdict: Verdict;
  /** Capabilities for which the holder could start a released dependent at once, past the broker. */
  readonly takeNext?: readonly string[];
}
export interface SettleAnswer {
  readonly outcome: 'settled' | 'stale' | 'unknown';
  /** Dependents this settlement made ready, to be dispatched by the caller. */
  readonly ready: readonly ReadyTask[];
  /** At most one dependent, granted to the holder directly. */
  readonly next?: { readonly task: ReadyTask; readonly grant: Grant };
  /** Tasks that ended with it by a failure rule. */
  readonly ended: readonly {
    readonly id: string;
    readonly capability: string;
    readonly state: 'dead' | 'cancelled';
    readonly reason: TaskReason;
  }[];
  /** More dependents wait to be released: call release(). */
  readonly more: boolean;
}

export interface Overdue {
  readonly id: string;
  readonly cause: 'timeout' | 'deadline';
  readonly capability: string;
  readonly token: number;
  readonly holder: string;
  readonly attempt: number;
  readonly failedAttempts: number;
  readonly maxAttempts: number;
  readonly timeoutMs: number;
  readonly body: string;
}

export type CancelAnswer = {
  readonly outcome: 'cancelled' | 'already_final' | 'unknown';
  readonly state: string;
  /** The instance whose running attempt must be told. */
  readonly holder?: string;
  readonly capability?: string;
  readonly released: SettleAnswer;
};

/** Finished tasks, told to who asked for them. Lost notifications are made up for by polling. */
export type StoreNotice =
  /** `fetch`: the output is large and was left out. */
  | ({ readonly kind: 'ended'; readonly fetch?: true } & TaskOutcome)
  /** `ms` since it was submitted. */
  | { readonly kind: 'run_ended'; readonly run: string; readonly status: 'completed' | 'failed'; readonly ms: number }
  | { readonly kind: 'cancel'; readonly id: string; readonly reason: string };

export interface RunOutcome {
  readonly run: string;
  readonly status: 'completed' | 'failed';
}

export interface TaskFilter {
  readonly states?: readonly string[];
  readonly capability?: string;
  readonly run?: string;
  readonly limit: number;
}

/**
 * The authority on every task's state. Each method is atomic per task: one script. Calls in the same tick may travel together.
 * Rejects with STORE_UNAVAILABLE when the outcome is unknown; repeating with the same id is safe.
 */
export interface TaskStore {
  /** A task that is its own run. */
  submit(task: NewTask, context: SubmitContext, digest: string): Promise<SubmitAnswer>;
  submitRun(run: NewRun, context: SubmitContext): Promise<SubmitRunAnswer>;
  claim(request: ClaimRequest): Promise<ClaimAnswer>;
  settle(settlement: Settlement): Promise<SettleAnswer>;
  /** Fenced note of how far an attempt is. false: stale. */
  progress(id: string, token: number, fraction: number, note: string | undefined): Promise<boolean>;
  cancel(
    id: string,
    how: { readonly state: 'cancelled' | 'dead'; readonly reason: TaskReason; readonly note?: string },
  ): Promise<CancelAnswer>;
  approve(
    id: string,
  ): Promise<{ readonly outcome: 'approved' | 'not_waiting' | 'unknown'; readonly ready: readonly ReadyTask[] }>;
  /** The broker has these messages: look again only after `recheckMs`. */
  dispatched(
    tasks: readonly { readonly id: string; readonly priority: PriorityClass }[],
    recheckMs: number,
  ): Promise<void>;

  /** Ready tasks whose dispatch is due, P0 first, each reserved to the caller for 2 s. confirmed: the broker took its message before. */
  due(limit: number): Promise<readonly { readonly task: ReadyTask; readonly confirmed: boolean }[]>;
  /** Makes scheduled and retrying tasks ready whose time has come, and continues interrupted releases. */
  release(limit: number): Promise<SettleAnswer>;
  /** Running tasks `graceMs` past their timeout (their agent should have stopped them), and unfinished ones past their deadline. */
  overdue(graceMs: number, limit: number): Promise<readonly Overdue[]>;
  /** Takes back everything an instance holds; ready again without a burned attempt, up to `maxLost` times per task. */
  rescue(
    holder: string,
    maxLost: number,
    limit: number,
  ): Promise<{ readonly rescued: readonly ReadyTask[]; readonly ended: SettleAnswer['ended']; readonly more: boolean }>;
  /** Deletes finished runs whose retention time is over, and runs never submitted whole. */
  expire(limit: number): Promise<number>;

  find(id: string): Promise<Task | undefined>;
  /** The message body as stored. */
  body(id: string): Promise<string | undefined>;
  /** Ids of the tasks `holder` is running. */
  held(holder: string): Promise<readonly string[]>;
  /** The token of the attempt `holder` is running; undefined when it runs none. For whoever settles on its behalf. */
  token(id: string, holder: string): Promise<number | undefined>;
  findRun(id: string): Promise<Run | undefined>;
  /** The outcome of a task or run if it is final; otherwise a note that `watcher` wants the notice. */
  watch(id: string, watcher: string): Promise<TaskOutcome | RunOutcome | 'pending' | 'unknown'>;
  list(filter: TaskFilter): Promise<readonly Task[]>;
  runTasks(run: string): Promise<readonly string[]>;
  /** Ready tasks, P0 first, with all dependencies done. */
  readyTasks(limit: number): Promise<
    readonly {
      readonly id: string;
      readonly capability: string;
      readonly priority: PriorityClass;
      readonly dispatched: boolean;
    }[]
  >;
  /** Results of the tasks this one waited for, by key; only completed ones have a result. */
  dependencies(id: string): Promise<Readonly<Record<string, TaskOutcome>>>;
  counts(): Promise<{
    readonly ready: readonly [number, number, number, number];
    readonly timers: number;
    readonly running: number;
  }>;
  /** Tells the instance that owns it; see StoreNotice. */
  onNotice(instance: string, listener: (notice: StoreNotice) => void): Promise<Cancel>;
}
