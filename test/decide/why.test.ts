// Every answer `task why` can give. The cases of unfinished tasks are in why-cases.ts, those of ended ones here.
// Both are run here, and together they must cover every reason there is.
import { TASK_REASONS } from '../../src/contracts/task.js';
import { why } from '../../src/decide/why.js';
import { WHY_REASONS } from '../../src/decide/why-snapshot.js';
import { unfinished } from './why-cases.js';
import { ago, anAgent, type Case, dependency, edges, failed, free, holds, snapshot } from './why-stage.js';

const ended: readonly Case[] = [
  [
    'completed',
    'done',
    snapshot({
      status: 'completed',
      attempt: 1,
      agent: 'ann-aaaaaa',
      started_at: ago(40_000),
      finished_at: ago(30_000),
    }),
    'Completed 30 s ago by ann-aaaaaa in 10 s, after 1.0 s in the queue, on attempt 1 of 3.',
  ],
  [
    'attempts_exhausted',
    'every attempt failed',
    snapshot({
      status: 'dead',
      reason: 'attempts_exhausted',
      attempt: 3,
      failed_attempts: 3,
      finished_at: ago(5000),
      agent: 'ann-a',
      error: failed,
    }),
    'Dead since 5.0 s: 3 attempts of 3 failed; no attempt is left; the last error on ann-a: HANDLER_FAILED: no such branch.',
  ],
  [
    'not_retryable',
    'failed for good',
    snapshot({
      status: 'dead',
      reason: 'not_retryable',
      attempt: 1,
      failed_attempts: 1,
      finished_at: ago(5000),
      error: failed,
    }),
    'Dead since 5.0 s: attempt 1 of 3 failed for good; the last error: HANDLER_FAILED: no such branch.',
  ],
  [
    'invalid_input',
    'its input is wrong',
    snapshot({
      status: 'dead',
      reason: 'invalid_input',
      attempt: 1,
      finished_at: ago(5000),
      error: { code: 'INVALID_INPUT', message: 'repo: expected string.' },
    }),
    "Dead since 5.0 s: its input does not fit what 'review' takes; the last error: INVALID_INPUT: repo: expected string.",
  ],
  [
    'deadline',
    'too late',
    snapshot({ status: 'dead', reason: 'deadline', attempt: 1, deadline_at: ago(6000), finished_at: ago(5000) }),
    'Dead since 5.0 s: it was not done by its deadline, 2026-01-01T11:59:54.000Z, after 1 attempt.',
  ],
  [
    'timeout',
    'too slow',
    snapshot({ status: 'dead', reason: 'timeout', attempt: 3, finished_at: ago(5000) }),
    'Dead since 5.0 s: attempt 3 of 3 took longer than its timeout.',
  ],
  [
    'agents_lost',
    'what runs it dies',
    snapshot({ status: 'dead', reason: 'agents_lost', lost_attempts: 6, agent: 'ann-a', finished_at: ago(5000) }),
    'Dead since 5.0 s: 6 agents vanished while running it, the last ann-a; it may be what kills them.',
  ],
  [
    'dependency_failed',
    'fell with another, which fell with a third',
    snapshot(
      { status: 'dead', reason: 'dependency_failed', after: edges('b'), finished_at: ago(5000) },
      {
        dependencies: [dependency('r1.b', 'dead', { reason: 'dependency_failed' })],
        origin: dependency('r1.a', 'dead', { reason: 'timeout', error: 'took too long' }),
      },
    ),
    "Dead since 5.0 s: it needs 'b' (dead, dependency_failed); it began with 'a' (dead, timeout): took too long.",
  ],
  [
    'dependency_cancelled',
    'fell with a cancelled one',
    snapshot(
      { status: 'cancelled', reason: 'dependency_cancelled', after: edges('b'), finished_at: ago(5000) },
      { dependencies: [dependency('r1.b', 'cancelled', { reason: 'cancelled_by_request' })] },
    ),
    "Cancelled since 5.0 s: it needs 'b' (cancelled, cancelled_by_request).",
  ],
  [
    'dependency_skipped',
    'skipped',
    snapshot(
      { status: 'cancelled', reason: 'dependency_skipped', after: edges('b'), finished_at: ago(5000) },
      { dependencies: [dependency('r1.b', 'dead', { reason: 'timeout' })] },
    ),
    "Cancelled since 5.0 s: it was to be skipped without 'b' (dead, timeout).",
  ],
  [
    'cancelled_by_request',
    'cancelled',
    snapshot({ status: 'cancelled', reason: 'cancelled_by_request', finished_at: ago(5000) }),
    'Cancelled since 5.0 s: someone asked for it before its first attempt.',
  ],
  [
    'dead',
    'dead, and nobody wrote why',
    snapshot({ status: 'dead', finished_at: ago(5000) }),
    'Dead since 5.0 s: no reason was recorded.',
  ],
  [
    'cancelled',
    'cancelled, and nobody wrote why',
    snapshot({ status: 'cancelled', finished_at: ago(5000) }),
    'Cancelled since 5.0 s: no reason was recorded.',
  ],
];

it.each([...unfinished, ...ended].map((one) => [one[0], one[1], one] as const))('%s: %s', (_reason, _name, one) =>
  holds(one),
);

it('has a case for every reason there is', () => {
  const shown = new Set([...unfinished, ...ended].map(([reason]) => reason));
  expect(WHY_REASONS.filter((reason) => !shown.has(reason))).toEqual([]);
  expect(TASK_REASONS.filter((reason) => !shown.has(reason))).toEqual([]);
});

it('keeps a sentence one line, whatever an error says', () => {
  const error = { code: 'X', message: `first\n\n${'long '.repeat(500)}` };
  const { sentence } = why(
    snapshot({ status: 'dead', reason: 'not_retryable', attempt: 1, finished_at: ago(1), error }),
  );
  expect(sentence).not.toContain('\n');
  expect(sentence.length).toBeLessThan(300);
});

it('knows a bus-only agent by its own, slower heartbeat', () => {
  const bus = anAgent('sue', { kind: 'bus', instance: 'bus:sue', last_heartbeat: ago(50_000) });
  const task = { status: 'running', attempt: 1, agent: 'bus:sue', started_at: ago(60_000) } as const;
  expect(why(snapshot(task, { agents: [bus] })).reason).toBe('running');
  const silent = { ...bus, last_heartbeat: ago(61_000) };
  expect(why(snapshot(task, { agents: [silent] })).reason).toBe('running_silent');
});

it('gives a dispatch its moment before calling it late', () => {
  const young = snapshot({ status: 'ready', ready_at: ago(500) }, { agents: [free], managers: 0 });
  expect(why(young).reason).toBe('queued');
});
