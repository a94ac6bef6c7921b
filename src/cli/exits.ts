// What a command's exit code says, in one table, and which error gives which. docs/cli.md shows this table; a test holds them together.
// Every code of the error table has its row: a new error without one fails that test.
import { MusterError } from '../errors.js';

export const EXITS = {
  ok: { code: 0, says: 'It went well. Of `doctor`: nothing to do.' },
  failed: {
    code: 1,
    says: 'The work itself failed: the task is dead or cancelled, the run failed, the agent answered with an error. Of `doctor`: warnings.',
  },
  usage: { code: 2, says: 'Wrong usage, or input or settings that are not valid. Nothing was done.' },
  notFound: { code: 3, says: 'No such task, run or agent, or no agent that could take the request.' },
  unreachable: { code: 4, says: 'RabbitMQ or Redis cannot be reached, or refuses the login.' },
  conflict: { code: 5, says: 'It contradicts what is there: an idempotency key used before, a task already final.' },
  timeout: { code: 6, says: 'Not done in time. What was submitted goes on.' },
  interrupted: { code: 130, says: 'Interrupted (Ctrl-C).' },
} as const;
export type ExitName = keyof typeof EXITS;

/** Codes of errors.ts. Those that only one command raises go by their HTTP status. */
export const EXIT_OF_ERROR: Readonly<Record<string, ExitName>> = {
  INVALID_INPUT: 'usage',
  CYCLIC_RUN: 'usage',
  UNKNOWN_DEPENDENCY: 'usage',
  DUPLICATE_TASK: 'usage',
  PAYLOAD_TOO_LARGE: 'usage',
  MALFORMED: 'usage',
  INVALID_CONFIG: 'usage',
  NOT_SUPPORTED: 'usage',
  TASK_NOT_FOUND: 'notFound',
  AGENT_NOT_FOUND: 'notFound',
  NO_AGENT_AVAILABLE: 'notFound',
  BROKER_UNAVAILABLE: 'unreachable',
  BROKER_REFUSED: 'unreachable',
  STORE_UNAVAILABLE: 'unreachable',
  STORE_REFUSED: 'unreachable',
  THROTTLED: 'unreachable',
  UNROUTABLE: 'unreachable',
  PUBLISH_NACKED: 'unreachable',
  CLOSED: 'unreachable',
  IDEMPOTENCY_CONFLICT: 'conflict',
  SUBMISSION_IN_PROGRESS: 'conflict',
  LEASE_LOST: 'conflict',
  TASK_DEAD: 'failed',
  TASK_CANCELLED: 'failed',
  REQUEST_FAILED: 'failed',
  HANDLER_FAILED: 'failed',
  REQUEST_TIMEOUT: 'timeout',
  TIMED_OUT: 'timeout',
  CONFIRM_TIMEOUT: 'timeout',
};

export function exitOf(error: unknown): number {
  if (!(error instanceof MusterError)) return EXITS.failed.code;
  return EXITS[EXIT_OF_ERROR[error.code] ?? EXIT_OF_STATUS[error.status] ?? 'failed'].code;
}

/** Errors that only one command knows are not in the table: their HTTP status says enough. */
const EXIT_OF_STATUS: Readonly<Record<number, ExitName>> = { 404: 'notFound', 409: 'conflict', 422: 'usage' };
