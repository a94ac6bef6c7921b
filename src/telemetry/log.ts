// Event -> log line: every word and level of the log is in the table below, and nothing else in the project logs.
// JSON by pino, to stderr unless told otherwise (stdout is the CLI's), secrets taken out; pino is loaded with the first subscriber.
import type { EventName, EventRecord } from '../contracts/events.js';
import { splitTaskId } from '../contracts/names.js';
import type { EventListener } from './emitter.js';
import { redact } from './redact.js';
import { currentTraceparent, traceIdOf } from './tracing.js';

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug';
type LineLevel = Exclude<LogLevel, 'silent'>;
const WEIGHT: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50, silent: 60 };

export interface LogOptions {
  /** The least level written. Default info. */
  readonly level?: LogLevel;
  /** A file descriptor, a path, or anything with write(line). Default 2, stderr. */
  readonly destination?: number | string | { write(line: string): void };
  /** Fields of every line: the agent's id, say. */
  readonly fields?: Readonly<Record<string, string>>;
}

type Line<N extends EventName> = readonly [level: LineLevel, say: (event: EventRecord<N>) => string];

const LINES: { readonly [N in EventName]: Line<N> } = {
  'task.submitted': ['debug', (e) => `task ${e.task} submitted`],
  'task.ready': ['debug', (e) => `task ${e.task} is ready`],
  'task.dispatched': ['debug', (e) => `task ${e.task} dispatched to ${e.exchange}, key ${e.routing_key}`],
  'task.started': [
    'debug',
    (e) => `task ${e.task} started by ${e.agent}, attempt ${e.attempt}, after ${e.waited_ms} ms`,
  ],
  'task.progressed': ['debug', (e) => `task ${e.task} is ${Math.round(e.fraction * 100)} % done`],
  'task.completed': ['debug', (e) => `task ${e.task} completed by ${e.agent} in ${e.duration_ms} ms`],
  'task.retrying': ['warn', (e) => `task ${e.task} failed attempt ${e.attempt}, next in ${e.after_ms} ms`],
  'task.dead': ['warn', (e) => `task ${e.task} is dead (${e.reason}) after attempt ${e.attempt}`],
  'task.cancelled': ['debug', (e) => `task ${e.task} cancelled (${e.reason})`],
  'task.rescued': ['warn', (e) => `task ${e.task} rescued from ${e.agent} (${e.cause})`],
  'task.stale': ['debug', (e) => `late report of ${e.agent} on task ${e.task} changed nothing`],
  'task.duplicate': ['debug', (e) => `duplicate message of task ${e.task} dropped, it is ${e.state}`],
  'run.submitted': ['info', (e) => `run ${e.run} submitted, ${e.tasks} ${e.tasks === 1 ? 'task' : 'tasks'}`],
  'run.finished': ['info', (e) => `run ${e.run} ${e.status} in ${e.duration_ms} ms`],
  'message.malformed': ['warn', (e) => `malformed message on ${e.queue} put aside`],
  'message.parked': ['warn', (e) => `message on ${e.queue} parked, nobody consumes ${e.routing_key}`],
  'message.forwarded': ['info', (e) => `${e.messages} parked messages forwarded to ${e.routing_key}`],
  'agent.joined': ['info', (e) => `agent ${e.agent} joined, offers ${e.capabilities.join(', ') || 'nothing'}`],
  'agent.left': ['info', (e) => `agent ${e.agent} left (${e.reason})`],
  'agent.stale': ['warn', (e) => `agent ${e.agent} is silent for ${e.silent_ms} ms`],
  'agent.changed': ['info', (e) => `agent ${e.agent} now offers ${e.capabilities.join(', ') || 'nothing'}`],
  'agent.draining': ['info', (e) => `agent ${e.agent} is draining`],
  'agent.stalled': ['warn', (e) => `agent ${e.agent} blocks its event loop for ${e.blocked_ms} ms`],
  'request.sent': ['debug', (e) => `request '${e.action}' sent to ${e.target}`],
  'request.answered': ['debug', (e) => `request '${e.action}' to ${e.target}: ${e.status} in ${e.duration_ms} ms`],
  'request.served': ['debug', (e) => `request '${e.action}' served by ${e.agent}: ${e.status} in ${e.duration_ms} ms`],
  'registry.lookup': ['debug', (e) => `registry lookup found ${e.found} in ${e.duration_ms} ms`],
  'queue.paused': ['info', (e) => `capability ${e.capability} paused`],
  'queue.resumed': ['info', (e) => `capability ${e.capability} resumed`],
  'bus.state': [
    'info',
    (e) => `RabbitMQ connection (${e.role}) is ${e.state}${e.why === undefined ? '' : `: ${e.why}`}`,
  ],
  'store.state': ['info', (e) => `Redis is ${e.state}${e.why === undefined ? '' : `: ${e.why}`}`],
  'loop.failed': ['error', (e) => `${e.loop} failed and goes on`],
};

