// Search never answers with an agent that lacks what was asked for, misses none that has it, and explains its order.
import fc from 'fast-check';
import type { AgentQuery, AgentRecord } from '../../src/contracts/agent.js';
import { agentMatch } from '../../src/contracts/agent.js';
import { matchAgents, scoreOf, WEIGHTS } from '../../src/decide/match.js';
import { aFleet, anAgent, CAPABILITIES, TAGS } from './agents.js';

const can = (...names: string[]): AgentRecord['capabilities'] =>
  names.map((name) => ({ name, description: '', parameters: {}, tags: [] }));
const idsOf = (agents: readonly AgentRecord[], query: AgentQuery) =>
  matchAgents(agents, query).map(({ agent }) => agent.agent_id);

const aQuery: fc.Arbitrary<AgentQuery> = fc.record(
  {
    capabilities: fc.subarray([...CAPABILITIES], { maxLength: 3 }),
    tags: fc.subarray([...TAGS]),
    keyword: fc.constantFrom('', 'review', 'CODE', 'text  writes', 'agent-a', 'gp', 'nothing-has-this'),
    include_offline: fc.boolean(),
  },
  { requiredKeys: [] },
);

/** Obviously right: asks each agent each question, the slow way. */
function dumbTwin(agents: readonly AgentRecord[], query: AgentQuery): string[] {
  const found: string[] = [];
  for (const agent of agents) {
    let fits = agent.status !== 'offline' || query.include_offline === true;
    for (const wanted of query.capabilities ?? []) fits &&= agent.capabilities.some(({ name }) => name === wanted);
    for (const tag of query.tags ?? [])
      fits &&= agent.tags.includes(tag) || agent.capabilities.some(({ tags }) => tags.includes(tag));
    const text = JSON.stringify([
      agent.agent_id,
      agent.agent_name,
      agent.tags,
      agent.capabilities.map(({ name, description, tags }) => [name, description, tags]),
    ]);
    for (const word of (query.keyword ?? '').split(' ')) fits &&= text.toLowerCase().includes(word.toLowerCase());
    if (fits) found.push(agent.agent_id);
  }
  return found.sort();
}

describe('search', () => {
  it('finds exactly the agents that have everything asked for', () => {
    fc.assert(
      fc.property(aFleet, aQuery, (fleet, query) => {
        expect(idsOf(fleet, query).sort()).toEqual(dumbTwin(fleet, query));
      }),
      { numRuns: 1000 },
    );
  });

  it('explains each score: parts of 0-1, whose weighted sum it is, best first', () => {
    expect(Object.values(WEIGHTS).reduce<number>((sum, weight) => sum + weight, 0)).toBeCloseTo(1);
    fc.assert(
      fc.property(aFleet, aQuery, (fleet, query) => {
        const matches = matchAgents(fleet, query);
        for (const match of matches) {
          agentMatch.parse(match);
          expect(match.score).toBe(scoreOf(match.parts));
          for (const part of Object.values(match.parts)) expect(part >= 0 && part <= 1).toBe(true);
        }
        const scores = matches.map(({ score }) => score);
        expect(scores).toEqual([...scores].sort((a, b) => b - a));
      }),
    );
  });

  it('gives the same answer whatever the order of the view', () => {
    fc.assert(
      fc.property(aFleet, aQuery, (fleet, query) => {
        expect(idsOf([...fleet].reverse(), query)).toEqual(idsOf(fleet, query));
      }),
    );
  });

  it.each<[string, Partial<AgentRecord>, Partial<AgentRecord>]>([
    [
      'the specialist before the generalist',
      { capabilities: can('review') },
      { capabilities: can('review', 'deploy', 'test') },
    ],
    ['the active before the busy', { status: 'active' }, { status: 'busy' }],
    ['the busy before the draining', { status: 'busy' }, { draining: true }],
    ['the healthy before the degraded', { health_status: 'healthy' }, { health_status: 'degraded' }],
    ['the unknown before the unhealthy', { health_status: 'unknown' }, { health_status: 'unhealthy' }],
    ['the free before the half full', { in_flight: 0 }, { in_flight: 1 }],
    [
      'a capability of that name before a description',
      { capabilities: can('review') },
      { capabilities: [{ ...can('test')[0]!, description: 'like review' }] },
    ],
  ])('puts %s', (_, better, worse) => {
    const agents = [anAgent({ ...worse, agent_id: 'a-worse' }), anAgent({ ...better, agent_id: 'b-better' })];
    const query = worse.capabilities?.[0]?.name === 'test' ? { keyword: 'review' } : { capabilities: ['review'] };
    expect(idsOf(agents, query)).toEqual(['b-better', 'a-worse']);
  });

  it('shows offline agents only when asked, last', () => {
    const agents = [
      anAgent({ agent_id: 'a', status: 'offline' }),
      anAgent({ agent_id: 'b', status: 'busy', in_flight: 2, health_status: 'degraded' }),
    ];
    expect(idsOf(agents, {})).toEqual(['b']);
    expect(idsOf(agents, { include_offline: true })).toEqual(['b', 'a']);
  });
});
