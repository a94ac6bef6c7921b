// Every contract that leaves the process: its schema, its direction, and samples. schemas/*.json and docs/asyncapi.json are
// generated from this list (npm run generate), and a test holds samples, zod and the generated files to one another.
import { z } from 'zod';
import { agentCard, agentRecord, capabilityRecord } from './agent.js';
import { report, requestEvent, responseEvent, runResponse } from './messages.js';
import { run, runSpec, task, taskMessage, taskOutcome } from './task.js';

export const SCHEMA_BASE = 'https://muster.example/schemas/';

/** What every record on `muster.event` has; docs/events.md lists the fields each of Muster's own adds. */
export const eventRecord = z.looseObject({
  event: z
    .string()
    .regex(/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/)
    .meta({ description: "The topic: one of Muster's own events, or a client's, whose fields are then under 'data'." }),
  at: z.iso.datetime(),
  source: z.string().meta({ description: 'The instance that announced it.' }),
});

export interface Contract {
  readonly title: string;
  readonly description: string;
  readonly schema: z.ZodType;
  /** input: others send it to Muster, defaults may be left out. output: Muster sends it. */
  readonly io: 'input' | 'output';
  readonly examples: readonly object[];
}

const AT = '2026-01-02T03:04:05.678Z';
const capabilityExample = {
  name: 'code-review',
  description: 'Reviews a diff.',
  parameters: { repo_url: 'str', pr_number: 'int', draft: 'bool?' },
  cost_estimate: '~100 tokens',
  tags: ['git'],
};
const cardExample = { agent_id: 'reviewer', agent_name: 'Reviewer', capabilities: [capabilityExample], capacity: 2 };
const PARAMETERS = { type: 'object', properties: { repo_url: { type: 'string' } }, required: ['repo_url'] };

