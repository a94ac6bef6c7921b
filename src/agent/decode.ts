// Hop 5, its first step: what a delivery, or a dependent handed over past the broker, says of its task.
import { splitTaskId } from '../contracts/names.js';
import { InvalidInput } from '../errors.js';
import type { IncomingMessage, ReadyTask } from '../ports.js';
import { decodeTask } from '../tasks/prepare.js';
import { newTraceparent } from '../telemetry/tracing.js';
import type { AttemptTask } from './attempt.js';
import type { Instance } from './instance.js';

export interface Decoded {
  readonly id: string;
  readonly task: AttemptTask;
}

/** Throws MALFORMED, INVALID_INPUT or PAYLOAD_TOO_LARGE: no attempt can make sense of it. */
export function decode(message: IncomingMessage, { config, ports }: Instance): Decoded {
  const { id, task } = decodeTask(message, { maxPayload: config.MUSTER_MAX_PAYLOAD });
  return {
    id,
    task: {
      message: task,
      traceparent: text(message.headers.traceparent) ?? task.traceparent ?? newTraceparent(ports.random, true),
      root: text(message.headers['x-muster-root']) ?? splitTaskId(id).run,
      hops: hopsOf(message.headers['x-muster-hops']),
    },
  };
}

export function toAttemptTask(task: ReadyTask): AttemptTask {
  return {
    message: JSON.parse(task.body) as AttemptTask['message'],
    traceparent: task.traceparent,
    root: task.root,
    hops: task.hops,
  };
}

/** A stranger may write anything: what is no count must not pass for one, or the guard against endless loops is off. */
function hopsOf(value: unknown): number {
  const hops = value === undefined ? 0 : Number(value);
  if (!Number.isSafeInteger(hops) || hops < 0)
    throw InvalidInput('The task message', "its header 'x-muster-hops' is no count");
  return hops;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
