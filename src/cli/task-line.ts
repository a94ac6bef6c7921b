/** One line about one task of a run as it goes: its mark, name, agent, time and what it is at. Pure.
 *  `progress-view.ts` puts these lines on a terminal. */
import { isFinal, type Task } from '../contracts/task.js';
import { formatDuration } from '../decide/waterfall.js';
import { agentOffering } from '../reference/agents.js';

const MARKS: Readonly<Partial<Record<Task['status'], string>>> = {
  completed: '✓',
  dead: '✗',
  cancelled: '-',
  running: '▸',
  retrying: '↻',
};

export interface TaskLine {
  readonly mark: string;
  /** Everything after the mark, without colours or control characters. */
  readonly text: string;
}

export function taskLine(task: Task, nowMs: number): TaskLine {
  const name = task.key === '' ? task.id : task.key;
  const agent = agentOffering(task.capability) ?? task.capability;
  const text = `${name.padEnd(8)} ${agent.padEnd(15)} ${timeOf(task, nowMs).padStart(8)}  ${stateOf(task)}`;
  return { mark: MARKS[task.status] ?? '·', text: oneLine(text) };
}

/** Changes whenever a person would want to hear of it: not with every millisecond. */
export function chapterOf(task: Task): string {
  return `${task.status} ${task.attempt} ${isFinal(task.status) ? '' : (task.progress?.note ?? '')}`;
}

function timeOf(task: Task, nowMs: number): string {
  if (task.started_at === undefined) return '';
  const until = task.finished_at === undefined ? nowMs : Date.parse(task.finished_at);
  return formatDuration(Math.max(0, until - Date.parse(task.started_at)));
}

function stateOf(task: Task): string {
  const note = task.progress?.note;
  switch (task.status) {
    case 'blocked':
      return `waits for ${task.after.map(keyOf).join(', ') || 'approval'}`;
    case 'running':
      return note === undefined ? 'running' : `${Math.round((task.progress?.fraction ?? 0) * 100)} %  ${note}`;
    case 'completed':
      return note ?? 'completed';
    case 'retrying':
      return `attempt ${task.attempt} failed, another follows: ${task.error?.message ?? ''}`;
    case 'dead':
      return task.error?.message ?? task.reason ?? 'dead';
    case 'cancelled':
      return `cancelled: ${task.reason ?? ''}`;
    default:
      return 'waits for its agent';
  }
}

function keyOf(edge: Task['after'][number]): string {
  return edge.task.slice(edge.task.indexOf('.') + 1);
}

/** Notes hold names from repositories: none may move the cursor or break the line. */
export function oneLine(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ').trimEnd();
}
