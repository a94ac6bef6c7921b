// A publish that waits for its answer, and how it is recognised when the broker returns it.
import type { Message, Options } from 'amqplib';
import type { OutgoingMessage } from '../ports.js';
import { toOptions } from './codec.js';

export interface PublishLimits {
  /** A publish without an answer for this long fails. Default 10,000. */
  readonly publishTimeoutMs: number;
  /** Publishes that may wait for an answer at once; above it THROTTLED. Default 10,000. */
  readonly maxPending: number;
  /** Bytes of their bodies. Default 64 MiB. */
  readonly maxPendingBytes: number;
  readonly maxPayloadBytes: number;
}

/** A message on its way, until the broker has answered or its time is over. */
export interface Pending {
  readonly message: OutgoingMessage;
  readonly options: Options.Publish;
  readonly mark: number | undefined;
  readonly deadline: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** It was on the wire once: from then on, no answer means that the outcome is unknown. */
  written: boolean;
  returned: boolean;
  nacks: number;
  /** The last answer was a nack: this time it is known that nobody has it. */
  refused: boolean;
  /** After a nack, not before this time. */
  dueAt: number;
  settled: boolean;
}

export function pendingOf(
  message: OutgoingMessage,
  mark: number | undefined,
  deadline: number,
  resolve: () => void,
  reject: (error: unknown) => void,
): Pending {
  return {
    message,
    options: toOptions(message, true, message.persistent !== false, mark),
    mark,
    deadline,
    resolve,
    reject,
    written: false,
    returned: false,
    nacks: 0,
    refused: false,
    dueAt: 0,
    settled: false,
  };
}

/** Whether a returned message is this one: by its mark, or by its id and where it was sent. */
export function isSame(pending: Pending, raw: Message, mark: number | undefined): boolean {
  if (mark !== undefined) return pending.mark === mark;
  const { message } = pending;
  return (
    message.messageId === raw.properties.messageId &&
    message.exchange === raw.fields.exchange &&
    message.routingKey === raw.fields.routingKey
  );
}
