// The model of the task store: what tasks/*.lua keep in Redis, as plain maps. Mutable, owned by its caller, without clock or
// chance; task-machine.ts changes it. Times are ms; indexes map an id to the ms that orders it, as the sorted sets do.
import type { FailureRule, TaskReason } from '../contracts/task.js';
import type { ErrorRecord } from '../errors.js';
import type { NewTask, StoreNotice, SubmitContext } from '../ports.js';
import type { StoredState } from './task-state.js';

/** Dependents told of an ended task in one call; the rest waits for release(). No call may keep a store busy for long. */
export const SPREAD_BUDGET = 250;
/** How long a process that was handed a ready task has to dispatch it before a relay does. */
export const DISPATCH_MS = 2000;
/** Larger outputs (UTF-8 bytes of their JSON) are left out of notices. */
export const NOTICE_BYTES = 16_384;
/** A run that was not submitted whole by then is swept away. */
export const OPEN_RUN_MS = 600_000;
/** Interrupted releases continued by one call of release(). */
export const RELEASING_AT_ONCE = 50;
/** What a task waits for until it is approved: no task key can be called so. */
export const APPROVAL = '#approval';

export interface TaskRecord {
  readonly task: NewTask;
  readonly run: string;
  readonly key: string;
  readonly context: SubmitContext;
  readonly submittedAt: number;
  /** Set where the task was submitted alone; tells a repeat from a conflict. */
  readonly digest?: string;
  state: StoredState;
  /** Attempts granted; of these failed, and lost with their agent. */
  attempt: number;
  failed: number;
  lost: number;
  token: number;
  /** Who runs it, or ran it last. */
  holder?: string;
  reason?: TaskReason;
  readyAt?: number;
  startedAt?: number;
  finishedAt?: number;
  progress?: { readonly fraction: number; readonly note?: string };
  /** Of the last failed attempt. */
  error?: ErrorRecord;
  /** Keys it still waits for, and APPROVAL. */
  readonly open: Set<string>;
  /** JSON of the outcome, once final. */
  outcome?: string;
}

export interface RunRecord {
  state: 'open' | 'running' | 'completed' | 'failed';
  total: number;
  done: number;
  failed: number;
  readonly digest: string;
  readonly owner: string;
  readonly submittedAt: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Task keys in order of submission. */
  readonly members: string[];
  finishedAt?: number;
}

export interface Dependent {
  readonly key: string;
  readonly rule: FailureRule;
}

/** Ids in order of a number, ties in order of the id. */
export type Index = Map<string, number>;

export interface TaskModel {
  /** The time of the command being carried out. */
  now: number;
  readonly retentionMs: number;
  readonly tasks: Map<string, TaskRecord>;
  readonly runs: Map<string, RunRecord>;
  /** Who is still to be told that a task ended. Under a run's own id: its tasks that wait for nothing, until the run is whole. */
  readonly dependents: Map<string, Dependent[]>;
  /** Instances that want to hear how a task or run ends. */
  readonly watchers: Map<string, Set<string>>;
  /** Ready tasks per class -> when to (re)dispatch them, plus 0.5 once the broker confirmed the message. The outbox. */
  readonly ready: readonly [Index, Index, Index, Index];
  readonly timers: Index;
  readonly deadlines: Index;
  /** Ended tasks whose dependents are not all told yet. */
  readonly releasing: Index;
  readonly retention: Index;
  /** Every run, and every task that is its own. */
  readonly submitted: Index;
  /** Tasks each instance runs. */
  readonly held: Map<string, Set<string>>;
  /** What instances are to be told; the owner of the model takes them out. */
  readonly notices: { readonly instance: string; readonly notice: StoreNotice }[];
  /** Tasks that need a slot reserved for them no longer; taken out in the same way. */
  readonly slotsFreed: string[];
}

export function emptyModel(retentionMs = 86_400_000): TaskModel {
  return {
    now: 0,
    retentionMs,
    tasks: new Map(),
    runs: new Map(),
    dependents: new Map(),
    watchers: new Map(),
    ready: [new Map(), new Map(), new Map(), new Map()],
    timers: new Map(),
    deadlines: new Map(),
    releasing: new Map(),
    retention: new Map(),
    submitted: new Map(),
    held: new Map(),
    notices: [],
    slotsFreed: [],
  };
}

/** The first `limit` ids whose time is not after `until`. */
export function earliest(index: Index, until: number, limit: number): string[] {
  const found = [...index].filter(([, at]) => at <= until);
  found.sort(([a, atA], [b, atB]) => atA - atB || (a < b ? -1 : 1));
  return found.slice(0, Math.max(0, limit)).map(([id]) => id);
}

/** Adds to the set or list under a key, made at first use. */
export function addTo<T>(sets: Map<string, Set<T>>, key: string, item: T): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([item]));
  else set.add(item);
}

export function appendTo<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [item]);
  else list.push(item);
}

export function removeFrom(sets: Map<string, Set<string>>, key: string, item: string): void {
  const set = sets.get(key);
  if (set?.delete(item) && set.size === 0) sets.delete(key);
}
