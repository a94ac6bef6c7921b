// The agent record and what an agent offers. Wire fields are snake_case; schemas/agent.json and capability.json come from here.
import { z } from 'zod';
import { json } from './json.js';
import { name } from './names.js';

export const capabilityRecord = z.looseObject({
  name,
  description: z.string().max(2000).default(''),
  parameters: z.record(z.string(), z.unknown()).default({}).meta({
    description: 'A JSON Schema, or the short form {"repo_url": "str", "pr_number": "int"}, which is turned into one.',
  }),
  result: z
    .record(z.string(), z.unknown())
    .optional()
    .meta({ description: 'JSON Schema of what the handler returns.' }),
  cost_estimate: z.string().max(200).optional().meta({ description: 'For people: "~100 tokens", "~30s compute".' }),
  tags: z.array(z.string().max(64)).max(64).default([]),
});
export type CapabilityRecord = z.infer<typeof capabilityRecord>;

export const agentStatus = z.enum(['active', 'busy', 'offline']);
export const healthStatus = z.enum(['unknown', 'healthy', 'degraded', 'unhealthy']);

/** What an agent says of itself when it joins; requirement A2 without the fields the registry adds. */
export const agentCard = z.looseObject({
  agent_id: name,
  agent_name: z.string().min(1).max(200),
  base_url: z.url().optional(),
  capabilities: z.array(capabilityRecord).max(256),
  capacity: z.int().min(1).max(10_000).default(1),
  tags: z.array(z.string().max(64)).max(64).default([]),
  metadata: z.record(z.string().max(64), json).default({}),
});
export type AgentCard = z.infer<typeof agentCard>;

export const agentRecord = z.looseObject({
  ...agentCard.shape,
  instance: z.string().meta({
    description: "The process that is this agent now: '<agent_id>-<random>', or 'bus:<agent_id>' for a bus-only agent.",
  }),
  kind: z.enum(['full', 'bus']),
  status: agentStatus,
  health_status: healthStatus,
  draining: z.boolean(),
  in_flight: z.int(),
  last_heartbeat: z.string(),
  created_at: z.string(),
  updated_at: z.string(),
});
export type AgentRecord = z.infer<typeof agentRecord>;

/** One search hit with its score explained: each part is 0-1, the score their weighted sum. */
export const agentMatch = z.strictObject({
  agent: agentRecord,
  score: z.number(),
  parts: z.strictObject({
    overlap: z.number(),
    availability: z.number(),
    health: z.number(),
    free_capacity: z.number(),
  }),
});
export type AgentMatch = z.infer<typeof agentMatch>;

/** What to look for. An agent that lacks one of `capabilities` is never an answer. */
export const agentQuery = z.strictObject({
  capabilities: z.array(z.string()).optional(),
  keyword: z.string().optional(),
  tags: z.array(z.string()).optional(),
  include_offline: z.boolean().optional(),
});
export type AgentQuery = z.infer<typeof agentQuery>;
