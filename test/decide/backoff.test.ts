// backoffMs: the worked table of its comment, and the laws of full jitter.
import fc from 'fast-check';
import { backoffMs, DEFAULT_RETRY, longestBackoffMs } from '../../src/decide/backoff.js';

const policies = fc.record(
  {
    base_ms: fc.integer({ min: 1, max: 86_400_000 }),
    factor: fc.double({ min: 1, max: 10, noNaN: true }),
    cap_ms: fc.integer({ min: 1, max: 86_400_000 }),
  },
  { requiredKeys: [] },
);
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('backoffMs', () => {
  it.each([
    [1, 0.25, 250],
    [1, 0.99, 990],
    [2, 0.5, 1000],
    [3, 0.25, 1000],
    [9, 0.99, 253_440],
    [10, 0.5, 150_000],
    [99, 0.5, 150_000],
  ])('waits after failure %i at random %d for %i ms by default', (failed, random, ms) => {
    expect(backoffMs(undefined, failed, random)).toBe(ms);
    expect(backoffMs(DEFAULT_RETRY, failed, random)).toBe(ms);
  });

  it('waits at least 1 ms', () => {
    expect(backoffMs({ base_ms: 1 }, 1, 0)).toBe(1);
  });

  it('stays within 1 and the cap, in whole ms, however many attempts failed', () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 1000 }), chance, (policy, failed, random) => {
        const ms = backoffMs(policy, failed, random);
        expect(Number.isInteger(ms)).toBe(true);
        expect(ms).toBeGreaterThanOrEqual(1);
        expect(ms).toBeLessThanOrEqual(policy.cap_ms ?? DEFAULT_RETRY.cap_ms);
      }),
    );
  });

  it('never shrinks its upper end from one failure to the next', () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 1000 }), (policy, failed) => {
        expect(longestBackoffMs(policy, failed + 1)).toBeGreaterThanOrEqual(longestBackoffMs(policy, failed));
      }),
    );
  });
});
