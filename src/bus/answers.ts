// What the broker and amqplib answer, in Muster's words: AMQP reply codes become errors of errors.ts.
import { BrokerRefused, BrokerUnavailable, InvalidConfig, MusterError, NotSupported } from '../errors.js';

const NO_VHOST = 'the virtual host does not exist, or this user may not use it';

/** The cause in one line, without amqplib's wrapping. */
export function reason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // Node gives one message per address it tried, and the outer error none.
  if (message === '' && error instanceof AggregateError) return error.errors.map(reason).join('; ');
  // All that amqplib tells of a connection.close in answer to connection.open.
  if (message.startsWith('Expected ConnectionOpenOk')) return NO_VHOST;
  return /with message "(.*)"$/s.exec(message)?.[1] ?? message;
}

/** The broker is there and does not want us: wrong password, unknown virtual host, no permission. */
export function isRefusal(why: string): boolean {
  return why === NO_VHOST || /ACCESS[-_]REFUSED|NOT[-_]ALLOWED/.test(why);
}

/** The AMQP reply code of a closed channel or connection. */
export function amqpCode(error: unknown): number | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'number' ? code : undefined;
}

/** The code behind an error that `translate` made. */
export function causeCode(error: unknown): number | undefined {
  return amqpCode((error as { cause?: unknown } | undefined)?.cause);
}

/** The broker's refusal, or the loss of the channel, as an error of errors.ts. */
export function translate(error: unknown, where: string): unknown {
  const why = reason(error);
  const cause = { cause: error };
  switch (amqpCode(error)) {
    case 403:
      return BrokerRefused(where, why, cause);
    case 404:
    case 406:
      return InvalidConfig(`the broker answers '${why}'`, cause);
    case 405:
      return NotSupported(
        `The queue belongs to another connection (${why})`,
        'Only the process that declared it may use it',
        cause,
      );
    default:
      return error instanceof MusterError ? error : BrokerUnavailable(where, why, cause);
  }
}

/** Which messages made the broker close the publishing channel: a missing exchange, or one this user may not write to. */
export function blamed(error: Error): { code: 403 | 404; exchange: string; routingKey?: string } | undefined {
  const code = amqpCode(error);
  const exchange = /exchange '([^']*)'/.exec(error.message)?.[1];
  if (exchange === undefined || (code !== 404 && code !== 403)) return undefined;
  const routingKey = /access to topic '([^']*)'/.exec(error.message)?.[1];
  return routingKey === undefined ? { code, exchange } : { code, exchange, routingKey };
}
