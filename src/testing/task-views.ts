// How the model of the task store looks to a reader: what tasks/queries.ts reads from Redis, read from the maps instead.
// Every answer is a fresh value; nothing here changes the model.
import { joinTaskId } from '../contracts/names.js';
import { PRIORITIES, type PriorityClass } from '../contracts/priority.js';
import type { Run, Task, TaskOutcome, TaskState } from '../contracts/task.js';
import { earliest, type Index, type TaskModel, type TaskRecord } from '../decide/task-model.js';
import type { TaskFilter, TaskStore } from '../ports.js';

type Answer<Method extends keyof TaskStore> = Awaited<ReturnType<TaskStore[Method]>>;

const CLASSES = [0, 1, 2, 3] as const;
const iso = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : new Date(ms).toISOString());
const inOrder = (index: Index): string[] => earliest(index, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);

export function viewTask(model: TaskModel, record: TaskRecord): Task {
  const { task, context } = record;
  const ended = record.outcome === undefined ? undefined : (JSON.parse(record.outcome) as TaskOutcome);
  const known = {
    reason: record.reason,
    assigned_to: task.assignedTo,
    agent: record.holder,
    parameters: (JSON.parse(task.body) as { parameters?: Task['parameters'] }).parameters,
    progress: record.progress === undefined ? undefined : { ...record.progress },
    result: ended?.output,
    error: ended === undefined ? record.error : ended.error,
    ready_at: iso(record.readyAt),
    started_at: iso(record.startedAt),
    finished_at: iso(record.finishedAt),
    due_at: iso(model.timers.get(task.id)),
    deadline_at: iso(task.deadlineAt),
    traceparent: context.traceparent,
  };
  return {
    id: task.id,
    run: record.run,
    key: record.key,
    capability: task.capability,
    priority: PRIORITIES[task.priority],
    status: statusOf(model, record),
    attempt: record.attempt,
    max_attempts: task.maxAttempts,
    failed_attempts: record.failed,
    lost_attempts: record.lost,
    waiting_for: [...record.open].sort(),
    after: task.dependencies.map(({ key, rule }) => ({ task: key, on_failure: rule })),
    submitted_at: iso(record.submittedAt)!,
    ...(Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)) as Partial<Task>),
  };
}

function statusOf(model: TaskModel, { task, state }: TaskRecord): TaskState {
  const at = model.ready[task.priority].get(task.id);
  return at !== undefined && at % 1 > 0 ? 'dispatched' : state;
}

export function viewRun(model: TaskModel, id: string): Run | undefined {
  const run = model.runs.get(id);
  if (run !== undefined) {
    return {
      id,
      status: run.state,
      ...{ total: run.total, done: run.done, failed: run.failed },
      labels: { ...run.labels },
      submitted_at: iso(run.submittedAt)!,
      ...(run.finishedAt === undefined ? {} : { finished_at: iso(run.finishedAt)! }),
    };
  }
  const only = model.tasks.get(id);
  if (only === undefined) return undefined;
  const final = only.finishedAt !== undefined;
  const completed = only.state === 'completed';
  return {
    id,
    status: !final ? 'running' : completed ? 'completed' : 'failed',
    ...{ total: 1, done: final ? 1 : 0, failed: final && !completed ? 1 : 0 },
    labels: {},
    submitted_at: iso(only.submittedAt)!,
    ...(final ? { finished_at: iso(only.finishedAt)! } : {}),
  };
}

export function runTasks(model: TaskModel, id: string): string[] {
  const run = model.runs.get(id);
  if (run !== undefined) return run.members.map((key) => joinTaskId(id, key));
  return model.tasks.has(id) ? [id] : [];
}

export function listTasks(model: TaskModel, filter: TaskFilter): Task[] {
  const found: Task[] = [];
  for (const id of candidates(model, filter)) {
    if (found.length >= filter.limit) break;
    const task = viewTask(model, model.tasks.get(id)!);
    if (filter.states !== undefined && !filter.states.includes(task.status)) continue;
    if (filter.capability === undefined || task.capability === filter.capability) found.push(task);
  }
  return found;
}

/** What waits in its order, what runs by holder, anything else newest run first. */
function candidates(model: TaskModel, { run, states = [] }: TaskFilter): string[] {
  if (run !== undefined) return runTasks(model, run);
  const only = (...names: string[]): boolean => states.length > 0 && states.every((state) => names.includes(state));
  if (only('ready', 'dispatched')) return CLASSES.flatMap((priority) => inOrder(model.ready[priority]));
  if (only('running')) return [...model.held.values()].flatMap((ids) => [...ids]);
  if (only('scheduled', 'retrying')) return inOrder(model.timers);
  return inOrder(model.submitted)
    .reverse()
    .flatMap((id) => runTasks(model, id));
}

export function readyTasks(model: TaskModel, limit: number): Answer<'readyTasks'> {
  const found: { id: string; capability: string; priority: PriorityClass; dispatched: boolean }[] = [];
  for (const priority of CLASSES) {
    for (const id of inOrder(model.ready[priority]).slice(0, limit - found.length)) {
      const record = model.tasks.get(id)!;
      const dispatched = statusOf(model, record) === 'dispatched';
      found.push({ id, capability: record.task.capability, priority, dispatched });
    }
  }
  return found;
}

export function dependencyOutcomes(model: TaskModel, id: string): Answer<'dependencies'> {
  const record = model.tasks.get(id);
  // A null prototype: a dependency named 'constructor' is only a key.
  const found: Record<string, TaskOutcome> = Object.create(null);
  for (const { key } of record?.task.dependencies ?? []) {
    const outcome = model.tasks.get(joinTaskId(record!.run, key))?.outcome;
    if (outcome !== undefined) found[key] = JSON.parse(outcome);
  }
  return found;
}

export function countTasks(model: TaskModel): Answer<'counts'> {
  let running = 0;
  for (const ids of model.held.values()) running += ids.size;
  const ready = model.ready.map((index) => index.size) as [number, number, number, number];
  return { ready, timers: model.timers.size, running };
}
