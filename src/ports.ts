// The ports: what services need from the world, with the guarantees they rely on. Each has two real implementations,
// live (bus/, redis-backed stores) and in memory (testing/), that run the same conformance suite.
import type { AgentCard, AgentRecord } from './contracts/agent.js';
import type { PriorityClass } from './contracts/priority.js';
import type { FailureRule, Run, Task, TaskOutcome, TaskReason } from './contracts/task.js';
import type { ErrorRecord } from './errors.js';

/** Time. `now` is wall time in ms since 1970; `monotonic` ms for durations; timers fire once. */
export interface Clock {
  now(): number;
  monotonic(): number;
  after(ms: number, callback: () => void): Cancel;
}
export type Cancel = () => void;
/** A float in [0, 1). */
export type Random = () => number;

// ---------------------------------------------------------------- the broker

export type HeaderValue = string | number | boolean;

/** A message to publish. `body` is sent as it is; UTF-8 JSON unless contentType says otherwise. */
export interface OutgoingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Buffer;
  readonly messageId?: string;
  readonly correlationId?: string;
  readonly replyTo?: string;
  readonly type?: string;
  readonly appId?: string;
  readonly contentType?: string;
  readonly timestamp?: number;
  readonly headers?: Readonly<Record<string, HeaderValue>>;
  /** false: transient, unconfirmed unless `mandatory`; for requests, replies and the event feed. Default true. */
  readonly persistent?: boolean;
}

/** What arrived. Header values other than strings, numbers and booleans are dropped. */
export interface IncomingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly queue: string;
  readonly redelivered: boolean;
  readonly body: Buffer;
  readonly messageId?: string;
  readonly correlationId?: string;
  readonly replyTo?: string;
  readonly type?: string;
  readonly appId?: string;
  readonly contentType?: string;
  readonly timestamp?: number;
  readonly headers: Readonly<Record<string, HeaderValue>>;
}

/** One arrival. Settled once: a second settlement, or one after the channel was lost, is 'stale' and sends nothing. */
export interface Delivery {
  readonly message: IncomingMessage;
  /** Acks may be coalesced and leave with the next tick; an ack proves nothing. */
  ack(): 'sent' | 'stale';
  /** Gives the message back to the front of its queue, for someone else. */
  requeue(): 'sent' | 'stale';
  /** Has the broker move it to the queue's dead-letter exchange, whole: for what is too large to be sent again. */
  reject(): 'sent' | 'stale';
  /** True once the channel it came on is gone: the broker will deliver it again. */
  readonly lost: boolean;
}

export interface Subscription {
  /** Resolves once the broker stopped delivering; deliveries already here can still be settled. */
  cancel(): Promise<void>;
  /** Changes how many deliveries may be unsettled here at once. */
  setPrefetch(prefetch: number): Promise<void>;
}

export interface ConsumeOptions {
  /** Unsettled deliveries at once. Ignored with noAck. */
  readonly prefetch: number;
  /** The broker forgets each message as it sends it: transient traffic only. */
  readonly noAck?: boolean;
}

export type BusState = 'connecting' | 'ready' | 'blocked' | 'closed';

export type ExchangeType = 'topic' | 'direct' | 'fanout';
export interface Topology {
  readonly exchanges: readonly { readonly name: string; readonly type: ExchangeType; readonly alternate?: string }[];
  readonly queues: readonly {
    readonly name: string;
    /** quorum: durable, replicated, kept. instance: classic, exclusive to this connection, gone with it. */
    readonly kind: 'quorum' | 'instance';
    readonly arguments?: Readonly<Record<string, string | number | boolean>>;
  }[];
  readonly bindings: readonly { readonly exchange: string; readonly queue: string; readonly routingKey: string }[];
}

