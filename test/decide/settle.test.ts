// verdictOf: every way an attempt ends, first, middle and last attempt.
import fc from 'fast-check';
import { type AttemptEnd, verdictOf } from '../../src/decide/settle.js';

const error = { code: 'HANDLER_FAILED', message: 'broke' };
const invalid = { code: 'INVALID_INPUT', message: 'no such field' };
const at = (failedAttempts: number, maxAttempts = 3) => ({ failedAttempts, maxAttempts, random: 0.5 });

describe('verdictOf', () => {
  it('completes what returned, on whichever attempt', () => {
    expect(verdictOf({ kind: 'returned', output: '{"a":1}' }, at(2))).toEqual({ do: 'complete', output: '{"a":1}' });
  });

  it('gives back what was handed back, burning no attempt', () => {
    expect(verdictOf({ kind: 'handed_back' }, at(2))).toEqual({ do: 'hand_back' });
  });

  const failed: AttemptEnd = { kind: 'failed', error, retryable: true };
  const timedOut: AttemptEnd = { kind: 'timed_out', error };
  it.each([
    ['retries the first failure', failed, at(0), { do: 'retry', afterMs: 500, error }],
    ['retries the second after twice as long', failed, at(1), { do: 'retry', afterMs: 1000, error }],
    ['gives up on the last failure', failed, at(2), { do: 'die', reason: 'attempts_exhausted', error }],
    [
      'gives up at once when there is one attempt',
      failed,
      at(0, 1),
      { do: 'die', reason: 'attempts_exhausted', error },
    ],
    ['retries a timeout', timedOut, at(0), { do: 'retry', afterMs: 500, error }],
    ['gives up on the last timeout', timedOut, at(2), { do: 'die', reason: 'timeout', error }],
  ])('%s', (_, end, about, verdict) => {
    expect(verdictOf(end, about)).toEqual(verdict);
  });

  it.each([
    ['not_retryable', error],
    ['invalid_input', invalid],
  ])('never retries what cannot be mended (%s), and says so also on the last attempt', (reason, cause) => {
    const end: AttemptEnd = { kind: 'failed', error: cause, retryable: false };
    expect(verdictOf(end, at(0))).toEqual({ do: 'die', reason, error: cause });
    expect(verdictOf(end, at(2))).toEqual({ do: 'die', reason, error: cause });
  });

  it("uses the task's own policy", () => {
    const retry = { base_ms: 10, factor: 3, cap_ms: 50 };
    expect(verdictOf(failed, { ...at(1), retry })).toMatchObject({ afterMs: 15 });
    expect(verdictOf(failed, { ...at(3, 9), retry })).toMatchObject({ afterMs: 25 });
  });

  it('ends a task that always fails after exactly maxAttempts attempts', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (maxAttempts, random) => {
          let attempts = 1;
          while (verdictOf(failed, { failedAttempts: attempts - 1, maxAttempts, random }).do === 'retry') attempts += 1;
          expect(attempts).toBe(maxAttempts);
        },
      ),
    );
  });
});
