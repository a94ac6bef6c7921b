// `muster task list|show|cancel|approve|why`: what is stored of tasks and runs, and what may be done to them.
import { TASK_STATES, type Task } from '../../contracts/task.js';
import { formatDuration, renderWaterfall, waterfall } from '../../decide/waterfall.js';
import { since, type Why } from '../../decide/why-snapshot.js';
import { InvalidInput, TaskNotFound } from '../../errors.js';
import { type Options, text } from '../command.js';
import { EXITS } from '../exits.js';
import { columns, type Output, paint, painted, pairs, table } from '../output.js';
import { quote, readCount, readName, readTaskId } from '../read.js';
import { type Stores, withClient, withStores } from '../session.js';
import { explain } from '../snapshot.js';
import { runText, short } from './run.js';

type Words = readonly (string | undefined)[];
/** A run may have 200,000 tasks; a trace of more than this many rows is no picture any more. */
const TRACED = 5000;
const TRACE_ROWS = 200;

export async function taskList(output: Output, _words: Words, options: Options): Promise<number> {
  const states = ((options.state as string[] | undefined) ?? []).flatMap((given) => given.split(','));
  const wrong = states.find((state) => !(TASK_STATES as readonly string[]).includes(state));
  if (wrong !== undefined) throw InvalidInput('--state', `${quote(wrong)} is none; use ${TASK_STATES.join(', ')}`);
  const capability = text(options, 'capability');
  const run = text(options, 'run');
  const filter = {
    limit: readCount(text(options, 'limit') ?? '50', '--limit', 10_000),
    ...(states.length === 0 ? {} : { states }),
    ...(capability === undefined ? {} : { capability: readName(capability, '--capability') }),
    ...(run === undefined ? {} : { run: readTaskId(run) }),
  };
  return withStores(async ({ tasks, now }) => {
    const found = await tasks.list(filter);
    const nowMs = await now();
    output.answer(found, () =>
      found.length === 0
        ? 'No such tasks.'
        : table(
            ['task', 'capability', 'priority', 'state', 'attempt', 'age', 'agent'],
            found.map((task) => row(task, nowMs)),
          ),
    );
    return EXITS.ok.code;
  });
}

function row(task: Task, nowMs: number): string[] {
  const age = formatDuration(since(task.submitted_at, nowMs));
  return [
    task.id,
    task.capability,
    task.priority,
    painted(task.status),
    `${task.attempt}/${task.max_attempts}`,
    age,
    task.agent ?? '',
  ];
}

export async function taskShow(output: Output, [word]: Words, options: Options): Promise<number> {
  const id = readTaskId(word ?? '');
  return withStores(async (stores) => {
    if (options.trace === true) return trace(output, stores, id);
    const task = await stores.tasks.find(id);
    if (task !== undefined) {
      output.answer(task, () => taskText(task));
      return EXITS.ok.code;
    }
    const run = await stores.tasks.findRun(id);
    if (run === undefined) throw TaskNotFound(id);
    const tasks = await stores.tasks.list({ run: id, limit: run.total });
    output.answer({ run, tasks: tasks.map(short) }, () => runText(run, tasks));
    return EXITS.ok.code;
  });
}

async function trace(output: Output, { tasks, now }: Stores, id: string): Promise<number> {
  const run = id.split('.', 1)[0]!;
  const all = await tasks.list({ run, limit: TRACED });
  if (all.length === 0) throw TaskNotFound(id);
  const view = waterfall(all, await now());
  output.answer(view, () => renderWaterfall(view, { width: columns(), maxRows: TRACE_ROWS }));
  return EXITS.ok.code;
}

function taskText(task: Task): string[] {
  const json = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));
  const progress =
    task.progress === undefined
      ? undefined
      : `${Math.round(task.progress.fraction * 100)} % ${task.progress.note ?? ''}`;
  return pairs([
    ['task', paint.bold(task.id)],
    ['capability', task.capability],
    ['priority', task.priority],
    ['state', painted(task.status)],
    ['reason', task.reason],
    [
      'attempt',
      `${task.attempt} of ${task.max_attempts}, ${task.failed_attempts} failed, ${task.lost_attempts} lost with their agent`,
    ],
    ['assigned to', task.assigned_to],
    ['agent', task.agent],
    ['waits for', task.waiting_for.length === 0 ? undefined : task.waiting_for.join(', ')],
    ['after', task.after.length === 0 ? undefined : task.after.map((edge) => edge.task).join(', ')],
    ['progress', progress],
    ['submitted', task.submitted_at],
    ['ready', task.ready_at],
    ['started', task.started_at],
    ['finished', task.finished_at],
    ['due', task.due_at],
    ['deadline', task.deadline_at],
    ['trace', task.traceparent?.split('-')[1]],
    ['input', json(task.parameters)],
    ['result', json(task.result)],
    ['error', task.error === undefined ? undefined : `${task.error.code}: ${task.error.message}`],
  ]);
}

export async function taskCancel(output: Output, [word]: Words, options: Options): Promise<number> {
  const id = readTaskId(word ?? '');
  return withClient(async (client) => {
    if (options.run === true) {
      const run = id.split('.', 1)[0]!;
      const cancelled = await client.cancelRun(run);
      output.answer({ run, cancelled }, () => `${cancelled} tasks of run ${run} cancelled`);
      return EXITS.ok.code;
    }
    if (!id.includes('.') && (await client.task(id)) === undefined && (await client.runState(id)) !== undefined) {
      throw InvalidInput('The id', `'${id}' is a run of several tasks; --run cancels the whole of it`);
    }
    const answer = await client.cancel(id);
    output.answer({ id, ...answer }, () => (answer.cancelled ? `${id} cancelled` : `${id} is ${answer.state} already`));
    return answer.cancelled || answer.state === 'cancelled' ? EXITS.ok.code : EXITS.conflict.code;
  });
}

export async function taskApprove(output: Output, [word]: Words): Promise<number> {
  const id = readTaskId(word ?? '');
  return withClient(async (client) => {
    const approved = await client.approve(id);
    const status = (await client.task(id))?.status;
    output.answer({ id, approved, status }, () =>
      approved ? `${id} approved` : `${id} waits for no approval; it is ${status}`,
    );
    return approved ? EXITS.ok.code : EXITS.conflict.code;
  });
}

export async function taskWhy(output: Output, [word]: Words): Promise<number> {
  const id = readTaskId(word ?? '');
  return withStores(async (stores) => {
    const answer: Why = await explain(stores, id);
    output.answer(answer, () => (answer.id === id ? answer.sentence : `${answer.id}: ${answer.sentence}`));
    return answer.reason === 'unknown_id' ? EXITS.notFound.code : EXITS.ok.code;
  });
}
