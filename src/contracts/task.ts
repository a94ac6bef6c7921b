// Tasks and runs as they are submitted, stored and sent. Wire fields are snake_case: schemas/task.json and run.json come from here.
import { z } from 'zod';
import { json } from './json.js';
import { name, runId, taskId } from './names.js';
import { priorityInput } from './priority.js';

/** Every state a task can be in; the last three are final. 'dispatched' is a ready task whose message the broker confirmed. */
export const TASK_STATES = [
  'blocked',
  'scheduled',
  'ready',
  'dispatched',
  'running',
  'retrying',
  'completed',
  'dead',
  'cancelled',
] as const;
export const taskState = z.enum(TASK_STATES);
export type TaskState = z.infer<typeof taskState>;
export type FinalState = 'completed' | 'dead' | 'cancelled';

export function isFinal(state: TaskState): state is FinalState {
  return state === 'completed' || state === 'dead' || state === 'cancelled';
}

/** What becomes of a dependent when the task it waits for does not complete. */
export const failureRule = z.enum(['fail', 'skip', 'continue']).meta({
  description:
    'fail: the dependent fails too; skip: it is cancelled as skipped; continue: it runs, and reads no result of that task.',
});
export type FailureRule = z.infer<typeof failureRule>;

export const retryPolicy = z.strictObject({
  max_attempts: z.int().min(1).max(100).optional().meta({ description: 'The first try counts. Default 3.' }),
  base_ms: z
    .int()
    .min(1)
    .max(86_400_000)
    .optional()
    .meta({ description: 'Backoff before the second attempt. Default 1000.' }),
  factor: z.number().min(1).max(10).optional().meta({ description: 'Growth of the backoff per attempt. Default 2.' }),
  cap_ms: z.int().min(1).max(86_400_000).optional().meta({ description: 'The longest backoff. Default 300000.' }),
});
export type RetryPolicy = z.infer<typeof retryPolicy>;

export const constraints = z.looseObject({
  timeout: z.number().positive().max(604_800).optional().meta({ description: 'Seconds one attempt may take.' }),
  requires_approval: z.boolean().optional().meta({ description: 'The task waits until someone approves it.' }),
});

const traceparent = z
  .string()
  .regex(/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/, 'not a W3C traceparent')
  .meta({ description: 'W3C Trace Context, section 3.2: the span that submitted the task.' });

const taskFields = {
  capability: name.meta({ description: 'The named skill an agent must offer.' }),
  priority: priorityInput.optional(),
  parameters: json
    .optional()
    .meta({ description: "The handler's input, checked against the capability's own schema." }),
  constraints: constraints.optional(),
  assigned_to: name.optional().meta({ description: 'The one agent that may run it; it waits for that agent.' }),
  route: z.enum(['queue', 'least-connections']).optional().meta({
    description: 'queue (default): agents compete; least-connections: sent to the free agent with the smallest load.',
  }),
  retry: retryPolicy.optional(),
  not_before: z.iso.datetime({ offset: true }).optional(),
  deadline_at: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'After this moment the task is dead, not run.' }),
} as const;

/** One task of a run, as a client submits it. Unknown fields are refused, so a typo is never silently ignored. */
export const taskSpec = z.strictObject({
  key: name.optional().meta({ description: "The task's name within its run." }),
  after: z
    .array(z.union([name, z.strictObject({ task: name, on_failure: failureRule.optional() })]))
    .max(100_000)
    .optional()
    .meta({ description: 'Keys of the tasks of this run that must end first.' }),
  on_failure: failureRule
    .optional()
    .meta({ description: "The rule of this task's dependencies that name none of their own." }),
  ...taskFields,
});
export type TaskSpec = z.infer<typeof taskSpec>;

/** A run: tasks and what they wait for. Published to `muster.submit`, or submitted by SDK, CLI or HTTP. */
export const runSpec = z.strictObject({
  id: runId.optional(),
  idempotency_key: z.string().min(1).max(256).optional(),
  labels: z.record(z.string().max(64), z.string().max(256)).optional(),
  on_failure: failureRule
    .optional()
    .meta({ description: 'The rule of every edge that has none of its own. Default fail.' }),
  tasks: z.array(taskSpec).min(1).max(200_000),
  traceparent: traceparent.optional(),
});
export type RunSpec = z.infer<typeof runSpec>;

/** The body of a message on `muster.task`. Unknown fields survive: version N+1 may add some. */
export const taskMessage = z.looseObject({
  id: taskId.optional().meta({ description: 'Defaults to the AMQP message_id.' }),
  ...taskFields,
  traceparent: traceparent.optional(),
});
export type TaskMessage = z.infer<typeof taskMessage>;

/** Why a task is dead or cancelled, or why it is not yet running. Closed set: a metric label and a branch for clients. */
export const TASK_REASONS = [
  'attempts_exhausted',
  'not_retryable',
  'invalid_input',
  'deadline',
  'timeout',
  'agents_lost',
  'dependency_failed',
  'dependency_cancelled',
  'dependency_skipped',
  'cancelled_by_request',
] as const;
export const taskReason = z.enum(TASK_REASONS);
export type TaskReason = z.infer<typeof taskReason>;

export const errorRecord = z.looseObject({ code: z.string(), message: z.string(), stack: z.string().optional() });

/** A stored task as `task show --json` and the API give it. Times are ISO 8601, durations say their unit. */
export const task = z.strictObject({
  id: taskId,
  run: runId,
  key: z.string(),
  capability: z.string(),
  priority: z.enum(['P0', 'P1', 'P2', 'P3']),
  status: taskState,
  reason: z.string().optional(),
  attempt: z.int().min(0).meta({ description: 'The current or last attempt, 1-based; 0 before the first.' }),
  max_attempts: z.int(),
  failed_attempts: z.int(),
  lost_attempts: z
    .int()
    .meta({ description: 'Attempts that ended because their agent vanished; they do not count against max_attempts.' }),
  assigned_to: z.string().optional(),
  agent: z.string().optional().meta({ description: 'The instance that holds or held it.' }),
  waiting_for: z.array(z.string()),
  after: z.array(z.strictObject({ task: z.string(), on_failure: failureRule })),
  parameters: json.optional(),
  progress: z.strictObject({ fraction: z.number(), note: z.string().optional() }).optional(),
  result: json.optional(),
  error: errorRecord.optional(),
  submitted_at: z.string(),
  ready_at: z.string().optional(),
  started_at: z.string().optional(),
  finished_at: z.string().optional(),
  due_at: z.string().optional().meta({ description: 'When a scheduled or retrying task becomes ready.' }),
  deadline_at: z.string().optional(),
  traceparent: z.string().optional(),
});
export type Task = z.infer<typeof task>;

/** How a task ended: what `outcome()` gives and the notification of a finished task carries. */
export const taskOutcome = z.looseObject({
  id: taskId,
  status: z.enum(['completed', 'dead', 'cancelled']),
  reason: z.string().optional(),
  attempt: z.int(),
  agent: z.string().optional(),
  output: json.optional(),
  error: errorRecord.optional(),
});
export type TaskOutcome = z.infer<typeof taskOutcome>;

export const run = z.strictObject({
  id: runId,
  status: z.enum(['open', 'running', 'completed', 'failed']),
  total: z.int(),
  done: z.int(),
  failed: z.int(),
  labels: z.record(z.string(), z.string()),
  submitted_at: z.string(),
  finished_at: z.string().optional(),
});
export type Run = z.infer<typeof run>;
