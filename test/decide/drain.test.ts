// nextClass: strictness, bounded starvation under any arrivals, and agreement with a twin that keeps all history.
import fc from 'fast-check';
import type { PriorityClass } from '../../src/contracts/priority.js';
import {
  DEFAULT_WEIGHTS,
  type DrainState,
  FRESH_DRAIN,
  nextClass,
  P0_RUN,
  starvationBound,
  type Weights,
} from '../../src/decide/drain.js';

type Waiting = readonly [boolean, boolean, boolean, boolean];
const CLASSES = [0, 1, 2, 3] as const;

/** Serves a sequence of waiting sets; undefined where nothing waited. */
function drain(sequence: readonly Waiting[], weights: Weights = DEFAULT_WEIGHTS): (PriorityClass | undefined)[] {
  let state: DrainState = FRESH_DRAIN;
  return sequence.map((waiting) => {
    const pick = nextClass(state, waiting, weights);
    state = pick?.state ?? FRESH_DRAIN;
    return pick?.class;
  });
}

const always = (n: number, ...classes: PriorityClass[]): Waiting[] =>
  Array.from({ length: n }, () => CLASSES.map((c) => classes.includes(c)) as unknown as Waiting);

/** Arrivals in bursts: a waiting set, and for how many picks it stays. Long bursts are what starves. */
const arrivals = fc
  .array(fc.tuple(fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean()), fc.integer({ min: 1, max: 60 })), {
    minLength: 1,
    maxLength: 30,
  })
  .map((bursts) => bursts.flatMap(([waiting, n]) => Array.from({ length: n }, () => waiting as Waiting)));
const anyWeights = fc
  .tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }))
  .map((weights) => weights as Weights);

describe('nextClass', () => {
  it('has nothing to say when nothing waits', () => {
    expect(nextClass(FRESH_DRAIN, [false, false, false, false])).toBeUndefined();
  });

  it('serves the most urgent class first', () => {
    expect(drain([...always(1, 0, 1, 2, 3), ...always(1, 1, 2, 3), ...always(1, 2, 3), ...always(1, 3)])).toEqual([
      0, 1, 2, 3,
    ]);
  });

  it('lets one other class through after sixteen P0', () => {
    const picks = drain(always(34, 0, 3));
    expect(picks.filter((c) => c === 3)).toHaveLength(2);
    expect([picks[16], picks[33]]).toEqual([3, 3]);
  });

  it('owes P3 a turn after forty more urgent ones', () => {
    const picks = drain(always(82, 1, 3));
    expect([picks[40], picks[81]]).toEqual([3, 3]);
    expect(picks.filter((c) => c === 3)).toHaveLength(2);
  });

  it('serves all four when all four always wait', () => {
    const picks = drain(always(17 * 30, 0, 1, 2, 3));
    const count = CLASSES.map((c) => picks.filter((pick) => pick === c).length);
    // One yield in seventeen picks, shared out by who is owed a turn.
    expect(count).toEqual([16 * 30, 12, 11, 7]);
  });

  it('starts a class afresh when it had nothing to give', () => {
    const picks = drain([...always(39, 1, 3), ...always(1, 1), ...always(40, 1, 3), ...always(1, 1, 3)]);
    expect(picks.indexOf(3)).toBe(80);
  });

  it('never lets more picks go past a waiting class than the bound says', () => {
    fc.assert(
      fc.property(arrivals, anyWeights, (sequence, weights) => {
        const picks = drain(sequence, weights);
        for (const c of CLASSES) {
          expect(longestWait(sequence, picks, c)).toBeLessThanOrEqual(starvationBound(weights, c));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('picks a P0 that comes alone at once', () => {
    fc.assert(
      fc.property(arrivals, anyWeights, (sequence, weights) => {
        const picks = drain(sequence, weights);
        sequence.forEach((waiting, i) => {
          if (waiting[0] && picks[i - 1] !== 0) expect(picks[i]).toBe(0);
        });
      }),
      { numRuns: 500 },
    );
  });

  it('agrees with a twin that looks through all history for every pick', () => {
    fc.assert(
      fc.property(arrivals, anyWeights, (sequence, weights) => {
        expect(drain(sequence, weights)).toEqual(twin(sequence, weights));
      }),
      { numRuns: 100 },
    );
  });

  it('computes the bounds its comment names', () => {
    expect(CLASSES.map((c) => starvationBound(DEFAULT_WEIGHTS, c))).toEqual([1, 62, 71, 90]);
    expect(P0_RUN).toBe(16);
  });
});

function longestWait(
  sequence: readonly Waiting[],
  picks: readonly (PriorityClass | undefined)[],
  c: PriorityClass,
): number {
  let longest = 0;
  let wait = 0;
  sequence.forEach((waiting, i) => {
    wait = waiting[c] && picks[i] !== c ? wait + 1 : 0;
    longest = Math.max(longest, wait);
  });
  return longest;
}

/** The dumb twin keeps no state: it reads every answer off the whole past. */
function twin(sequence: readonly Waiting[], weights: Weights): (PriorityClass | undefined)[] {
  const picks: (PriorityClass | undefined)[] = [];
  for (let now = 0; now < sequence.length; now++) {
    const waiting = sequence[now]!;
    const lower = [1, 2, 3].filter((c) => waiting[c]);
    // When was a class owed its turn? At the pick that completed its weight since it last began to wait.
    const owedSince = (c: number): number => {
      let since = now;
      while (since > 0 && sequence[since - 1]![c] && picks[since - 1] !== c) since -= 1;
      let passed = 0;
      for (let i = since; i < now; i++) {
        if (picks[i]! < c) passed += 1;
        if (passed === weights[c - 1]) return i;
      }
      return Number.POSITIVE_INFINITY;
    };
    const owed = lower.filter((c) => owedSince(c) < now).sort((a, b) => owedSince(a) - owedSince(b) || a - b);
    let run = 0;
    for (let i = now - 1; i >= 0; i--) {
      if (picks[i] !== 0 || !(sequence[i]![1] || sequence[i]![2] || sequence[i]![3])) break;
      run += 1;
    }
    const best = owed[0] ?? lower[0];
    picks.push((waiting[0] && !(best !== undefined && run >= P0_RUN) ? 0 : best) as PriorityClass | undefined);
  }
  return picks;
}
