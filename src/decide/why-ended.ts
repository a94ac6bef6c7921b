// Why a task ended as it did: completed, dead or cancelled, and in a chain of failures where it began. Part of decide/why.ts.
import { TASK_REASONS, type TaskReason } from '../contracts/task.js';
import { formatDuration } from './waterfall.js';
import { brief, count, lasting, list, type Relative, type Seen, since, type Why } from './why-snapshot.js';

type Answer = Omit<Why, 'id'>;

export function ended(seen: Seen): Answer {
  const { task, nowMs } = seen;
  const facts = {
    ended_ms_ago: since(task.finished_at, nowMs),
    attempt: task.attempt,
    failed_attempts: task.failed_attempts,
    max_attempts: task.max_attempts,
    lost_attempts: task.lost_attempts,
    ...(task.agent === undefined ? {} : { agent: task.agent }),
    ...(task.error === undefined ? {} : { error: task.error }),
    ...(seen.origin === undefined ? {} : { origin: seen.origin }),
  };
  if (task.status === 'completed') return { reason: 'completed', sentence: completed(seen), facts };
  const known = TASK_REASONS.find((reason) => reason === task.reason);
  const state = task.status === 'dead' ? 'dead' : 'cancelled';
  const word = state === 'dead' ? 'Dead' : 'Cancelled';
  const text = known === undefined ? 'no reason was recorded' : REASONS[known](seen);
  return { reason: known ?? state, sentence: `${word} since ${lasting(task.finished_at, nowMs)}: ${text}`, facts };
}

function completed({ task, nowMs }: Seen): string {
  const ranMs = since(task.started_at, Date.parse(task.finished_at ?? ''));
  const waitedMs = since(task.ready_at, Date.parse(task.started_at ?? ''));
  const by = task.agent === undefined ? '' : ` by ${task.agent}`;
  const attempt = `attempt ${task.attempt} of ${task.max_attempts}`;
  const lost =
    task.lost_attempts === 0
      ? ''
      : `, after ${count(task.lost_attempts, 'attempt')} lost with ${task.lost_attempts === 1 ? 'its agent' : 'their agents'}`;
  return `Completed ${lasting(task.finished_at, nowMs)} ago${by} in ${number(ranMs)}, after ${number(waitedMs)} in the queue, on ${attempt}${lost}`;
}

const REASONS: Readonly<Record<TaskReason, (seen: Seen) => string>> = {
  attempts_exhausted: (seen) => `${failed(seen)}; no attempt is left${last(seen)}`,
  not_retryable: (seen) => `attempt ${seen.task.attempt} of ${seen.task.max_attempts} failed for good${last(seen)}`,
  invalid_input: (seen) => `its input does not fit what '${seen.task.capability}' takes${last(seen)}`,
  deadline: ({ task }) =>
    `it was not done by its deadline, ${task.deadline_at ?? 'unknown'}, after ${count(task.attempt, 'attempt')}`,
  timeout: (seen) =>
    `attempt ${seen.task.attempt} of ${seen.task.max_attempts} took longer than its timeout${last(seen)}`,
  agents_lost: ({ task }) =>
    `${count(task.lost_attempts, 'agent')} vanished while running it, the last ${task.agent ?? 'unknown'}; it may be what kills them`,
  dependency_failed: (seen) => fell(seen, 'it needs'),
  dependency_cancelled: (seen) => fell(seen, 'it needs'),
  dependency_skipped: (seen) => fell(seen, 'it was to be skipped without'),
  cancelled_by_request: ({ task }) =>
    `someone asked for it ${task.attempt === 0 ? 'before its first attempt' : `during or after attempt ${task.attempt}`}`,
};

function failed({ task }: Seen): string {
  return `${count(task.failed_attempts, 'attempt')} of ${task.max_attempts} failed`;
}

function last({ task }: Seen): string {
  if (task.error === undefined) return '';
  const on = task.agent === undefined ? '' : ` on ${task.agent}`;
  return `; the last error${on}: ${task.error.code}: ${brief(task.error.message)}`;
}

function fell({ dependencies, origin, task }: Seen, how: string): string {
  const fallen = dependencies.filter((one) => one.status === 'dead' || one.status === 'cancelled');
  const direct = fallen.length === 0 ? task.after.map((edge) => edge.task) : fallen.map(name);
  const begun =
    origin === undefined || fallen.some((one) => one.id === origin.id) ? '' : `; it began with ${name(origin)}`;
  const first = origin ?? fallen[0];
  const error = first?.error === undefined ? '' : `: ${brief(first.error)}`;
  return `${how} ${list(direct)}${begun}${error}`;
}

function name({ id, status, reason }: Relative): string {
  const key = id.includes('.') ? id.slice(id.indexOf('.') + 1) : id;
  return `'${key}' (${status}${reason === undefined ? '' : `, ${reason}`})`;
}

function number(ms: number): string {
  return Number.isFinite(ms) ? formatDuration(ms) : 'an unknown time';
}
