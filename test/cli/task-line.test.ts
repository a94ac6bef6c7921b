// The lines of a live run: what a person reads about one task. Needs no services.
import { chapterOf, taskLine } from '../../src/cli/task-line.js';
import type { Task } from '../../src/contracts/task.js';

const START = Date.parse('2026-01-01T00:00:00.000Z');
const at = (ms: number): string => new Date(START + ms).toISOString();

function aTask(about: Partial<Task>): Task {
  return {
    id: 'r1.review',
    run: 'r1',
    key: 'review',
    capability: 'code-review',
    priority: 'P1',
    status: 'running',
    attempt: 1,
    max_attempts: 3,
    failed_attempts: 0,
    lost_attempts: 0,
    waiting_for: [],
    after: [{ task: 'r1.change', on_failure: 'fail' }],
    submitted_at: at(0),
    ...about,
  };
}

const error = { code: 'X', message: 'it rained' };

it.each<[string, Partial<Task>]>([
  ['· review   code-review               waits for change', { status: 'blocked' }],
  ['· review   code-review               waits for its agent', { status: 'dispatched' }],
  ['▸ review   code-review       250 ms  running', { started_at: at(1000) }],
  [
    '▸ review   code-review       250 ms  60 %  reading',
    { started_at: at(1000), progress: { fraction: 0.6, note: 'reading' } },
  ],
  ['✓ review   code-review        2.0 s  completed', { status: 'completed', started_at: at(0), finished_at: at(2000) }],
  ['↻ review   code-review               attempt 1 failed, another follows: it rained', { status: 'retrying', error }],
  ['✗ review   code-review               it rained', { status: 'dead', error, reason: 'attempts_exhausted' }],
  [
    '- review   code-review               cancelled: dependency_skipped',
    { status: 'cancelled', reason: 'dependency_skipped' },
  ],
])('%s', (expected, about) => {
  const { mark, text } = taskLine(aTask(about), START + 1250);
  expect(`${mark} ${text}`).toBe(expected);
});

it('lets no note move the cursor or break the line', () => {
  const note = 'a\nb\u001b[2Jc\u009b1Ad\u0007';
  const { text } = taskLine(aTask({ progress: { fraction: 0.5, note } }), START);
  expect(text).toMatch(/50 % {2}a b \[2Jc 1Ad$/);
});

it('begins a new chapter when a person would want to know, not with every millisecond', () => {
  const before = chapterOf(aTask({ progress: { fraction: 0.2, note: 'reading' } }));
  expect(chapterOf(aTask({ progress: { fraction: 0.3, note: 'reading' }, started_at: at(5) }))).toBe(before);
  expect(chapterOf(aTask({ progress: { fraction: 0.3, note: 'writing' } }))).not.toBe(before);
  expect(chapterOf(aTask({ status: 'retrying' }))).not.toBe(before);
});
