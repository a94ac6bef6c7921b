import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { TASK_STATES, type Task } from '../../src/contracts/task.js';
import { formatDuration, renderWaterfall, waterfall } from '../../src/decide/waterfall.js';

const start = Date.UTC(2026, 0, 1, 12);
const time = (ms: number): string => new Date(start + ms).toISOString();

interface Times {
  readonly ready?: number;
  readonly started?: number;
  readonly finished?: number;
}

function aTask(key: string, status: Task['status'], times: Times, more: Partial<Task> = {}): Task {
  return {
    id: key === '' ? 'r7' : `r7.${key}`,
    run: 'r7',
    key,
    capability: 'c',
    priority: 'P2',
    status,
    attempt: times.started === undefined ? 0 : 1,
    max_attempts: 3,
    failed_attempts: 0,
    lost_attempts: 0,
    waiting_for: [],
    after: [],
    submitted_at: time(0),
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    ...(times.ready === undefined ? {} : { ready_at: time(times.ready) }),
    ...(times.started === undefined ? {} : { started_at: time(times.started), agent: 'scribe-1' }),
    ...(times.finished === undefined ? {} : { finished_at: time(times.finished) }),
    ...more,
  };
}

/** Compares with test/golden/<name>.txt; UPDATE_GOLDEN=1 records it anew, on purpose. */
function expectGolden(name: string, lines: readonly string[]): void {
  const file = path.resolve(__dirname, `../golden/${name}.txt`);
  const text = `${lines.join('\n')}\n`;
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text);
  expect(existsSync(file) ? readFileSync(file, 'utf8') : '').toBe(text);
}

const diamond = [
  aTask('join', 'completed', { ready: 4200, started: 4230, finished: 5400 }),
  aTask('fetch', 'completed', { ready: 0, started: 200, finished: 1400 }),
  aTask('parse', 'completed', { ready: 1400, started: 1420, finished: 2000 }),
  aTask('render-a-page-with-a-long-name', 'completed', { ready: 1400, started: 3000, finished: 4200 }),
];

const troubled = [
  aTask('plan', 'completed', { ready: 0, started: 15, finished: 62_000 }),
  aTask('build', 'completed', { ready: 185_000, started: 190_000, finished: 305_000 }, { attempt: 3 }),
  aTask('lint', 'dead', { ready: 62_000, started: 62_010, finished: 70_000 }, { attempt: 2 }),
  aTask('publish', 'cancelled', { finished: 70_000 }),
  aTask('test', 'running', { ready: 305_000, started: 305_100 }),
  aTask('scan', 'retrying', { ready: 305_000, started: 306_000 }),
  aTask('sign', 'ready', { ready: 320_000, started: 306_000 }),
  aTask('notify', 'dispatched', { ready: 305_000 }),
  aTask('deploy', 'blocked', {}),
];
const now = start + 340_000;

it('shows where the time of a finished run went', () => {
  expectGolden('waterfall-diamond', renderWaterfall(waterfall(diamond, now), { width: 120 }));
});
it('shows a run with retries, a dead task and work under way', () => {
  expectGolden('waterfall-troubled', renderWaterfall(waterfall(troubled, now), { width: 100 }));
});
it('leaves out the words on a narrow terminal, and rows past the limit', () => {
  expectGolden('waterfall-narrow', renderWaterfall(waterfall(troubled, now), { width: 40, maxRows: 3 }));
});
it('shows a task that is its own run', () => {
  const alone = [aTask('', 'completed', { ready: 0, started: 1, finished: 9 })];
  expectGolden('waterfall-alone', renderWaterfall(waterfall(alone, now), { width: 80 }));
});
it('has words for a run without tasks', () => {
  expect(renderWaterfall(waterfall([], now), { width: 80 })[0]).toBe('run   no tasks  0 ms');
});

it('gives a task that is ready again its earlier attempt as retried, and none as running', () => {
  const [row] = waterfall([aTask('sign', 'ready', { ready: 500, started: 200 })], start + 800).rows;
  expect(row!.segments).toEqual([
    { kind: 'retried', fromMs: 0, toMs: 500 },
    { kind: 'waiting', fromMs: 500, toMs: 800 },
  ]);
});

const times = fc.record(
  { ready: fc.nat(10_000), started: fc.nat(10_000), finished: fc.nat(10_000) },
  { requiredKeys: [] },
);
const anyTask = fc
  .tuple(fc.stringMatching(/^[a-z]{1,30}$/), fc.constantFrom(...TASK_STATES), times, fc.nat(4))
  .map(([key, status, when, attempt]) => aTask(key, status, when as Times, { attempt }));

it('never shows a gap, an overlap or a line too wide, whatever the clocks said', () => {
  fc.assert(
    fc.property(fc.array(anyTask, { maxLength: 8 }), fc.integer({ min: 100, max: 200 }), (tasks, width) => {
      const view = waterfall(tasks, start + 10_000);
      for (const { segments } of view.rows) {
        segments.forEach((segment, i) => {
          expect(segment.toMs).toBeGreaterThan(segment.fromMs);
          expect(segment.fromMs).toBe(i === 0 ? 0 : segments[i - 1]!.toMs);
        });
      }
      for (const line of renderWaterfall(view, { width }).slice(1)) expect(line.length).toBeLessThanOrEqual(width);
    }),
  );
});

it.each([
  [0, '0 ms'],
  [999, '999 ms'],
  [1000, '1.0 s'],
  [1250, '1.2 s'],
  [9999, '9.9 s'],
  [10_000, '10 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [125_000, '2 min 5 s'],
  [3_780_000, '1 h 3 min'],
  [187_200_000, '2 d 4 h'],
])('says %d ms as %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});
