// Hop 1, the edge: what a client submits becomes what the store takes. Everything wrong is refused here, before anything is stored.
import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { joinTaskId } from '../contracts/names.js';
import { toClass, toPriority } from '../contracts/priority.js';
import {
  type FailureRule,
  type RunSpec,
  runSpec,
  type TaskMessage,
  type TaskSpec,
  taskMessage,
} from '../contracts/task.js';
import { DEFAULT_RETRY } from '../decide/backoff.js';
import { validateRun } from '../decide/dag.js';
import { InvalidInput, Malformed, PayloadTooLarge } from '../errors.js';
import type { IncomingMessage, NewTask } from '../ports.js';

/** Deeper JSON is refused: a recursive reader further on would overflow its stack. */
const MAX_DEPTH = 64;

/** Parses a value against a contract; throws INVALID_INPUT with every problem and where it is. */
export function validate<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  // zod itself descends recursively: depth is checked before it.
  if (depthExceeds(value, MAX_DEPTH)) throw InvalidInput(what, `it is nested more than ${MAX_DEPTH} levels deep`);
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.slice(0, 10).map((issue) => {
    const path = issue.path.map(String).join('.');
    return path === '' ? issue.message : `${path}: ${issue.message}`;
  });
  const rest = parsed.error.issues.length - problems.length;
  throw InvalidInput(what, problems.join('; ') + (rest > 0 ? `; and ${rest} more` : ''), {
    details: {
      issues: parsed.error.issues
        .slice(0, 50)
        .map((issue) => ({ path: issue.path.map(String), message: issue.message })),
    },
  });
}

/**
 * Recursive only as far as the limit, so 200,000 levels cannot overflow the stack; circles exceed any depth. Written for speed: it
 * meets every body.
 */
export function depthExceeds(value: unknown, limit: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (limit < 0) return true;
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === 'object' && depthExceeds(item, limit - 1)) return true;
    return false;
  }
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === 'object' && depthExceeds(item, limit - 1)) return true;
  }
  return false;
}

/** What a caller gave, as the body of a message. Throws INVALID_INPUT where it is too deep, circular, or not JSON. */
export function encodeBody(value: unknown, what: string): Buffer {
  if (depthExceeds(value, MAX_DEPTH)) throw InvalidInput(what, `it is nested more than ${MAX_DEPTH} levels deep`);
  return Buffer.from(stringify(value, what));
}

/** BigInts have no JSON, and toJSON methods may throw. */
function stringify(value: unknown, what: string): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw InvalidInput(what, error instanceof Error ? error.message : 'it is not JSON');
  }
}

export interface Limits {
  /** Bytes of one message body. */
  readonly maxPayload: number;
}

/** The submitted form of one task, which also is its message body. Fields that only the store needs are left out. */
function toNewTask(
  id: string,
  spec: Omit<TaskSpec, 'key' | 'after' | 'on_failure'>,
  dependencies: NewTask['dependencies'],
  traceparent: string,
  limits: Limits,
): NewTask {
  const message: TaskMessage = {
    id,
    capability: spec.capability,
    priority: toPriority(spec.priority),
    parameters: spec.parameters ?? {},
    traceparent,
  };
  if (spec.constraints !== undefined) message.constraints = spec.constraints;
  if (spec.assigned_to !== undefined) message.assigned_to = spec.assigned_to;
  if (spec.route !== undefined) message.route = spec.route;
  if (spec.retry !== undefined) message.retry = spec.retry;
  if (spec.not_before !== undefined) message.not_before = spec.not_before;
  if (spec.deadline_at !== undefined) message.deadline_at = spec.deadline_at;
  const body = stringify(message, `The task '${id}'`);
  const bytes = Buffer.byteLength(body);
  if (bytes > limits.maxPayload) throw PayloadTooLarge(`Task '${id}'`, bytes, limits.maxPayload);
  const timeout = spec.constraints?.timeout;
  return {
    id,
    capability: spec.capability,
    priority: toClass(spec.priority),
    body,
    maxAttempts: spec.retry?.max_attempts ?? DEFAULT_RETRY.max_attempts,
    dependencies,
    requiresApproval: spec.constraints?.requires_approval === true,
    ...(timeout === undefined ? {} : { timeoutMs: Math.ceil(timeout * 1000) }),
    ...(spec.not_before === undefined ? {} : { notBefore: Date.parse(spec.not_before) }),
    ...(spec.deadline_at === undefined ? {} : { deadlineAt: Date.parse(spec.deadline_at) }),
    ...(spec.assigned_to === undefined ? {} : { assignedTo: spec.assigned_to }),
    ...(spec.route === 'least-connections' ? { leastConnections: true } : {}),
  };
}

/** One task that is its own run. `spec` must have passed taskSpec, or be made of typed parts. */
export function prepareTask(id: string, spec: TaskSpec, traceparent: string, limits: Limits): NewTask {
  return toNewTask(id, spec, [], traceparent, limits);
}

/** CloudEvents 1.0 in structured mode carries the message as its `data`. */
const CLOUD_EVENT = 'application/cloudevents+json';