/** The broker as Muster uses it. Survives reconnects: topology, subscriptions and unconfirmed publishes come back by themselves. */
export interface Bus {
  readonly state: BusState;
  onState(listener: (state: BusState, why?: string) => void): Cancel;
  /** Declares now and again after every reconnect. Idempotent. Rejects when the broker holds something different under a name. */
  declare(topology: Topology): Promise<void>;
  /**
   * Persistent messages: resolves only after the broker confirms that a queue took it. Rejects with UNROUTABLE (returned),
   * PUBLISH_NACKED, CONFIRM_TIMEOUT (unknown), THROTTLED (blocked or buffer full), BROKER_UNAVAILABLE, PAYLOAD_TOO_LARGE, CLOSED.
   * Safe to call concurrently; never wait for one before starting the next.
   */
  publish(message: OutgoingMessage): Promise<void>;
  /**
   * Transient traffic: sent at once, no confirm. `onReturn` is called if no queue takes it (mandatory). Throws THROTTLED or
   * BROKER_UNAVAILABLE when it cannot be sent now.
   */
  send(message: OutgoingMessage, onReturn?: () => void): void;
  /** Resolves once the broker accepted the consumer. A consumer the broker cancels, or a lost channel, is started again by itself. */
  consume(queue: string, options: ConsumeOptions, onDelivery: (delivery: Delivery) => void): Promise<Subscription>;
  /** The next message of a queue, or undefined when it is empty. */
  get(queue: string): Promise<Delivery | undefined>;
  /** Messages ready and consumers of a queue; undefined when there is no such queue. Counts of quorum queues lag by seconds. */
  inspect(queue: string): Promise<{ messages: number; consumers: number } | undefined>;
  removeQueue(queue: string): Promise<void>;
  /** Flushes, then closes; at most 5 s. */
  close(): Promise<void>;
}

// ---------------------------------------------------------------- the task store

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
}
export type SubmitRunAnswer =
  | { readonly outcome: 'accepted'; readonly ready: readonly ReadyTask[] }
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
  | { readonly kind: 'run_ended'; readonly run: string; readonly status: 'completed' | 'failed' }
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
  /** The token of the attempt `holder` is running; undefined when it runs none. For whoever settles on its behalf. */
  token(id: string, holder: string): Promise<number | undefined>;
  findRun(id: string): Promise<Run | undefined>;
  /** The outcome of a task or run if it is final; otherwise a note that `watcher` wants the notice. */
  watch(id: string, watcher: string): Promise<TaskOutcome | RunOutcome | 'pending' | 'unknown'>;
  list(filter: TaskFilter): Promise<readonly Task[]>;
  runTasks(run: string): Promise<readonly string[]>;
  /** Ready tasks, P0 first, with all dependencies done. */
  readyTasks(
    limit: number,
  ): Promise<
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

// ---------------------------------------------------------------- the registry's store

export type RegistryChange =
  | { readonly kind: 'joined' | 'changed'; readonly agent: AgentRecord }
  | {
      readonly kind: 'left';
      readonly agent_id: string;
      readonly instance: string;
      readonly reason: 'stopped' | 'lease_expired' | 'replaced';
    }
  | { readonly kind: 'draining'; readonly agent_id: string; readonly draining: boolean }
  | { readonly kind: 'paused' | 'resumed'; readonly capability: string };

export interface InstanceBeat {
  readonly instance: string;
  /** 'lost': the lease ran out and the tasks were given away; the instance must stop them and join again. */
  readonly outcome: 'renewed' | 'lost';
}

export interface AgentStore {
  /** Joins or updates. A newer instance of the same agent replaces the older. The lease runs from now. */
  join(card: AgentCard, instance: string, kind: 'full' | 'bus', leaseMs: number): Promise<AgentRecord>;
  leave(agentId: string, instance: string, reason: 'stopped' | 'lease_expired'): Promise<boolean>;
  /** Renews the lease of an instance. Not an agent: managers and clients hold one too, to be told apart from the dead. */
  beat(instance: string, leaseMs: number): Promise<InstanceBeat['outcome']>;
  all(): Promise<readonly AgentRecord[]>;
  setDraining(agentId: string, draining: boolean): Promise<boolean>;
  setHealth(agentId: string, health: AgentRecord['health_status']): Promise<boolean>;
  setPaused(capability: string, paused: boolean): Promise<void>;
  paused(): Promise<readonly string[]>;
  /**
   * Reserves a slot for a task at the free agent with the smallest load relative to its capacity; never one that is full,
   * draining, unhealthy or gone. Atomic: concurrent choosers never take the same slot.
   */
  reserve(
    capability: string,
    taskId: string,
  ): Promise<{ readonly agent: string } | { readonly none: 'no_agent' | 'all_full' }>;
  /** Instances whose lease has run out, and instances whose process closed its connections. */
  silent(): Promise<
    readonly { readonly instance: string; readonly agent?: string; readonly cause: 'lease_expired' | 'agent_gone' }[]
  >;
  /** Forgets an instance once its tasks were rescued. */
  forget(instance: string): Promise<void>;
  /** Managers alive now. */
  managers(): Promise<readonly string[]>;
  onChange(listener: (change: RegistryChange) => void): Promise<Cancel>;
}
