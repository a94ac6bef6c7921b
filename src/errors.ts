// Every error Muster raises, in one table: code, HTTP status, retryable, and a message that says cause, effect and next step.
// Callers branch on `code`, never on the message. docs/errors.md is checked against this file.

/** What a caller may rely on about an error. `status` is the HTTP status, `exit` the CLI's exit code. */
export interface ErrorTraits {
  readonly status: number;
  readonly retryable: boolean;
}

export class MusterError extends Error {
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    traits: ErrorTraits,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'MusterError';
    this.code = code;
    this.status = traits.status;
    this.retryable = traits.retryable;
    this.details = options.details ?? {};
  }

  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, retryable: this.retryable, details: this.details };
  }
}

type Options = { cause?: unknown; details?: Readonly<Record<string, unknown>> };

const table = new Map<string, ErrorTraits>();

function defineError<A extends readonly unknown[]>(
  code: string,
  traits: ErrorTraits,
  message: (...args: A) => string,
): (...args: [...A, Options?]) => MusterError {
  table.set(code, traits);
  return (...args) => {
    const last = args[args.length - 1];
    const options = args.length > message.length && isOptions(last) ? last : {};
    return new MusterError(code, traits, message(...(args as unknown as A)), options);
  };
}

function isOptions(value: unknown): value is Options {
  return typeof value === 'object' && value !== null;
}

/** Every code with its traits: the source of docs/errors.md and of the API's problem types. */
export const errorTable: ReadonlyMap<string, ErrorTraits> = table;

// What a client sent is wrong: nothing was stored.
export const InvalidInput = defineError(
  'INVALID_INPUT',
  { status: 422, retryable: false },
  (what: string, problems: string) =>
    `${what} is not valid: ${problems}. Nothing was stored; correct it and send it again.`,
);
export const CyclicRun = defineError(
  'CYCLIC_RUN',
  { status: 422, retryable: false },
  (path: readonly string[]) =>
    `The run's tasks wait for each other in a circle: ${path.join(' -> ')}. Nothing was stored; remove one of these dependencies.`,
);
export const UnknownDependency = defineError(
  'UNKNOWN_DEPENDENCY',
  { status: 422, retryable: false },
  (task: string, dependency: string) =>
    `Task '${task}' waits for '${dependency}', which is not a task of this run. Nothing was stored; name a task of the same run.`,
);
export const DuplicateTask = defineError(
  'DUPLICATE_TASK',
  { status: 409, retryable: false },
  (key: string) => `The run has two tasks named '${key}'. Nothing was stored; give each task its own key.`,
);
export const IdempotencyConflict = defineError(
  'IDEMPOTENCY_CONFLICT',
  { status: 409, retryable: false },
  (key: string) =>
    `Idempotency key '${key}' was used before with another body. The first submission stands; use a new key for different work.`,
);
export const PayloadTooLarge = defineError(
  'PAYLOAD_TOO_LARGE',
  { status: 413, retryable: false },
  (what: string, bytes: number, limit: number) =>
    `${what} is ${bytes} bytes, above the limit of ${limit}. It was not sent; send a reference (a URL or path), or raise MUSTER_MAX_PAYLOAD.`,
);
export const SubmissionInProgress = defineError(
  'SUBMISSION_IN_PROGRESS',
  { status: 409, retryable: true },
  (run: string) => `Run '${run}' is being submitted by another process at this moment. Send it again in a second.`,
);

// What was asked for is not there, or is past.
export const TaskNotFound = defineError(
  'TASK_NOT_FOUND',
  { status: 404, retryable: false },
  (id: string) =>
    `No task or run '${id}' is stored. It was never accepted, or its retention time is over; 'muster task list' shows what there is.`,
);
export const AgentNotFound = defineError(
  'AGENT_NOT_FOUND',
  { status: 404, retryable: false },
  (id: string) => `No agent '${id}' is registered. 'muster agent list' shows who is there.`,
);
export const TaskDead = defineError(
  'TASK_DEAD',
  { status: 424, retryable: false },
  (id: string, reason: string, message: string) =>
    `Task '${id}' is dead (${reason}): ${message}. 'muster task why ${id}' tells more; submit it again once the cause is mended.`,
);
export const TaskCancelled = defineError(
  'TASK_CANCELLED',
  { status: 409, retryable: false },
  (id: string, reason: string) => `Task '${id}' was cancelled (${reason}); it has no result.`,
);
export const LeaseLost = defineError(
  'LEASE_LOST',
  { status: 409, retryable: false },
  (id: string) =>
    `The lease on task '${id}' was lost: another attempt owns it now, and what this attempt reports changes nothing.`,
);

