// `muster submit`: one task, from the command line, and with --wait how it ended.

import type { SubmitOptions } from '../../agent/submission.js';
import type { TaskOutcome } from '../../contracts/task.js';
import { isFinal } from '../../contracts/task.js';
import { InvalidInput } from '../../errors.js';
import { type Options, text } from '../command.js';
import { EXITS } from '../exits.js';
import { type Output, painted } from '../output.js';
import { readDuration, readInput, readMoment, readName, readPriority, readTaskId } from '../read.js';
import { withClient } from '../session.js';
import { within } from '../waiting.js';

export async function submit(
  output: Output,
  [word]: readonly (string | undefined)[],
  options: Options,
): Promise<number> {
  // Everything that can be wrong is read before anything is connected.
  const capability = readName(word ?? '', 'The capability');
  const how = readOptions(options);
  const patienceMs = readDuration(text(options, 'waitTimeout') ?? '5m', '--wait-timeout');
  const input = readInput(text(options, 'input'));
  return withClient(async (client) => {
    const { id } = await client.submit(capability, input, how);
    if (options.wait !== true) {
      output.answer({ id }, () => id);
      return EXITS.ok.code;
    }
    output.note(`submitted ${id}`);
    const outcome = await within(client, patienceMs, client.outcome(id));
    if (outcome === 'timeout') {
      const status = (await client.task(id))?.status ?? 'unknown';
      if (status === 'unknown' || !isFinal(status)) {
        output.answer({ id, status, timed_out: true }, () => `${id} is ${painted(status)}`);
        output.note(`Not done within --wait-timeout; it goes on. 'muster task why ${id}' says what it waits for.`);
        return EXITS.timeout.code;
      }
      return show(output, await client.outcome(id));
    }
    return show(output, outcome);
  });
}

function show(output: Output, outcome: TaskOutcome): number {
  output.answer(outcome, () => {
    const why = outcome.error === undefined ? (outcome.reason ?? '') : `${outcome.reason}: ${outcome.error.message}`;
    return outcome.status === 'completed'
      ? JSON.stringify(outcome.output ?? null, undefined, 2)
      : `${painted(outcome.status)} ${why}`;
  });
  return outcome.status === 'completed' ? EXITS.ok.code : EXITS.failed.code;
}

function readOptions(options: Options): SubmitOptions {
  const now = Date.now();
  const after = ((options.after as string[] | undefined) ?? []).map(readTaskId);
  const [priority, key, idempotencyKey] = ['priority', 'key', 'idempotencyKey'].map((name) => text(options, name));
  const [timeout, deadline, delay, agent] = ['timeout', 'deadline', 'delay', 'agent'].map((name) =>
    text(options, name),
  );
  if (key !== undefined && after.length === 0) {
    throw InvalidInput('--key', 'it names a task within a run; use it with --after, or submit a run file');
  }
  if (idempotencyKey !== undefined && after.length > 0) {
    throw InvalidInput('--idempotency-key', 'a task added to a run is named by --key: the same key is refused there');
  }
  return {
    ...(priority === undefined ? {} : { priority: readPriority(priority) }),
    ...(after.length === 0 ? {} : { after }),
    ...(key === undefined ? {} : { key: readName(key, '--key') }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...(timeout === undefined ? {} : { timeoutMs: readDuration(timeout, '--timeout') }),
    ...(deadline === undefined ? {} : { deadlineAt: readMoment(deadline, '--deadline', now) }),
    ...(delay === undefined ? {} : { notBefore: new Date(now + readDuration(delay, '--delay')) }),
    ...(agent === undefined ? {} : { assignedTo: readName(agent, '--agent') }),
    ...(options.leastConnections === true ? { route: 'least-connections' as const } : {}),
    ...(options.approval === true ? { requiresApproval: true } : {}),
  };
}
