// What crosses the broker besides tasks: requests and responses (B5), and what bus-only agents report.
import { z } from 'zod';
import { agentCard } from './agent.js';
import { json } from './json.js';
import { name, runId, taskId } from './names.js';
import { errorRecord, taskMessage } from './task.js';

const word = z.enum(['low', 'medium', 'high', 'critical']);

/** A question to an agent now. It lives in the message only: nothing of it is stored. */
export const requestEvent = z.looseObject({
  event_type: z.literal('agent_request'),
  event_id: z.string().min(1).max(128),
  source_agent: z.string().max(128),
  target_agent: z.string().max(128).meta({ description: "An agent id, or '*' for a broadcast." }),
  action: z.string().min(1).max(128),
  parameters: json.default({}),
  callback_url: z.url().nullish(),
  priority: word.default('medium'),
  timeout_seconds: z.number().positive().default(300),
  correlation_id: z.string().max(128).nullish(),
  created_at: z.string(),
});
export type RequestEvent = z.infer<typeof requestEvent>;

export const responseEvent = z.looseObject({
  event_type: z.literal('agent_response'),
  event_id: z.string(),
  request_id: z.string().meta({ description: "The request's event_id." }),
  source_agent: z.string(),
  target_agent: z.string(),
  status: z.enum(['success', 'error', 'timeout']),
  result: json.optional(),
  error: errorRecord.nullish(),
  duration_ms: z.number(),
  created_at: z.string(),
});
export type ResponseEvent = z.infer<typeof responseEvent>;

const ofTask = {
  task_id: taskId,
  agent_id: name,
  attempt: z.int().min(1).optional().meta({
    description:
      "The message's header x-muster-attempt; 1 when it has none. With it a report that comes late is told from one of the next attempt.",
  }),
};

/** What a bus-only agent publishes to the exchange `muster.result`; the AMQP `type` property repeats `type`. */
export const report = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('agent.register'), agent: agentCard }),
  z.looseObject({ type: z.literal('agent.heartbeat'), agent_id: name, in_flight: z.int().min(0).optional() }),
  z.looseObject({ type: z.literal('agent.leave'), agent_id: name }),
  z.looseObject({
    type: z.literal('task.started'),
    ...ofTask,
    redelivered: z.boolean().optional().meta({
      description: 'As the broker flagged the delivery: an earlier attempt of this agent ended without a report.',
    }),
    task: taskMessage.optional().meta({
      description: 'The message as it came. A task that was published without a record is stored from it.',
    }),
  }),
  z.looseObject({
    type: z.literal('task.progressed'),
    ...ofTask,
    fraction: z.number().min(0).max(1),
    note: z.string().max(500).optional(),
  }),
  z.looseObject({ type: z.literal('task.completed'), ...ofTask, output: json.optional() }),
  z.looseObject({
    type: z.literal('task.failed'),
    ...ofTask,
    error: errorRecord,
    retryable: z.boolean().optional(),
  }),
]);
export type Report = z.infer<typeof report>;

/** The answer to a run published to `muster.submit` with reply_to. */
export const runResponse = z.discriminatedUnion('status', [
  z.looseObject({ status: z.literal('accepted'), run: runId, tasks: z.array(taskId) }),
  z.looseObject({ status: z.literal('refused'), error: errorRecord }),
]);
export type RunResponse = z.infer<typeof runResponse>;
