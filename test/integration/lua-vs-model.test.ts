// The scripts and the model agree: on every answer, on everything stored, and on every notice, for any sequence of commands.
// MUSTER_MODEL_OPS commands in all (default 20,000); MUSTER_MODEL_SEED repeats one sequence. A disagreement is shortened first.
import type { NewRun, NewTask, Verdict } from '../../src/ports.js';
import { drawn, play, repeated, report } from '../support/both-stores.js';
import type { Step } from '../support/task-commands.js';

const OPERATIONS = Number(process.env.MUSTER_MODEL_OPS ?? 20_000);
const SEED = process.env.MUSTER_MODEL_SEED;

it('agree on any sequence of commands', async () => {
  const first = SEED === undefined ? Math.floor(Math.random() * 1e9) : Number(SEED);
  let operations = 0;
  for (let seed = first; operations < OPERATIONS; seed++) {
    const steps: Step[] = [];
    const disagreement = await play(drawn(seed, steps));
    operations += steps.reduce((sum, step) => sum + ('commands' in step ? step.commands.length : 0), 0);
    if (disagreement !== undefined) throw new Error(await report(seed, steps, disagreement));
    if (SEED !== undefined) return;
  }
}, 600_000);

describe('agree where one call may not tell everyone', () => {
  const claimAll = (ids: readonly string[]): Step => ({
    commands: ids.map((id) => ({ do: 'claim', id, holder: 'ann-1', redelivered: false })),
  });
  const settleAll = (ids: readonly string[], verdict: Verdict): Step => ({
    commands: [
      {
        do: 'settleCurrent',
        settlements: ids.map((id) => ({ id, token: 'current', holder: 'ann-1', verdict, takeNext: ['build'] })),
      },
    ],
  });
  const complete: Verdict = { do: 'complete', output: 'null' };
  const die: Verdict = { do: 'die', reason: 'not_retryable', error: { code: 'BROKE', message: 'broke' } };
  const released = (times: number, limit = 500): Step[] =>
    Array.from({ length: times }, () => ({ commands: [{ do: 'release', limit }] }));
  const keys = (letter: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${letter}${i}`);
  const ids = (letter: string, count: number): string[] => keys(letter, count).map((key) => `r0.${key}`);

  it.each<[string, readonly NewTask[], readonly Step[]]>([
    [
      'one task with 1,200 dependents',
      [plain('a0'), ...keys('b', 1200).map((key) => plain(key, ['a0']))],
      [claimAll(ids('a', 1)), settleAll(ids('a', 1), complete), ...released(3)],
    ],
    [
      'a failure with 1,200 dependents, released in small steps',
      [plain('a0'), ...keys('b', 1200).map((key) => plain(key, ['a0']))],
      [claimAll(ids('a', 1)), settleAll(ids('a', 1), die), { pass: 1 }, ...released(9, 100), ...released(2)],
    ],
    [
      'a chain of 1,200 behind a failure',
      keys('a', 1200).map((key, i) => plain(key, i === 0 ? [] : [`a${i - 1}`])),
      [claimAll(ids('a', 1)), settleAll(ids('a', 1), die), { pass: 1 }, ...released(3)],
    ],
    [
      'sixty tasks that share twenty dependents each, settled together',
      [...keys('a', 60).map((key) => plain(key)), ...keys('b', 20).map((key) => plain(key, keys('a', 60)))],
      [claimAll(ids('a', 60)), settleAll(ids('a', 60), complete), ...released(3)],
    ],
    [
      'sixty failures at once with thirty dependents of their own',
      [...keys('a', 60).map((key) => plain(key)), ...keys('b', 1800).map((key, i) => plain(key, [`a${i % 60}`]))],
      [claimAll(ids('a', 60)), settleAll(ids('a', 60), die), ...released(5)],
    ],
    [
      'a hundred failures at once with five dependents each: more than one call goes on with',
      [...keys('a', 100).map((key) => plain(key)), ...keys('b', 500).map((key, i) => plain(key, [`a${i % 100}`]))],
      [claimAll(ids('a', 100)), settleAll(ids('a', 100), die), ...released(3)],
    ],
  ])('%s', async (_, tasks, steps) => {
    const run: NewRun = { run: 'r0', tasks, labels: {}, digest: 'd', append: false };
    const context = { owner: 'client-1', traceparent: '', root: 'r0', hops: 0 };
    const disagreement = await play(repeated([{ commands: [{ do: 'submitRun', run, context }] }, ...steps]));
    expect(disagreement?.about).toBeUndefined();
  });
});

function plain(key: string, after: readonly string[] = []): NewTask {
  const dependencies = after.map((dependency) => ({ key: dependency, rule: 'fail' as const }));
  const id = `r0.${key}`;
  return { id, capability: 'build', priority: 2, body: '{}', maxAttempts: 3, dependencies, requiresApproval: false };
}
