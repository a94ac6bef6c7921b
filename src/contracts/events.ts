// The event union: what happened, in the past tense. Logs, metrics, traces, the live feed and AsyncAPI are all fed from it.
import type { TaskReason } from './task.js';

interface OfTask {
  readonly task: string;
  readonly capability: string;
}

export interface MusterEvents {
  'task.submitted': OfTask & { readonly priority: string };
  'task.ready': OfTask;
  'task.dispatched': OfTask & { readonly exchange: string; readonly routing_key: string };
  'task.started': OfTask & {
    readonly agent: string;
    readonly attempt: number;
    readonly waited_ms: number;
    readonly priority: string;
  };
  'task.progressed': OfTask & { readonly fraction: number; readonly note?: string };
  'task.completed': OfTask & { readonly agent: string; readonly attempt: number; readonly duration_ms: number };
  'task.retrying': OfTask & { readonly attempt: number; readonly after_ms: number; readonly error: string };
  'task.dead': OfTask & { readonly reason: TaskReason; readonly attempt: number; readonly error: string };
  'task.cancelled': OfTask & { readonly reason: string };
  'task.rescued': OfTask & { readonly agent: string; readonly cause: 'lease_expired' | 'agent_gone' | 'handed_back' };
  'task.stale': OfTask & { readonly agent: string };
  'task.duplicate': OfTask & { readonly state: string };
  'run.submitted': { readonly run: string; readonly tasks: number };
  'run.finished': { readonly run: string; readonly status: 'completed' | 'failed'; readonly duration_ms: number };
  'message.malformed': { readonly queue: string; readonly problem: string };
  'message.parked': { readonly queue: string; readonly routing_key: string };
  'message.forwarded': { readonly routing_key: string; readonly messages: number };
  'agent.joined': { readonly agent: string; readonly instance: string; readonly capabilities: readonly string[] };
  'agent.left': {
    readonly agent: string;
    readonly instance: string;
    readonly reason: 'stopped' | 'lease_expired' | 'replaced';
  };
  'agent.stale': { readonly agent: string; readonly instance: string; readonly silent_ms: number };
  'agent.changed': { readonly agent: string; readonly capabilities: readonly string[] };
  'agent.draining': { readonly agent: string };
  'agent.stalled': { readonly agent: string; readonly blocked_ms: number };
  'request.sent': { readonly target: string; readonly action: string };
  'request.answered': {
    readonly target: string;
    readonly action: string;
    readonly status: 'success' | 'error' | 'timeout';
    readonly duration_ms: number;
  };
  'request.served': {
    readonly agent: string;
    readonly action: string;
    readonly status: 'success' | 'error' | 'timeout';
    readonly duration_ms: number;
  };
  'registry.lookup': { readonly duration_ms: number; readonly found: number };
  'queue.paused': { readonly capability: string };
  'queue.resumed': { readonly capability: string };
  'bus.state': { readonly role: string; readonly state: string; readonly why?: string };
  'store.state': { readonly state: string; readonly why?: string };
  'loop.failed': { readonly loop: string; readonly error: string };
}
export type EventName = keyof MusterEvents;

/** What travels on `muster.event` (routing key `event.<name>`) and what `muster events --json` prints, one per line. */
export type EventRecord<N extends EventName = EventName> = {
  [K in N]: { readonly event: K; readonly at: string; readonly source: string } & MusterEvents[K];
}[N];

/** Every event name, for lists in docs, metrics and the AsyncAPI document. A missing one fails to compile. */
const names: Record<EventName, true> = {
  'task.submitted': true,
  'task.ready': true,
  'task.dispatched': true,
  'task.started': true,
  'task.progressed': true,
  'task.completed': true,
  'task.retrying': true,
  'task.dead': true,
  'task.cancelled': true,
  'task.rescued': true,
  'task.stale': true,
  'task.duplicate': true,
  'run.submitted': true,
  'run.finished': true,
  'message.malformed': true,
  'message.parked': true,
  'message.forwarded': true,
  'agent.joined': true,
  'agent.left': true,
  'agent.stale': true,
  'agent.changed': true,
  'agent.draining': true,
  'agent.stalled': true,
  'request.sent': true,
  'request.answered': true,
  'request.served': true,
  'registry.lookup': true,
  'queue.paused': true,
  'queue.resumed': true,
  'bus.state': true,
  'store.state': true,
  'loop.failed': true,
};
export const EVENT_NAMES = Object.keys(names) as readonly EventName[];