// Requests between agents.
export const RequestTimeout = defineError(
  'REQUEST_TIMEOUT',
  { status: 504, retryable: true },
  (target: string, action: string, timeoutMs: number) =>
    `No reply to '${action}' from ${target} within ${timeoutMs} ms. It may still be at work; ask again only if the action may run twice.`,
);
export const NoAgentAvailable = defineError(
  'NO_AGENT_AVAILABLE',
  { status: 503, retryable: true },
  (target: string, why: string) =>
    `No agent can take the request for ${target}: ${why}. Nothing was started; 'muster agent list' shows who is there.`,
);
export const RequestFailed = defineError(
  'REQUEST_FAILED',
  { status: 502, retryable: false },
  (target: string, action: string, message: string) => `${target} answered '${action}' with an error: ${message}.`,
);
export const HandlerFailed = defineError(
  'HANDLER_FAILED',
  { status: 500, retryable: true },
  (capability: string, message: string) => `The handler of '${capability}' failed: ${message}`,
);
export const TimedOut = defineError(
  'TIMED_OUT',
  { status: 504, retryable: true },
  (what: string, timeoutMs: number) => `${what} took longer than its timeout of ${timeoutMs} ms and was stopped.`,
);

// The broker and the store.
export const Unroutable = defineError(
  'UNROUTABLE',
  { status: 503, retryable: true },
  (exchange: string, routingKey: string) =>
    `No queue takes messages for '${routingKey}' on exchange '${exchange}'. The message was not accepted; start whoever consumes it.`,
);
export const Throttled = defineError(
  'THROTTLED',
  { status: 503, retryable: true },
  (why: string) => `The broker does not take messages now (${why}). The message was not accepted; try again later.`,
);
export const PublishNacked = defineError(
  'PUBLISH_NACKED',
  { status: 503, retryable: true },
  (exchange: string) =>
    `The broker refused a message for exchange '${exchange}' (nack). It was not accepted; try again.`,
);
export const ConfirmTimeout = defineError(
  'CONFIRM_TIMEOUT',
  { status: 504, retryable: true },
  (exchange: string, timeoutMs: number) =>
    `The broker did not confirm a message for exchange '${exchange}' within ${timeoutMs} ms. Whether it was taken is unknown; sending it again with the same id is safe.`,
);
export const BrokerUnavailable = defineError(
  'BROKER_UNAVAILABLE',
  { status: 503, retryable: true },
  (where: string, why: string) =>
    `RabbitMQ at ${where} cannot be reached: ${why}. Nothing was sent; 'muster doctor' checks the address and the login.`,
);
export const BrokerRefused = defineError(
  'BROKER_REFUSED',
  { status: 401, retryable: false },
  (where: string, why: string) =>
    `RabbitMQ at ${where} refuses this login: ${why}. Nothing was sent; correct user, password or virtual host in AMQP_URL.`,
);
export const StoreUnavailable = defineError(
  'STORE_UNAVAILABLE',
  { status: 503, retryable: true },
  (why: string) =>
    `Redis cannot be used now: ${why}. Whether a change was stored is unknown; repeating it with the same id is safe.`,
);
export const StoreRefused = defineError(
  'STORE_REFUSED',
  { status: 401, retryable: false },
  (where: string, why: string) =>
    `Redis at ${where} refuses this login: ${why}. Correct user and password in REDIS_URL.`,
);
export const Closed = defineError(
  'CLOSED',
  { status: 503, retryable: false },
  (what: string) => `${what} is closed. Nothing was sent; connect again.`,
);
export const InvalidConfig = defineError(
  'INVALID_CONFIG',
  { status: 500, retryable: false },
  (problems: string) => `The settings are not valid: ${problems}. Nothing was started; correct them.`,
);
export const NotSupported = defineError(
  'NOT_SUPPORTED',
  { status: 501, retryable: false },
  (what: string, instead: string) => `${what}. ${instead}.`,
);
export const Malformed = defineError(
  'MALFORMED',
  { status: 400, retryable: false },
  (what: string, why: string) => `${what} cannot be read: ${why}. It was put aside whole; see the dead-letter queue.`,
);

/** What is stored and sent of any thrown value: never the value itself, which may hold secrets or not be JSON. */
export interface ErrorRecord {
  readonly code: string;
  readonly message: string;
  readonly stack?: string;
}

/** Turns whatever was thrown into an ErrorRecord. Messages are cut at 2,000 characters, stacks at 4,000. */
export function errorRecord(thrown: unknown): ErrorRecord {
  if (thrown instanceof Error) {
    const code = (thrown as { code?: unknown }).code;
    return {
      code: typeof code === 'string' ? code : thrown.name,
      message: thrown.message.slice(0, 2000),
      ...(thrown.stack === undefined ? {} : { stack: thrown.stack.slice(0, 4000) }),
    };
  }
  return { code: 'THROWN', message: String(thrown).slice(0, 2000) };
}
