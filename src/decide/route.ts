// Balancing: in which order the agents that could take a request are asked. Pure; the caller sends to the first and, when that one
// returns the message or fails, to the next. Tasks are balanced by the store (registry/reserve.lua), which can reserve slots.
import type { AgentRecord } from '../contracts/agent.js';
import type { Random } from '../ports.js';

/**
 * round-robin        each in turn, by agent id
 * least-connections  smallest load relative to capacity first; the default
 * weighted           by chance, each as often as its weight says (its capacity, if none is given)
 * latency-aware      shortest expected answer first: its usual latency, up to doubled by how full it is
 */
export type Strategy = 'round-robin' | 'least-connections' | 'weighted' | 'latency-aware';

/** What is read of an agent; every AgentRecord is a candidate. */
export type Candidate = Pick<
  AgentRecord,
  'agent_id' | 'status' | 'health_status' | 'draining' | 'in_flight' | 'capacity'
>;

export interface Routing {
  readonly strategy?: Strategy;
  readonly random: Random;
  /** Agents not to be asked: an open breaker, or asked already. */
  readonly excluded?: ReadonlySet<string>;
  /** round-robin: who was first the last time. Whoever follows it by id is next, whoever came or left in between. */
  readonly after?: string;
  readonly weightOf?: (agent: string) => number | undefined;
  /** Usual ms per answer. One never measured counts as the fastest, so that it is soon asked and then known. */
  readonly latencyOf?: (agent: string) => number | undefined;
}

export type Skipped = 'offline' | 'excluded' | 'unhealthy' | 'draining' | 'full';
export interface Route<C extends Candidate> {
  /** Who to ask, in this order. */
  readonly order: readonly C[];
  /** How many were not even considered, and why: the text of NO_AGENT_AVAILABLE. */
  readonly skipped: Readonly<Partial<Record<Skipped, number>>>;
}

export function route<C extends Candidate>(candidates: readonly C[], routing: Routing): Route<C> {
  const skipped: Partial<Record<Skipped, number>> = {};
  const fit = candidates.filter((candidate) => {
    const why = whyNot(candidate, routing.excluded);
    if (why !== undefined) skipped[why] = (skipped[why] ?? 0) + 1;
    return why === undefined;
  });
  return { order: ordered(fit, routing), skipped };
}

/** '2 full, 1 draining', or 'nobody offers it'. */
export function explainSkipped(skipped: Route<Candidate>['skipped']): string {
  const parts = Object.entries(skipped).map(([why, count]) => `${count} ${why}`);
  return parts.length === 0 ? 'nobody offers it' : parts.join(', ');
}

function whyNot(candidate: Candidate, excluded: ReadonlySet<string> | undefined): Skipped | undefined {
  if (candidate.status === 'offline') return 'offline';
  if (excluded?.has(candidate.agent_id) === true) return 'excluded';
  if (candidate.health_status === 'unhealthy') return 'unhealthy';
  if (candidate.draining) return 'draining';
  return candidate.in_flight >= candidate.capacity ? 'full' : undefined;
}

function ordered<C extends Candidate>(fit: readonly C[], routing: Routing): C[] {
  const { random } = routing;
  switch (routing.strategy ?? 'least-connections') {
    case 'round-robin':
      return inTurn(fit, routing.after);
    case 'least-connections':
      return by(fit, random, (agent) => agent.in_flight / agent.capacity);
    case 'weighted':
      // Efraimidis and Spirakis: sorted by -ln(u) / weight, each prefix is a weighted draw without replacement.
      return by(fit, random, (agent) => {
        const weight = routing.weightOf?.(agent.agent_id) ?? agent.capacity;
        return weight > 0 ? -Math.log(1 - random()) / weight : Number.POSITIVE_INFINITY;
      });
    case 'latency-aware': {
      const known = fit.map((agent) => routing.latencyOf?.(agent.agent_id)).filter((ms) => ms !== undefined);
      const fastest = known.reduce((least, ms) => Math.min(least, ms), known[0] ?? 1);
      return by(
        fit,
        random,
        (agent) => (routing.latencyOf?.(agent.agent_id) ?? fastest) * (1 + agent.in_flight / agent.capacity),
      );
    }
  }
}

function inTurn<C extends Candidate>(fit: readonly C[], after: string | undefined): C[] {
  const sorted = [...fit].sort((a, b) => (a.agent_id < b.agent_id ? -1 : 1));
  const first = after === undefined ? 0 : sorted.findIndex((agent) => agent.agent_id > after);
  return first <= 0 ? sorted : [...sorted.slice(first), ...sorted.slice(0, first)];
}

/** Smallest cost first; equal costs by chance, so that many callers with the same view do not all ask the same agent. */
function by<C>(fit: readonly C[], random: Random, costOf: (agent: C) => number): C[] {
  return fit
    .map((agent) => ({ agent, cost: costOf(agent), tie: random() }))
    .sort((a, b) => (a.cost === b.cost ? a.tie - b.tie : a.cost - b.cost))
    .map(({ agent }) => agent);
}