// A state other than these is trouble, worth more than the table's level.
const GOOD_STATES = new Set(['ready', 'connecting', 'closed']);

function levelOf(record: EventRecord): LineLevel {
  if ((record.event === 'bus.state' || record.event === 'store.state') && !GOOD_STATES.has(record.state)) return 'warn';
  return LINES[record.event][0];
}

/** Which events `createLog` with that level writes: for `Emitter.on`, so that the others are not even made. */
export function logged(level: LogLevel): (event: EventName) => boolean {
  const least = WEIGHT[level];
  const wanted = new Set<EventName>(['bus.state', 'store.state']);
  for (const [event, [weight]] of Object.entries(LINES)) if (WEIGHT[weight] >= least) wanted.add(event as EventName);
  return (event) => wanted.has(event);
}

/** The line of one event, redacted: what pino writes besides time and level. */
export function logLine(record: EventRecord): Record<string, unknown> {
  const { event, at: _at, source, ...data } = record;
  const { agent, task, run, error, problem, ...rest } = data as Record<string, unknown>;
  const say = LINES[event][1] as (record: EventRecord) => string;
  const runId = run ?? (typeof task === 'string' ? splitTaskId(task).run : undefined);
  return redact({
    component: source,
    event,
    ...optional('agent_id', agent),
    ...optional('task_id', task),
    ...optional('run_id', runId),
    ...optional('trace_id', traceIdOf(currentTraceparent())),
    ...rest,
    ...(error === undefined && problem === undefined ? {} : { err: { message: error ?? problem } }),
    msg: say(record),
  }) as Record<string, unknown>;
}

function optional(name: string, value: unknown): Record<string, unknown> {
  return value === undefined ? {} : { [name]: value };
}

/** A listener for `Emitter.on` that writes the log. Below its level an event costs two look-ups. */
export function createLog(options: LogOptions = {}): EventListener {
  const least = WEIGHT[options.level ?? 'info'];
  if (least === WEIGHT.silent) return function log() {};
  const { pino } = require('pino') as typeof import('pino');
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: null,
      serializers: { err: (err) => err },
      // The event's own time, in `time`, instead of the moment of writing.
      timestamp: false,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream(options.destination ?? 2, pino),
  );
  const fields = redact(options.fields ?? {}) as Record<string, unknown>;
  return function log(record: EventRecord): void {
    const level = levelOf(record);
    if (WEIGHT[level] < least) return;
    logger[level]({ time: record.at, ...fields, ...logLine(record) });
  };
}

function stream(
  destination: Exclude<LogOptions['destination'], undefined>,
  pino: typeof import('pino').pino,
): import('pino').DestinationStream {
  if (typeof destination === 'object') return destination;
  const file = pino.destination({ dest: destination, sync: true, mkdir: true });
  // A closed pipe or a full disk costs the log, not the process.
  file.on('error', () => {});
  return file;
}
