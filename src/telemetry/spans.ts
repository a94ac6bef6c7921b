// The spans of the road, by hop: their names and attributes, after OpenTelemetry's messaging and agent conventions.
// submit -> send (dispatch) and process (attempt), both children of the submit; request -> serve.
import type { Attributes } from '@opentelemetry/api';
import type { EventRecord } from '../contracts/events.js';
import { PRIORITIES, type Priority, type PriorityClass } from '../contracts/priority.js';
import type { Random } from '../ports.js';
import { redactText } from './redact.js';
import { currentTraceparent, failSpan, isTracing, newTraceparent, noteOnSpan, withSpan } from './tracing.js';

/** A task as a span tells of it; a ReadyTask of the store is one. */
export interface TracedTask {
  readonly id: string;
  readonly capability: string;
  readonly priority: Priority | PriorityClass;
  readonly attempt: number;
  readonly traceparent?: string | undefined;
  /** The run's label `workflow_type`, where it is known. */
  readonly workflowType?: string | undefined;
}

/** What is submitted in one call: a task, or a run of many. */
export interface TracedSubmit {
  readonly run: string;
  readonly tasks: number;
  readonly exchange: string;
  readonly capability?: string | undefined;
  readonly priority?: Priority | undefined;
  readonly workflowType?: string | undefined;
  /** Whose doing it is when no span is active: the task being handled, or what the caller passed on. */
  readonly parent?: string | undefined;
  /** Traceparents of what this repeats: a redriven dead letter, a replayed run. */
  readonly links?: readonly string[];
}

/**
 * Submits inside `submit <exchange>`, a child of the active span or of `parent`, or the root of a new trace. `run` gets the
 * traceparent to store with the tasks: always one, with or without an SDK, so that whoever comes later can still join them.
 */
export function submitSpan<T>(about: TracedSubmit, random: Random, run: (traceparent: string) => T): T {
  if (!isTracing()) return run(about.parent ?? newTraceparent(random, true));
  const parent = currentTraceparent() === undefined ? about.parent : undefined;
  const attributes: Attributes = {
    ...messaging('submit', 'create', about.exchange),
    'messaging.message.conversation_id': about.run,
    'messaging.batch.message_count': about.tasks,
    'muster.run.id': about.run,
  };
  if (about.capability !== undefined) attributes['muster.capability'] = about.capability;
  if (about.priority !== undefined) attributes['muster.priority'] = about.priority;
  if (about.workflowType !== undefined) attributes.workflow_type = about.workflowType;
  return withSpan(
    'producer',
    `submit ${about.exchange}`,
    parent,
    attributes,
    (traceparent) => run(traceparent ?? newTraceparent(random, true)),
    about.links === undefined ? {} : { links: about.links },
  );
}

/** Publishes a task's message inside `send <exchange>`, a child of its submit. The message carries the task's own traceparent. */
export function dispatchSpan<T>(task: TracedTask, exchange: string, routingKey: string, run: () => T): T {
  if (!isTracing()) return run();
  const attributes = {
    ...messaging('send', 'send', `${exchange}:${routingKey}`),
    'messaging.rabbitmq.destination.routing_key': routingKey,
    ...ofTask(task),
  };
  return withSpan('producer', `send ${exchange}`, task.traceparent, attributes, run, { detached: true });
}

export interface ProcessPlace {
  readonly exchange: string;
  readonly routingKey: string;
  readonly queue: string;
  /** The queue's name without an agent in it, where `queue` is an inbox: keeps span names few. */
  readonly template?: string;
}
export interface TracedAgent {
  readonly id: string;
  readonly name: string;
}

/** Runs an attempt inside `process <queue>`, a child of the submit. Spans made in the handler, in any depth, descend from it. */
export function processSpan<T>(task: TracedTask, place: ProcessPlace, agent: TracedAgent, run: () => T): T {
  if (!isTracing()) return run();
  const attributes: Attributes = {
    ...messaging('process', 'process', `${place.exchange}:${place.routingKey}:${place.queue}`),
    'messaging.rabbitmq.destination.routing_key': place.routingKey,
    ...ofTask(task),
    ...ofAgent(agent),
  };
  if (place.template !== undefined) attributes['messaging.destination.template'] = place.template;
  return withSpan('consumer', `process ${place.template ?? place.queue}`, task.traceparent, attributes, run, {
    detached: true,
  });
}

