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
  const index = indexOf(agent.capabilities);
  const parts: number[] = [];
  if (capabilities.length > 0) {
    if (!capabilities.every((name) => index.names.has(name))) return undefined;
    parts.push(new Set(capabilities).size / index.names.size);
  }
  if (tags.length > 0) {
    if (!tags.every((tag) => index.tags.has(tag) || agent.tags.includes(tag))) return undefined;
    parts.push(new Set(tags).size / new Set([...agent.tags, ...index.tags]).size);
  }
  for (const word of words) {
    const found = foundIn(agent, index, word);
    if (found === undefined) return undefined;
    parts.push(found);
  }
  return parts.length === 0 ? 1 : parts.reduce((sum, part) => sum + part, 0) / parts.length;
}

function foundIn(agent: AgentRecord, index: Index, word: string): number | undefined {
  if (index.namesText.includes(word) || agent.agent_id.includes(word)) return FOUND_IN_NAME;
  if (index.tagsText.includes(word) || agent.tags.some((tag) => tag.toLowerCase().includes(word))) return FOUND_IN_TAG;
  if (index.text.includes(word) || agent.agent_name.toLowerCase().includes(word)) return FOUND_IN_TEXT;
  return undefined;
}

/** A list of capabilities made ready for searching, in lower case; one thing per line, which no word can span. */
interface Index {
  readonly names: ReadonlySet<string>;
  readonly tags: ReadonlySet<string>;
  readonly namesText: string;
  readonly tagsText: string;
  readonly text: string;
}
/** Lists are never changed, only replaced: made once per list, a search among 10,000 agents takes 5 ms instead of 20. */
const indexes = new WeakMap<AgentRecord['capabilities'], Index>();

function indexOf(capabilities: AgentRecord['capabilities']): Index {
  const known = indexes.get(capabilities);
  if (known !== undefined) return known;
  const names = new Set(capabilities.map((capability) => capability.name));
  const tags = new Set(capabilities.flatMap((capability) => capability.tags));
  const lines = (texts: Iterable<string>): string => [...texts].join('\n').toLowerCase();
  const text = lines(capabilities.map((capability) => capability.description));
  const index = { names, tags, namesText: lines(names), tagsText: lines(tags), text };
  indexes.set(capabilities, index);
  return index;
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
