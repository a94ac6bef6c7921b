// Which priority class is served next (hop 5): urgent first, yet nobody waits forever.
// Pure: a state goes in and comes out, so that an agent's scheduler, a dispatcher and a test can share the rule.
import type { PriorityClass } from '../contracts/priority.js';

/** Picks of more urgent classes that may go past a waiting P1, P2 and P3 before it is owed a turn. */
export type Weights = readonly [p1: number, p2: number, p3: number];
export const DEFAULT_WEIGHTS: Weights = [10, 20, 40];
/** P0 picks in a row, while something else waits, before P0 lets one other go first. */
export const P0_RUN = 16;

export interface DrainState {
  /** Per P1-P3: picks of more urgent classes since it began to wait, or was last picked. */
  readonly passed: readonly [number, number, number];
  /** Classes that waited out their weight, in the order they did. */
  readonly owed: readonly PriorityClass[];
  /** P0 picks in a row while something else waited. */
  readonly p0Run: number;
}
export const FRESH_DRAIN: DrainState = { passed: [0, 0, 0], owed: [], p0Run: 0 };

const LOWER = [1, 2, 3] as const;

/**
 * P0 goes first, except that after P0_RUN of them in a row one other goes; so a P0 waits for one pick at most, and one that comes
 * alone for none. Below P0 the class owed a turn the longest goes, else the most urgent. `waiting[class]`: has it anything to
 * give? A class with nothing to give starts afresh. undefined: nothing waits at all; go on with FRESH_DRAIN.
 */
export function nextClass(
  state: DrainState,
  waiting: readonly boolean[],
  weights: Weights = DEFAULT_WEIGHTS,
): { class: PriorityClass; state: DrainState } | undefined {
  const owed = state.owed.filter((c) => waiting[c]);
  const lower = owed[0] ?? LOWER.find((c) => waiting[c]);
  const yields = lower !== undefined && state.p0Run >= P0_RUN;
  const chosen = waiting[0] && !yields ? 0 : lower;
  if (chosen === undefined) return undefined;

  const passed = LOWER.map((c) => (!waiting[c] || c === chosen ? 0 : state.passed[c - 1]! + (chosen < c ? 1 : 0)));
  const stillOwed = owed.filter((c) => c !== chosen);
  const newlyOwed = LOWER.filter((c) => c !== chosen && !owed.includes(c) && passed[c - 1]! >= weights[c - 1]!);
  return {
    class: chosen,
    state: {
      passed: passed as [number, number, number],
      owed: [...stillOwed, ...newlyOwed],
      p0Run: chosen === 0 && lower !== undefined ? state.p0Run + 1 : 0,
    },
  };
}

/**
 * The most picks that can go past a class while it waits.
 *
 *   P0: one, the yield after P0_RUN of its own; the run starts again at 0, so P0 goes next.
 *   Others, until the class c is owed a turn: weight(c) picks of more urgent classes. A less urgent class d goes past c only when
 *   d is owed a turn: once if it was owed one when c began to wait, and again for every weight(d) picks more urgent than d,
 *   which are the weight(c) picks above and the turns of classes between c and d.
 *   From then on: whoever is owed a turn before c goes first, each once, since one just served queues behind c; that is two
 *   classes at most. And before each of these two turns and before c's own P0 may go P0_RUN times.
 *
 * With the default weights: P1 62, P2 71, P3 90.
 */
export function starvationBound(weights: Weights, priority: PriorityClass): number {
  if (priority === 0) return 1;
  let untilOwed = weights[priority - 1]!;
  for (const d of LOWER) if (d > priority) untilOwed += 1 + Math.floor(untilOwed / weights[d - 1]!);
  const ahead = LOWER.length - 1;
  return untilOwed + ahead + (ahead + 1) * P0_RUN;
}
