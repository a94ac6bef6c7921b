// The built-in trace view: where the time of a run went, task by task, from what the store keeps; needs no trace collector.
// Pure: stored tasks and a width in, lines of text out. `waterfall` gives the figures alone, for whoever draws them otherwise.
import type { Task, TaskState } from '../contracts/task.js';

/**
 * blocked: waiting for other tasks, an approval or its time; retried: earlier attempts and the waits between them;
 * waiting: ready, its message in a queue; running: in an agent's hands.
 */
export type SegmentKind = 'blocked' | 'retried' | 'waiting' | 'running';
export interface Segment {
  readonly kind: SegmentKind;
  /** Since the first task of the run was submitted. */
  readonly fromMs: number;
  readonly toMs: number;
}
export interface WaterfallRow {
  readonly id: string;
  readonly label: string;
  readonly status: TaskState;
  readonly attempt: number;
  readonly agent?: string;
  /** One after the other, without gaps; none of length 0. */
  readonly segments: readonly Segment[];
}
export interface Waterfall {
  readonly run: string;
  readonly traceId?: string;
  readonly totalMs: number;
  readonly finished: boolean;
  readonly rows: readonly WaterfallRow[];
}

/** The rows in the order in which the tasks were last ready. Unfinished ones last until `nowMs`. */
export function waterfall(tasks: readonly Task[], nowMs: number): Waterfall {
  const startMs = Math.min(...tasks.map((task) => Date.parse(task.submitted_at)), nowMs);
  const rows = tasks
    .map((task) => toRow(task, startMs, nowMs))
    .sort((a, b) => workStart(a) - workStart(b) || (a.label < b.label ? -1 : 1));
  const traceId = tasks.find((task) => task.traceparent !== undefined)?.traceparent?.split('-')[1];
  return {
    run: tasks[0]?.run ?? '',
    ...(traceId === undefined ? {} : { traceId }),
    totalMs: rows.reduce((latest, row) => Math.max(latest, row.segments.at(-1)?.toMs ?? 0), 0),
    finished: tasks.every((task) => task.finished_at !== undefined),
    rows,
  };
}

function toRow(task: Task, startMs: number, nowMs: number): WaterfallRow {
  return {
    id: task.id,
    label: task.key === '' ? task.id : task.key,
    status: task.status,
    attempt: task.attempt,
    ...(task.agent === undefined ? {} : { agent: task.agent }),
    segments: segmentsOf(task, startMs, nowMs),
  };
}

/** `ready_at` and `started_at` are those of the latest attempt: a start before it was last ready belongs to an earlier one. */
function segmentsOf(task: Task, startMs: number, nowMs: number): Segment[] {
  const end = at(task.finished_at, startMs) ?? nowMs - startMs;
  const submitted = at(task.submitted_at, startMs) ?? 0;
  const ready = at(task.ready_at, startMs);
  const started = at(task.started_at, startMs);
  const again = started !== undefined && ready !== undefined && started < ready;
  const marks: [SegmentKind, until: number][] = [[task.attempt > 1 || again ? 'retried' : 'blocked', ready ?? end]];
  if (ready !== undefined) marks.push(['waiting', started === undefined || again ? end : started]);
  if (started !== undefined && !again) marks.push([task.status === 'retrying' ? 'retried' : 'running', end]);
  const segments: Segment[] = [];
  let fromMs = submitted;
  for (const [kind, until] of marks) {
    // Clocks of two machines may disagree by a little: time never goes back here.
    const toMs = Math.max(fromMs, Math.min(until, end));
    if (toMs > fromMs) segments.push({ kind, fromMs, toMs });
    fromMs = toMs;
  }
  return segments;
}

function at(time: string | undefined, startMs: number): number | undefined {
  return time === undefined ? undefined : Date.parse(time) - startMs;
}

function workStart(row: WaterfallRow): number {
  return row.segments.find(({ kind }) => kind === 'waiting' || kind === 'running')?.fromMs ?? Number.MAX_SAFE_INTEGER;
}

const CELLS: Readonly<Record<SegmentKind, string>> = { blocked: '·', retried: '×', waiting: '░', running: '█' };
const LEGEND = '· blocked  × earlier attempts  ░ waiting  █ running';
const MARKS: Readonly<Partial<Record<TaskState, string>>> = { completed: '✓', dead: '✗', cancelled: '-', running: '▸' };
const NARROWEST_BAR = 10;

