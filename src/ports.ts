// The ports: what services need from the world, with the guarantees they rely on. Each has two real implementations,
// live (bus/, redis-backed stores) and in memory (testing/), that run the same conformance suite.
import type { AgentCard, AgentRecord } from './contracts/agent.js';

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

export type {
  CancelAnswer,
  ClaimAnswer,
  ClaimRequest,
  Grant,
  NewRun,
  NewTask,
  Overdue,
  ReadyTask,
  RunOutcome,
  SettleAnswer,
  Settlement,
  StoreNotice,
  SubmitAnswer,
  SubmitContext,
  SubmitRunAnswer,
  TaskFilter,
  TaskStore,
  Verdict,
} from './ports/task-store.js';

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