/** A message body as JSON, out of its CloudEvents envelope if it has one. Throws MALFORMED. */
export function parseBody(message: IncomingMessage): unknown {
  let body: unknown;
  try {
    body = JSON.parse(message.body.toString());
  } catch (error) {
    throw Malformed('The message body', error instanceof Error ? error.message : 'it is not JSON');
  }
  if (message.contentType?.startsWith(CLOUD_EVENT) !== true) return body;
  const envelope = body as { specversion?: unknown; data?: unknown; id?: unknown } | null;
  if (
    typeof envelope !== 'object' ||
    envelope === null ||
    envelope.specversion !== '1.0' ||
    envelope.data === undefined
  ) {
    throw Malformed('The CloudEvents envelope', "it has no specversion '1.0', or no data");
  }
  const { data, id } = envelope;
  // Reports and runs have ids of their own, or none: only a task is named by its envelope.
  const isTask = typeof data === 'object' && data !== null && 'capability' in data && !('id' in data);
  return isTask ? { id, ...data } : data;
}

/**
 * A delivered task: its id and its body. What Muster itself dispatched was checked when it was submitted; everything else is
 * checked here. Throws MALFORMED, INVALID_INPUT or PAYLOAD_TOO_LARGE: no attempt can make sense of it.
 */
export function decodeTask(
  message: IncomingMessage,
  limits: Limits,
): { id: string; task: TaskMessage; foreign: boolean } {
  if (message.body.length > limits.maxPayload + 4096)
    throw PayloadTooLarge('The task message', message.body.length, limits.maxPayload);
  const body = parseBody(message);
  // Anyone can call himself muster: this much is checked of all, and prepareForeign() checks the rest where the store knows nothing.
  const known = (body as { capability?: unknown } | null)?.capability;
  if (message.appId === 'muster' && message.messageId !== undefined && typeof known === 'string') {
    return { id: message.messageId, task: body as TaskMessage, foreign: false };
  }
  const task = validate(taskMessage, body, 'The task message');
  const id = task.id ?? message.messageId ?? cloudEventId(message);
  if (id === undefined)
    throw InvalidInput(
      'The task message',
      "it has no id: set the AMQP property message_id, the field 'id', or the header cloudEvents_id",
    );
  if (message.messageId !== undefined && message.messageId !== id) {
    throw InvalidInput('The task message', `its id '${id}' is not its message_id '${message.messageId}'`);
  }
  validate(taskMessage.shape.id, id, 'The task id');
  return { id, task, foreign: true };
}

/** CloudEvents 1.0 in binary mode: the attributes are headers, with one of the three prefixes in use. */
function cloudEventId({ headers }: IncomingMessage): string | undefined {
  const id = headers.cloudEvents_id ?? headers['cloudEvents:id'] ?? headers['ce-id'];
  return typeof id === 'string' ? id : undefined;
}

/** The record that a published task lacks in the store. Throws INVALID_INPUT: whoever published it may have called himself muster. */
export function prepareForeign(id: string, task: TaskMessage, traceparent: string, limits: Limits): NewTask {
  validate(taskMessage.shape.id, id, 'The task id');
  return toNewTask(id, validate(taskMessage, task, 'The task message'), [], traceparent, limits);
}

/** Tasks of one run, checked as a whole: keys, dependencies, no cycle. `existing`: keys of the run that is added to. */
export function prepareRun(
  run: string,
  spec: RunSpec,
  traceparent: string,
  limits: Limits,
  existing: ReadonlySet<string> = new Set(),
): NewTask[] {
  const taken = new Set(spec.tasks.map((task) => task.key).filter((key) => key !== undefined));
  const keyed = spec.tasks.map((task) => ({ ...task, key: task.key ?? freeKey(task.capability, taken) }));
  const dependencies = keyed.map((task) =>
    (task.after ?? []).map((edge) => {
      const named = typeof edge === 'string' ? { task: edge } : edge;
      const rule: FailureRule = named.on_failure ?? task.on_failure ?? spec.on_failure ?? 'fail';
      return { key: named.task, rule };
    }),
  );
  validateRun(
    keyed.map((task, i) => ({
      key: task.key,
      after: dependencies[i]!.map((dependency) => dependency.key).filter((key) => !existing.has(key)),
    })),
  );
  return keyed.map((task, i) =>
    toNewTask(joinTaskId(run, task.key), task, unique(dependencies[i]!), traceparent, limits),
  );
}

function freeKey(capability: string, taken: Set<string>): string {
  let key = capability;
  for (let n = 2; taken.has(key); n++) key = `${capability.slice(0, 55)}-${n}`;
  taken.add(key);
  return key;
}

/** A dependency named twice is one edge; the stricter rule stays. */
function unique(dependencies: NewTask['dependencies']): NewTask['dependencies'] {
  const strictness: Record<FailureRule, number> = { fail: 2, skip: 1, continue: 0 };
  const byKey = new Map<string, FailureRule>();
  for (const { key, rule } of dependencies) {
    const known = byKey.get(key);
    if (known === undefined || strictness[rule] > strictness[known]) byKey.set(key, rule);
  }
  return [...byKey].map(([key, rule]) => ({ key, rule }));
}

export function validateRunSpec(value: unknown): RunSpec {
  return validate(runSpec, value, 'The run');
}

/** The run id of an idempotency key: the same key always names the same run, so the store itself notices the repeat. */
export function runIdOfKey(idempotencyKey: string): string {
  return `key-${createHash('sha256').update(idempotencyKey).digest('hex').slice(0, 40)}`;
}

/** Digest of what was submitted; key order does not matter. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('base64url').slice(0, 22);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value as Record<string, unknown>).filter(([, item]) => item !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
}
