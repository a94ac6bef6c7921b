// `muster run`: a run from a file, and with --wait its progress and how each task ended.
import type { Client } from '../../agent/client.js';
import type { Run, Task } from '../../contracts/task.js';
import { type Options, text } from '../command.js';
import { EXITS } from '../exits.js';
import { type Output, painted, table } from '../output.js';
import { readDuration } from '../read.js';
import { readRunFile } from '../run-file.js';
import { withClient } from '../session.js';
import { everySoOften, within } from '../waiting.js';

const PROGRESS_MS = 500;
/** More rows than this are not read by anybody; --json has them all. */
const ROWS = 50;

export async function run(output: Output, [file]: readonly (string | undefined)[], options: Options): Promise<number> {
  const spec = readRunFile(file ?? '-');
  const patienceMs = readDuration(text(options, 'waitTimeout') ?? '1h', '--wait-timeout');
  return withClient(async (client) => {
    const accepted = await client.run(spec);
    if (options.wait !== true) {
      output.answer(accepted, () => accepted.id);
      return EXITS.ok.code;
    }
    output.note(`run ${accepted.id}: ${accepted.tasks.length} tasks submitted`);
    const stop = everySoOften(client, PROGRESS_MS, async () => {
      const state = await client.runState(accepted.id);
      if (state !== undefined)
        output.progress(`${state.done} of ${state.total} tasks ended, ${state.failed} of them not well`);
    });
    const outcome = await within(client, patienceMs, client.runOutcome(accepted.id));
    stop();
    output.progress('');
    await show(output, client, accepted.id, outcome === 'timeout');
    if (outcome === 'timeout') {
      output.note(`Not done within --wait-timeout; it goes on. 'muster task show ${accepted.id}' shows how far it is.`);
      return EXITS.timeout.code;
    }
    return outcome.status === 'completed' ? EXITS.ok.code : EXITS.failed.code;
  });
}

async function show(output: Output, client: Client, id: string, timedOut: boolean): Promise<void> {
  const state = await client.runState(id);
  const tasks = await client.tasks({ run: id, limit: state?.total ?? 1 });
  output.answer({ run: state, ...(timedOut ? { timed_out: true } : {}), tasks: tasks.map(short) }, () =>
    runText(state, tasks),
  );
}

export function runText(state: Run | undefined, tasks: readonly Task[]): string[] {
  const head =
    state === undefined
      ? []
      : [
          `run ${state.id}  ${painted(state.status)}  ${state.done} of ${state.total} tasks ended, ${state.failed} not well`,
          '',
        ];
  // What went wrong is read first.
  const ordered = [...tasks].sort((a, b) => rank(a) - rank(b));
  const rows = ordered
    .slice(0, ROWS)
    .map((task) => [
      task.key === '' ? task.id : task.key,
      task.capability,
      painted(task.status),
      String(task.attempt),
      task.error === undefined
        ? (task.reason ?? '')
        : `${task.error.code}: ${task.error.message.split('\n')[0]!.slice(0, 100)}`,
    ]);
  const left = ordered.length - rows.length;
  return [
    ...head,
    ...table(['task', 'capability', 'state', 'attempt', 'reason'], rows),
    ...(left > 0 ? [`and ${left} more`] : []),
  ];
}

function rank(task: Task): number {
  return task.status === 'dead' ? 0 : task.status === 'cancelled' ? 1 : 2;
}

export function short(task: Task): Partial<Task> {
  const { id, key, capability, status, reason, attempt, agent, error, result } = task;
  const all = { id, key, capability, status, attempt, reason, agent, error, result };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
