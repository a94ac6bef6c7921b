// Putting a delivery aside: its original bytes go to a dead-letter queue with the reason, and only then it is acked. Listing and
// redriving dead letters will live here too.
import { errorRecord } from '../errors.js';
import type { Bus, Delivery } from '../ports.js';
import { exchangeName, malformedKey } from './topology.js';

export interface Aside {
  readonly bus: Bus;
  readonly prefix: string;
  /** Larger messages are moved by the broker itself, without our reason: its own `x-death` header says rejected. */
  readonly maxPayload: number;
  /** The instance that gave up on it. */
  readonly by: string;
}

/**
 * Gives up on a delivery that nobody can make sense of. `where` is the kind of queue it came from. Rejects when the broker does not
 * take the copy: the delivery is then still unsettled, so nothing is lost.
 */
export async function putAside(aside: Aside, delivery: Delivery, where: string, error: unknown): Promise<void> {
  const { message } = delivery;
  if (message.body.length > aside.maxPayload) {
    delivery.reject();
    return;
  }
  const { code, message: text } = errorRecord(error);
  await aside.bus.publish({
    exchange: exchangeName(aside.prefix, 'dlx'),
    routingKey: malformedKey(where),
    body: message.body,
    ...(message.messageId === undefined ? {} : { messageId: message.messageId }),
    ...(message.correlationId === undefined ? {} : { correlationId: message.correlationId }),
    ...(message.type === undefined ? {} : { type: message.type }),
    ...(message.contentType === undefined ? {} : { contentType: message.contentType }),
    headers: {
      ...fitting(message.headers),
      'x-muster-error-code': code,
      'x-muster-error-message': text.slice(0, 1000),
      'x-muster-exchange': message.exchange,
      'x-muster-key': message.routingKey,
      'x-muster-agent': aside.by,
    },
  });
  delivery.ack();
}

/** A stranger's headers may fill the table to its limit: those that do not fit are left out rather than the whole message. */
function fitting(headers: Delivery['message']['headers']): Record<string, string | number | boolean> {
  const kept: Record<string, string | number | boolean> = {};
  let room = 4000;
  for (const [name, value] of Object.entries(headers)) {
    room -= Buffer.byteLength(name) + (typeof value === 'string' ? Buffer.byteLength(value) : 8) + 16;
    if (room < 0) break;
    kept[name] = value;
  }
  return kept;
}