export interface TracedRequest {
  readonly id: string;
  readonly action: string;
  /** An agent, a capability or 'any'. */
  readonly target: string;
  readonly exchange: string;
  readonly correlationId?: string | undefined;
}

/** Asks an agent inside `invoke_agent <target>`, until its reply. `run` gets the traceparent for the request's headers. */
export function requestSpan<T>(
  request: TracedRequest,
  parent: string | undefined,
  random: Random,
  run: (traceparent: string) => T,
): T {
  if (!isTracing()) return run(parent ?? newTraceparent(random, true));
  const from = currentTraceparent() === undefined ? parent : undefined;
  return withSpan('client', `invoke_agent ${request.target}`, from, ofRequest(request, 'send'), (traceparent) =>
    run(traceparent ?? newTraceparent(random, true)),
  );
}

/** Answers a request inside `process <exchange>`, a child of the asking span. */
export function serveSpan<T>(
  request: TracedRequest,
  traceparent: string | undefined,
  agent: TracedAgent,
  run: () => T,
): T {
  if (!isTracing()) return run();
  const attributes = { ...ofRequest(request, 'process'), ...ofAgent(agent) };
  return withSpan('server', `process ${request.exchange}`, traceparent, attributes, run, { detached: true });
}

/**
 * A listener for `Emitter.on`: the state transitions of tasks, as events on the span they happen in. A failed attempt marks its
 * span as failed; tasks that die of another's failure do not.
 */
export function traceEvents(record: EventRecord): void {
  if (!record.event.startsWith('task.') || currentTraceparent() === undefined) return;
  const { event, at: _at, source: _source, ...data } = record;
  const attributes: Attributes = {};
  for (const [name, value] of Object.entries(data)) {
    attributes[`muster.${name}`] = typeof value === 'string' ? redactText(value) : value;
  }
  noteOnSpan(event, attributes);
  if (record.event === 'task.retrying') failSpan(record.error, 'attempt_failed');
  if (record.event === 'task.dead' && !record.reason.startsWith('dependency_')) failSpan(record.error, record.reason);
}

// Both names of the system: 1.45 of the conventions renames the first to the second, and is not stable yet.
function messaging(name: string, type: 'create' | 'send' | 'process', destination: string): Attributes {
  return {
    'messaging.system': 'rabbitmq',
    'messaging.system.name': 'rabbitmq',
    'messaging.operation.name': name,
    'messaging.operation.type': type,
    'messaging.destination.name': destination,
  };
}

function ofTask(task: TracedTask): Attributes {
  const dot = task.id.indexOf('.');
  const run = dot < 0 ? task.id : task.id.slice(0, dot);
  const attributes: Attributes = {
    'messaging.message.id': task.id,
    'messaging.message.conversation_id': run,
    'muster.task.id': task.id,
    'muster.task.attempt': task.attempt,
    'muster.run.id': run,
    'muster.capability': task.capability,
    'muster.priority': typeof task.priority === 'number' ? PRIORITIES[task.priority] : task.priority,
  };
  if (task.workflowType !== undefined) attributes.workflow_type = task.workflowType;
  return attributes;
}

function ofAgent(agent: TracedAgent): Attributes {
  return { 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.agent.id': agent.id, 'gen_ai.agent.name': agent.name };
}

function ofRequest(request: TracedRequest, type: 'send' | 'process'): Attributes {
  const attributes: Attributes = {
    ...messaging(type, type, request.exchange),
    'messaging.message.id': request.id,
    'muster.request.action': request.action,
    'muster.request.target': request.target,
    'gen_ai.operation.name': 'invoke_agent',
  };
  if (request.correlationId !== undefined) attributes['messaging.message.conversation_id'] = request.correlationId;
  return attributes;
}
