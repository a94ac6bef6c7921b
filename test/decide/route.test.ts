// Balancing: who is asked first, and who next when that one fails.
import fc from 'fast-check';
import type { AgentRecord } from '../../src/contracts/agent.js';
import { explainSkipped, type Routing, route, type Strategy } from '../../src/decide/route.js';
import { aFleet, anAgent } from './agents.js';

const STRATEGIES: readonly Strategy[] = ['round-robin', 'least-connections', 'weighted', 'latency-aware'];
const strategy = fc.constantFrom(undefined, ...STRATEGIES);
const excluded = fc.subarray(['agent-a', 'agent-b', 'agent-c', 'agent-d']).map((ids) => new Set(ids));

/** A sequence that is random enough and the same each time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}
const idsOf = (fleet: readonly AgentRecord[], routing: Routing) =>
  route(fleet, routing).order.map(({ agent_id }) => agent_id);

describe('balancing', () => {
  it('offers each agent that may be asked exactly once, and counts why the others may not', () => {
    fc.assert(
      fc.property(aFleet, strategy, excluded, fc.nat(), (fleet, chosen, out, seed) => {
        const { order, skipped } = route(fleet, {
          ...(chosen && { strategy: chosen }),
          excluded: out,
          random: seeded(seed),
        });
        const may = fleet.filter(
          (agent) =>
            agent.status !== 'offline' &&
            agent.health_status !== 'unhealthy' &&
            !agent.draining &&
            agent.in_flight < agent.capacity &&
            !out.has(agent.agent_id),
        );
        expect(order.map(({ agent_id }) => agent_id).sort()).toEqual(may.map(({ agent_id }) => agent_id).sort());
        expect(order.length + Object.values(skipped).reduce((sum, count) => sum + count, 0)).toBe(fleet.length);
      }),
      { numRuns: 500 },
    );
  });

  it('by default goes by load relative to capacity, as a naive search for the smallest does', () => {
    fc.assert(
      fc.property(aFleet, fc.nat(), (fleet, seed) => {
        const { order } = route(fleet, { random: seeded(seed) });
        const rest = [...order];
        while (rest.length > 0) {
          const first = rest.shift()!;
          // Compared as products of whole numbers: no rounding to hide behind.
          for (const other of rest)
            expect(first.in_flight * other.capacity <= other.in_flight * first.capacity).toBe(true);
        }
      }),
    );
  });

  it('breaks ties by chance: nobody of equals is always first', () => {
    const fleet = ['a', 'b', 'c', 'd'].map((agent_id) => anAgent({ agent_id }));
    const random = seeded(1);
    const firsts = new Map<string, number>();
    for (let i = 0; i < 4000; i++) {
      const first = idsOf(fleet, { random })[0]!;
      firsts.set(first, (firsts.get(first) ?? 0) + 1);
    }
    for (const count of firsts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
    expect(firsts.size).toBe(4);
  });

  it('asks each in turn, and skips nobody when agents come and go', () => {
    fc.assert(
      fc.property(aFleet, fc.nat({ max: 11 }), (fleet, gone) => {
        const routing = { strategy: 'round-robin' as const, random: seeded(0) };
        const everyone = idsOf(fleet, routing);
        let after: string | undefined;
        const asked: string[] = [];
        for (let i = 0; i < everyone.length; i++) {
          after = idsOf(fleet, { ...routing, ...(after !== undefined && { after }) })[0]!;
          asked.push(after);
        }
        expect(asked).toEqual(everyone);
        // The one asked last is not there any more: whoever follows it is next all the same.
        const last = everyone[gone];
        if (last === undefined || everyone.length < 2) return;
        const rest = fleet.filter(({ agent_id }) => agent_id !== last);
        expect(idsOf(rest, { ...routing, after: last })[0]).toBe(everyone[(gone + 1) % everyone.length]);
      }),
    );
  });

  it('asks as often as the weights say, and never one without weight before one that has some', () => {
    const fleet = [anAgent({ agent_id: 'a' }), anAgent({ agent_id: 'b' }), anAgent({ agent_id: 'c' })];
    const weights: Record<string, number> = { a: 3, b: 1, c: 0 };
    const random = seeded(42);
    let a = 0;
    for (let i = 0; i < 4000; i++) {
      const order = idsOf(fleet, { strategy: 'weighted', random, weightOf: (agent) => weights[agent] });
      expect(order[2]).toBe('c');
      if (order[0] === 'a') a += 1;
    }
    expect(Math.abs(a - 3000)).toBeLessThan(150);
  });

  it('prefers the agent that answers fastest, unless it is much fuller', () => {
    const latency: Record<string, number> = { fast: 100, slow: 150 };
    const routing = {
      strategy: 'latency-aware' as const,
      random: seeded(3),
      latencyOf: (agent: string) => latency[agent],
    };
    const fleet = (inFlight: number) => [
      anAgent({ agent_id: 'slow', capacity: 10 }),
      anAgent({ agent_id: 'fast', capacity: 10, in_flight: inFlight }),
    ];
    expect(idsOf(fleet(0), routing)).toEqual(['fast', 'slow']);
    expect(idsOf(fleet(4), routing)).toEqual(['fast', 'slow']);
    expect(idsOf(fleet(6), routing)).toEqual(['slow', 'fast']);
  });

  it('asks one whose latency is not known before a slow one', () => {
    const fleet = [anAgent({ agent_id: 'known' }), anAgent({ agent_id: 'slow' }), anAgent({ agent_id: 'new' })];
    const latency: Record<string, number> = { known: 10, slow: 500 };
    const order = idsOf(fleet, { strategy: 'latency-aware', random: seeded(5), latencyOf: (agent) => latency[agent] });
    expect(order[2]).toBe('slow');
  });

  it('says why nobody can be asked', () => {
    const fleet = [
      anAgent({ in_flight: 2 }),
      anAgent({ agent_id: 'b', in_flight: 3 }),
      anAgent({ agent_id: 'c', draining: true }),
    ];
    expect(explainSkipped(route(fleet, { random: seeded(0) }).skipped)).toBe('2 full, 1 draining');
    expect(explainSkipped(route([], { random: seeded(0) }).skipped)).toBe('nobody offers it');
  });
});
