// Search: which agents answer a query, best first, with the score explained. Pure; the registry calls it on its live view.
// Precision comes first: an agent that lacks a capability, a tag or a word that was asked for is never an answer, however free.
import type { AgentMatch, AgentQuery, AgentRecord } from '../contracts/agent.js';

/** What each part counts. They sum up to 1, so a score is 0-1 too. */
export const WEIGHTS = { overlap: 0.4, availability: 0.3, health: 0.2, free_capacity: 0.1 } as const;

const HEALTH: Readonly<Record<AgentRecord['health_status'], number>> = {
  healthy: 1,
  unknown: 0.75,
  degraded: 0.5,
  unhealthy: 0,
};

/** Where a word of the keyword was found, best place first. */
const FOUND_IN_NAME = 1;
const FOUND_IN_TAG = 0.75;
const FOUND_IN_TEXT = 0.5;

/** Every agent that answers the query, best first; equal scores by agent id, so that the same view gives the same answer. */
export function matchAgents(agents: Iterable<AgentRecord>, query: AgentQuery): AgentMatch[] {
  const words = wordsOf(query.keyword);
  const matches: AgentMatch[] = [];
  for (const agent of agents) {
    if (agent.status === 'offline' && query.include_offline !== true) continue;
    const overlap = overlapOf(agent, query.capabilities ?? [], query.tags ?? [], words);
    if (overlap === undefined) continue;
    const parts = {
      overlap,
      availability: availabilityOf(agent),
      health: HEALTH[agent.health_status],
      free_capacity: freeCapacityOf(agent),
    };
    matches.push({ agent, score: scoreOf(parts), parts });
  }
  return matches.sort((a, b) => b.score - a.score || (a.agent.agent_id < b.agent.agent_id ? -1 : 1));
}

export function scoreOf(parts: AgentMatch['parts']): number {
  return (
    WEIGHTS.overlap * parts.overlap +
    WEIGHTS.availability * parts.availability +
    WEIGHTS.health * parts.health +
    WEIGHTS.free_capacity * parts.free_capacity
  );
}

/**
 * How much of the agent is what was asked for: the mean over what the query names. Capabilities and tags count as asked for by
 * had, so that of two agents that can do it the specialist comes first. Undefined: something asked for is missing.
 */
function overlapOf(
  agent: AgentRecord,
  capabilities: readonly string[],
  tags: readonly string[],
  words: readonly string[],
): number | undefined {
  const parts: number[] = [];
  if (capabilities.length > 0) {
    const share = shareOf(
      capabilities,
      agent.capabilities.map((capability) => capability.name),
    );
    if (share === undefined) return undefined;
    parts.push(share);
  }
  if (tags.length > 0) {
    const share = shareOf(tags, tagsOf(agent));
    if (share === undefined) return undefined;
    parts.push(share);
  }
  for (const word of words) {
    const found = foundIn(agent, word);
    if (found === undefined) return undefined;
    parts.push(found);
  }
  return parts.length === 0 ? 1 : parts.reduce((sum, part) => sum + part, 0) / parts.length;
}

function shareOf(wanted: readonly string[], had: readonly string[]): number | undefined {
  const distinct = new Set(had);
  if (!wanted.every((one) => distinct.has(one))) return undefined;
  return new Set(wanted).size / distinct.size;
}

function tagsOf(agent: AgentRecord): string[] {
  return [...agent.tags, ...agent.capabilities.flatMap((capability) => capability.tags)];
}

function foundIn(agent: AgentRecord, word: string): number | undefined {
  const has = (text: string): boolean => text.toLowerCase().includes(word);
  if (has(agent.agent_id) || agent.capabilities.some((capability) => has(capability.name))) return FOUND_IN_NAME;
  if (tagsOf(agent).some(has)) return FOUND_IN_TAG;
  if (has(agent.agent_name) || agent.capabilities.some((capability) => has(capability.description)))
    return FOUND_IN_TEXT;
  return undefined;
}

/** 'Code  Review' is two words, both of which must be found. */
function wordsOf(keyword: string | undefined): string[] {
  return (keyword ?? '')
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
}

function availabilityOf(agent: AgentRecord): number {
  if (agent.status === 'offline') return 0;
  if (agent.draining) return 0.25;
  return agent.status === 'busy' ? 0.5 : 1;
}

function freeCapacityOf(agent: AgentRecord): number {
  return agent.status === 'offline' ? 0 : Math.max(0, agent.capacity - agent.in_flight) / agent.capacity;
}