/** By file name: schemas/<name>.json. */
export const CONTRACTS: Readonly<Record<string, Contract>> = {
  task: {
    title: 'Task message',
    description: 'The body of a message on the exchange `task`: one unit of work.',
    schema: taskMessage,
    io: 'input',
    examples: [
      { capability: 'code-review' },
      {
        id: 'pr-17',
        capability: 'code-review',
        priority: 'high',
        parameters: { repo_url: 'https://git.example/app.git', pr_number: 17 },
        constraints: { timeout: 600 },
        retry: { max_attempts: 5, base_ms: 2000 },
        deadline_at: '2026-01-02T04:00:00Z',
      },
    ],
  },
  run: {
    title: 'Run',
    description:
      'Tasks and what they wait for: the body of a message on the exchange `submit`. Accepted whole or refused whole.',
    schema: runSpec,
    io: 'input',
    examples: [
      {
        id: 'release-42',
        tasks: [
          { key: 'build', capability: 'cicd', parameters: { ref: 'v42' } },
          { key: 'review', capability: 'code-review', priority: 1 },
          { key: 'deploy', capability: 'infrastructure', after: ['build', { task: 'review', on_failure: 'continue' }] },
        ],
      },
    ],
  },
  'run-response': {
    title: 'Answer to a run',
    description: 'What a manager answers to a run published with reply_to.',
    schema: runResponse,
    io: 'output',
    examples: [
      { status: 'accepted', run: 'release-42', tasks: ['release-42.build', 'release-42.review'] },
      { status: 'refused', error: { code: 'CYCLIC_RUN', message: 'a -> b -> a' } },
    ],
  },
  agent: {
    title: 'Agent card',
    description: 'What an agent says of itself when it joins.',
    schema: agentCard,
    io: 'input',
    examples: [cardExample, { agent_id: 'shell', agent_name: 'Shell', capabilities: [] }],
  },
  capability: {
    title: 'Capability',
    description: 'A named skill of an agent, with the schema of its input.',
    schema: capabilityRecord,
    io: 'input',
    examples: [capabilityExample, { name: 'docs', parameters: PARAMETERS, result: { type: 'string' } }],
  },
  request: {
    title: 'Request',
    description: 'A question to an agent now, on the exchange `agent` or `broadcast`. Nothing of it is stored.',
    schema: requestEvent,
    io: 'input',
    examples: [
      {
        event_type: 'agent_request',
        event_id: '0b1c2d3e',
        source_agent: 'pika',
        target_agent: 'reviewer',
        action: 'code-review',
        parameters: { repo_url: 'https://git.example/app.git' },
        timeout_seconds: 10,
        created_at: AT,
      },
    ],
  },
  response: {
    title: 'Response',
    description: 'The answer to a request, on the exchange `reply`, to the key the request named in reply_to.',
    schema: responseEvent,
    io: 'output',
    examples: [
      {
        event_type: 'agent_response',
        event_id: '9f8e7d6c',
        request_id: '0b1c2d3e',
        source_agent: 'reviewer',
        target_agent: 'pika',
        status: 'success',
        result: { findings: 0 },
        duration_ms: 12.5,
        created_at: AT,
      },
    ],
  },
  report: {
    title: 'Report',
    description: 'What a bus-only agent says of itself and its tasks, on the exchange `result`.',
    schema: report,
    io: 'input',
    examples: [
      { type: 'agent.register', agent: cardExample },
      { type: 'agent.heartbeat', agent_id: 'reviewer', in_flight: 1 },
      { type: 'agent.leave', agent_id: 'reviewer' },
      { type: 'task.started', task_id: 'pr-17', agent_id: 'reviewer', redelivered: false },
      { type: 'task.progressed', task_id: 'pr-17', agent_id: 'reviewer', fraction: 0.5, note: 'half of the files' },
      { type: 'task.completed', task_id: 'pr-17', agent_id: 'reviewer', output: { findings: 0 } },
      {
        type: 'task.failed',
        task_id: 'pr-17',
        agent_id: 'reviewer',
        error: { code: 'CLONE_FAILED', message: 'repository not found' },
        retryable: false,
      },
    ],
  },
  outcome: {
    title: 'Outcome',
    description: 'How a task ended.',
    schema: taskOutcome,
    io: 'output',
    examples: [
      { id: 'pr-17', status: 'completed', attempt: 1, agent: 'reviewer-k3j9x2', output: { findings: 0 } },
      {
        id: 'pr-18',
        status: 'dead',
        reason: 'attempts_exhausted',
        attempt: 3,
        error: { code: 'ERROR', message: 'no' },
      },
    ],
  },
  event: {
    title: 'Event',
    description: 'What happened, in the past tense, on the exchange `event` with the routing key `event.<event>`.',
    schema: eventRecord,
    io: 'output',
    examples: [
      {
        event: 'task.completed',
        at: AT,
        source: 'reviewer-k3j9x2',
        task: 'pr-17',
        capability: 'code-review',
        agent: 'reviewer',
        attempt: 1,
        duration_ms: 830,
      },
      { event: 'build.finished', at: AT, source: 'client-a1b2c3', data: { commit: 'c0ffee' } },
    ],
  },
  'agent-record': {
    title: 'Registered agent',
    description: 'An agent as the registry knows it: its card and what the registry adds.',
    schema: agentRecord,
    io: 'output',
    examples: [
      {
        ...cardExample,
        capabilities: [{ ...capabilityExample, parameters: PARAMETERS }],
        tags: [],
        metadata: {},
        instance: 'reviewer-k3j9x2',
        kind: 'full',
        status: 'active',
        health_status: 'healthy',
        draining: false,
        in_flight: 0,
        last_heartbeat: AT,
        created_at: AT,
        updated_at: AT,
      },
    ],
  },
  'task-record': {
    title: 'Stored task',
    description: 'A task as the store knows it.',
    schema: task,
    io: 'output',
    examples: [
      {
        id: 'release-42.deploy',
        run: 'release-42',
        key: 'deploy',
        capability: 'infrastructure',
        priority: 'P2',
        status: 'blocked',
        attempt: 0,
        max_attempts: 3,
        failed_attempts: 0,
        lost_attempts: 0,
        waiting_for: ['build'],
        after: [{ task: 'build', on_failure: 'fail' }],
        submitted_at: AT,
      },
    ],
  },
  'run-record': {
    title: 'Stored run',
    description: 'A run as the store knows it.',
    schema: run,
    io: 'output',
    examples: [
      { id: 'release-42', status: 'running', total: 3, done: 1, failed: 0, labels: { team: 'web' }, submitted_at: AT },
    ],
  },
};

/** One contract as a JSON Schema: 2020-12 for schemas/, draft 7 for AsyncAPI. */
export function schemaOf(name: string, target: 'draft-2020-12' | 'draft-7'): Record<string, unknown> {
  const { title, description, schema, io, examples } = CONTRACTS[name]!;
  const { $schema, ...rest } = z.toJSONSchema(schema, { target, io }) as Record<string, unknown>;
  const head = target === 'draft-7' ? {} : { $schema, $id: `${SCHEMA_BASE}${name}.json` };
  return { ...head, title, description, examples, ...rest };
}