export interface RenderOptions {
  /** Columns of the terminal. Under 60 the words beside the bars are left out. */
  readonly width: number;
  /** Rows shown, default all; how many are left out is said. */
  readonly maxRows?: number;
}

/** Lines for a terminal, none wider than `width` (as far as a bar of 10 columns allows). */
export function renderWaterfall(view: Waterfall, options: RenderOptions): string[] {
  const shown = view.rows.slice(0, options.maxRows ?? view.rows.length);
  const words = options.width < 60 ? shown.map(() => '') : shown.map(describe);
  const labelWidth = Math.min(24, Math.max(0, ...shown.map((row) => row.label.length)));
  const wordsWidth = Math.max(0, ...words.map((text) => text.length));
  const barWidth = Math.max(
    NARROWEST_BAR,
    options.width - labelWidth - 2 - 1 - (wordsWidth === 0 ? 0 : wordsWidth + 1),
  );
  const lines = shown.map((row, i) => {
    const label = cut(row.label, labelWidth).padEnd(labelWidth);
    return `${MARKS[row.status] ?? ' '} ${label} ${bar(row.segments, view.totalMs, barWidth)} ${words[i]}`.trimEnd();
  });
  const left = view.rows.length - shown.length;
  if (left > 0) lines.push(`  and ${left} more`);
  return [...header(view, options.width), scale(view.totalMs, labelWidth, barWidth), ...lines, '', LEGEND];
}

function header(view: Waterfall, width: number): string[] {
  const counts = new Map<string, number>();
  for (const { status } of view.rows) counts.set(status, (counts.get(status) ?? 0) + 1);
  const states = [...counts].map(([status, n]) => `${n} ${status}`).join(', ') || 'no tasks';
  const first = `run ${view.run}  ${states}  ${formatDuration(view.totalMs)}${view.finished ? '' : ' so far'}`;
  if (view.traceId === undefined) return [first];
  const trace = `trace ${view.traceId}`;
  return first.length + 2 + trace.length <= width ? [`${first}  ${trace}`] : [first, trace];
}

function scale(totalMs: number, labelWidth: number, barWidth: number): string {
  return `${' '.repeat(labelWidth + 3)}0${formatDuration(totalMs).padStart(barWidth - 1)}`;
}

function bar(segments: readonly Segment[], totalMs: number, width: number): string {
  const cells = Array<string>(width).fill(' ');
  const perCell = Math.max(totalMs, 1) / width;
  for (const { kind, fromMs, toMs } of segments) {
    // At least one cell, so that the shortest run is seen; the next segment may take it over.
    const first = Math.min(width - 1, Math.floor(fromMs / perCell));
    const last = Math.max(first, Math.min(width, Math.round(toMs / perCell)) - 1);
    cells.fill(CELLS[kind], first, last + 1);
  }
  return cells.join('');
}

const WORDS: Readonly<Record<SegmentKind, string>> = {
  blocked: 'blocked',
  retried: 'retried',
  waiting: 'waited',
  running: 'ran',
};

function describe(row: WaterfallRow): string {
  const parts = row.segments
    .filter(({ kind }) => kind !== 'blocked')
    .map(({ kind, fromMs, toMs }) => `${WORDS[kind]} ${formatDuration(toMs - fromMs)}`);
  const attempt = row.attempt > 1 ? [`attempt ${row.attempt}`] : [];
  if (parts.length === 0) return row.status;
  return [...parts, ...attempt, ...(row.agent === undefined ? [] : [cut(row.agent, 20)])].join(', ');
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

const UNITS = [
  { unit: 'd', ms: 86_400_000 },
  { unit: 'h', ms: 3_600_000 },
  { unit: 'min', ms: 60_000 },
  { unit: 's', ms: 1000 },
] as const;

/** `340 ms`, `1.2 s`, `45 s`, `2 min 5 s`, `1 h 3 min`, `2 d 4 h`: two units at most, the smaller one cut off. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const i = UNITS.findIndex((unit) => ms >= unit.ms);
  const [large, small] = [UNITS[i]!, UNITS[i + 1]];
  const whole = Math.floor(ms / large.ms);
  const rest = small === undefined ? 0 : Math.floor((ms - whole * large.ms) / small.ms);
  return rest === 0 ? `${whole} ${large.unit}` : `${whole} ${large.unit} ${rest} ${small!.unit}`;
}
