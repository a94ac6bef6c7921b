// Agents for the tests of search and balancing.
import fc from 'fast-check';
import type { AgentRecord } from '../../src/contracts/agent.js';

export function anAgent(over: Partial<AgentRecord> = {}): AgentRecord {
  const id = over.agent_id ?? 'ann';
  return {
    agent_id: id,
    agent_name: `Agent ${id}`,
    capabilities: [{ name: 'review', description: '', parameters: {}, tags: [] }],
    capacity: 2,
    tags: [],
    metadata: {},
    instance: `${id}-aaaaaa`,
    kind: 'full',
    status: 'active',
    health_status: 'healthy',
    draining: false,
    in_flight: 0,
    last_heartbeat: '2026-01-01T00:00:00.000Z',
    created_at: '2026-01-01T00:00:00.000Z',
    updated_at: '2026-01-01T00:00:00.000Z',
    ...over,
  };
}

export const CAPABILITIES = ['review', 'deploy', 'document', 'test', 'diagnose'] as const;
export const TAGS = ['fast', 'cheap', 'gpu'] as const;

const capability = fc
  .record({
    name: fc.constantFrom(...CAPABILITIES),
    description: fc.constantFrom('', 'Reads code', 'Writes TEXT'),
    tags: fc.subarray([...TAGS]),
  })
  .map((some) => ({ ...some, parameters: {} }));

const agent = fc.record({
  capabilities: fc.uniqueArray(capability, { selector: ({ name }) => name, maxLength: 5 }),
  capacity: fc.integer({ min: 1, max: 5 }),
  in_flight: fc.integer({ min: 0, max: 6 }),
  tags: fc.subarray([...TAGS]),
  status: fc.constantFrom<AgentRecord['status']>('active', 'busy', 'offline'),
  health_status: fc.constantFrom<AgentRecord['health_status']>('unknown', 'healthy', 'degraded', 'unhealthy'),
  draining: fc.boolean(),
});

/** Fleets of 0-12 agents with distinct ids. */
export const aFleet: fc.Arbitrary<AgentRecord[]> = fc
  .array(agent, { maxLength: 12 })
  .map((agents) => agents.map((some, i) => anAgent({ ...some, agent_id: `agent-${String.fromCharCode(97 + i)}` })));
