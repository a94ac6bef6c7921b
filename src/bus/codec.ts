// Messages as AMQP has them, and back: properties, header rules, sizes. Knows amqplib's shapes, opens nothing.
// Headers are scalars both ways; what RabbitMQ or a previous life put into them is removed before a message is sent (again).
import type { ConsumeMessage, GetMessage, Message, Options } from 'amqplib';
import { InvalidInput, PayloadTooLarge } from '../errors.js';
import type { HeaderValue, IncomingMessage, OutgoingMessage } from '../ports.js';

/** Tells a returned message without an id from all others. Never shown to consumers. */
export const RETURN_HEADER = 'x-muster-return';

// amqplib refuses tables above 64 KiB with a RangeError, and a broker frame must hold all of them.
const MAX_HEADER_BYTES = 8192;
const MAX_SHORT_STRING = 255;

export type Headers = Readonly<Record<string, HeaderValue>>;

/** Refuses what the broker or amqplib would answer by closing the channel under all other messages. */
export function checkMessage(message: OutgoingMessage, maxPayloadBytes: number): void {
  if (message.body.length > maxPayloadBytes) {
    throw PayloadTooLarge(`The message for '${message.routingKey}'`, message.body.length, maxPayloadBytes);
  }
  if (message.headers !== undefined) {
    const bytes = headerBytes(message.headers);
    if (bytes > MAX_HEADER_BYTES) {
      throw PayloadTooLarge(`The headers of the message for '${message.routingKey}'`, bytes, MAX_HEADER_BYTES);
    }
  }
  checkShort('routingKey', message.routingKey);
  checkShort('exchange', message.exchange);
  checkShort('messageId', message.messageId);
  checkShort('correlationId', message.correlationId);
  checkShort('replyTo', message.replyTo);
}

function checkShort(what: string, value: string | undefined): void {
  // A UTF-16 unit is at most three bytes: short ones need not be measured.
  if (value === undefined || value.length <= 85) return;
  if (Buffer.byteLength(value) > MAX_SHORT_STRING) {
    throw InvalidInput('The message', `${what} is longer than ${MAX_SHORT_STRING} bytes`);
  }
}

/** An upper bound, cheap: exact would mean encoding twice. */
function headerBytes(headers: Headers): number {
  let bytes = 0;
  for (const key in headers) {
    const value = headers[key];
    bytes += key.length + 16 + (typeof value === 'string' ? value.length : 0);
  }
  // Only a table that is nearly too long is worth counting in bytes.
  if (bytes * 3 <= MAX_HEADER_BYTES) return bytes;
  let exact = 0;
  for (const key in headers) {
    const value = headers[key];
    exact += Buffer.byteLength(key) + 6 + (typeof value === 'string' ? Buffer.byteLength(value) : 8);
  }
  return exact;
}

/** amqplib's options for a message; `returnId` marks one that has no id to be recognised by. */
export function toOptions(
  message: OutgoingMessage,
  mandatory: boolean,
  persistent: boolean,
  returnId?: number,
): Options.Publish {
  const options: Record<string, unknown> = {
    mandatory,
    persistent,
    contentType: message.contentType ?? 'application/json',
    headers: outgoingHeaders(message.headers, returnId),
    messageId: message.messageId,
    correlationId: message.correlationId,
    replyTo: message.replyTo,
    type: message.type,
    appId: message.appId,
    timestamp: message.timestamp,
  };
  return options as Options.Publish;
}

function outgoingHeaders(headers: Headers | undefined, returnId: number | undefined): Headers | undefined {
  const own = ownHeaders(headers);
  return returnId === undefined ? own : { ...own, [RETURN_HEADER]: returnId };
}

/** The headers without what is not the sender's to set. The same object when there is nothing to remove. */
export function ownHeaders(headers: Headers | undefined): Headers | undefined {
  let isClean = true;
  for (const key in headers) {
    if (isForeign(key) || !isScalar(headers[key])) isClean = false;
  }
  if (headers === undefined || isClean) return headers;
  return Object.fromEntries(Object.entries(headers).filter(([key, value]) => !isForeign(key) && isScalar(value)));
}

/**
 * CC and BCC route past topic permissions on RabbitMQ before 4.0.3. With `x-death` left in, 3.10 takes a second retry for a
 * cycle and drops it without trace.
 */
function isForeign(key: string): boolean {
  switch (key.charCodeAt(0)) {
    case 67: // C
      return key === 'CC';
    case 66: // B
      return key === 'BCC';
    case 120: // x
      return (
        key.startsWith('x-death') ||
        key.startsWith('x-first-death-') ||
        key.startsWith('x-last-death-') ||
        key === 'x-delivery-count' ||
        key === 'x-acquired-count' ||
        key === RETURN_HEADER
      );
    default:
      return false;
  }
}

function isScalar(value: unknown): value is HeaderValue {
  return (
    typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
  );
}

/** What arrived, without amqplib's own objects. */
export function fromAmqp(raw: ConsumeMessage | GetMessage, queue: string): IncomingMessage {
  const { fields, properties } = raw;
  const message: Record<string, unknown> = {
    exchange: fields.exchange,
    routingKey: fields.routingKey,
    queue,
    redelivered: fields.redelivered,
    body: raw.content,
    messageId: properties.messageId,
    correlationId: properties.correlationId,
    replyTo: properties.replyTo,
    type: properties.type,
    appId: properties.appId,
    contentType: properties.contentType,
    timestamp: properties.timestamp,
    headers: incomingHeaders(properties.headers),
  };
  return message as unknown as IncomingMessage;
}

function incomingHeaders(headers: Record<string, unknown> | undefined): Headers {
  const kept: Record<string, HeaderValue> = {};
  for (const key in headers) {
    const value = headers[key];
    // '__proto__' would not become a header but the prototype of all of them.
    if (isScalar(value) && key !== RETURN_HEADER && key !== '__proto__') kept[key] = value;
  }
  return kept;
}

/** The mark of a returned message, or its id: what the sender recognises it by. */
export function returnMark(raw: Message): number | undefined {
  const mark: unknown = raw.properties.headers?.[RETURN_HEADER];
  return typeof mark === 'number' ? mark : undefined;
}
