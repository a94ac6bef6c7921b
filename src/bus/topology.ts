// The topology as data: every exchange, queue and binding Muster declares, and the only place where their names are made.
// Arguments here are what correctness needs and never change; what may be tuned (lengths, leader locator) belongs in policies.
import { PRIORITIES, type PriorityClass } from '../contracts/priority.js';
import type { Topology } from '../ports.js';

export const DEFAULT_PREFIX = 'muster';

/** A task whose agents keep dying is given up on after this many returns. RabbitMQ 3.10 has no limit of its own, 4.0 has 20. */
const DELIVERY_LIMIT = 20;
// Reading a dead letter and putting it back counts as a return: with the default limit of 4.0 the 21st look would delete it.
const KEEP_FOREVER = 1_000_000;
const INBOX_TTL_MS = 5 * 60_000;
// Longer than the time to live, so that nothing is inside when the queue lapses: an expiring queue does not dead-letter.
const INBOX_EXPIRES_MS = 24 * 3_600_000;
// A consumer that stopped reading must not fill the broker's memory with requests nobody waits for any more.
const INSTANCE_MAX_LENGTH = 100_000;

const CLASSES = PRIORITIES.map((_, index) => index as PriorityClass);

export const EXCHANGE_KINDS = [
  'task',
  'agent',
  'event',
  'broadcast',
  'submit',
  'result',
  'reply',
  'dlx',
  'rescue',
  'unrouted',
] as const;
export type ExchangeKind = (typeof EXCHANGE_KINDS)[number];

export const exchangeName = (prefix: string, kind: ExchangeKind): string => `${prefix}.${kind}`;

/** Queues of the base topology. */
export const unroutedQueue = (prefix: string): string => `${prefix}.unrouted`;
export const submitQueue = (prefix: string): string => `${prefix}.submit`;
export const resultQueue = (prefix: string): string => `${prefix}.result`;
export const rescueQueue = (prefix: string): string => `${prefix}.rescue`;
/** Where dead letters of no capability go: messages that cannot be read. */
export const malformedQueue = (prefix: string): string => `${prefix}.dlq.unknown`;

export const taskQueue = (prefix: string, capability: string, priority: PriorityClass): string =>
  `${prefix}.task.${capability}.p${priority}`;
export const deadLetterQueue = (prefix: string, capability: string): string => `${prefix}.dlq.${capability}`;
export const inboxQueue = (prefix: string, agentId: string): string => `${prefix}.inbox.${agentId}`;
export const instanceQueue = (prefix: string, instance: string): string => `${prefix}.instance.${instance}`;

export const taskKey = (capability: string, priority: PriorityClass): string => `task.${capability}.p${priority}`;
export const replyKey = (instance: string): string => `reply.${instance}`;
export const eventKey = (event: string): string => `event.${event}`;
/** The key on the dead-letter exchange for a message that cannot be read; `where` is the kind of queue it came from. */
export const malformedKey = (where: string): string => `malformed.${where}`;

/** What every installation has: exchanges, and the queues of managers. */
export function baseTopology(prefix: string): Topology {
  const exchange = (kind: ExchangeKind) => exchangeName(prefix, kind);
  const alternate = exchange('unrouted');
  return {
    exchanges: [
      { name: alternate, type: 'fanout' },
      // A foreign publisher's task for a capability nobody offers yet is parked, not dropped.
      { name: exchange('task'), type: 'topic', alternate },
      // No alternate: a request to an agent that is gone must come back to its sender at once.
      { name: exchange('agent'), type: 'direct' },
      { name: exchange('event'), type: 'topic' },
      { name: exchange('broadcast'), type: 'fanout' },
      { name: exchange('submit'), type: 'topic' },
      { name: exchange('result'), type: 'topic' },
      { name: exchange('reply'), type: 'topic' },
      // Without the alternate a dead letter that matches no queue blocks all others of its source queue.
      { name: exchange('dlx'), type: 'topic', alternate },
      { name: exchange('rescue'), type: 'fanout', alternate },
    ],
    queues: [
      { name: unroutedQueue(prefix), kind: 'quorum', arguments: kept() },
      { name: rescueQueue(prefix), kind: 'quorum', arguments: kept() },
      { name: malformedQueue(prefix), kind: 'quorum', arguments: kept() },
      { name: submitQueue(prefix), kind: 'quorum', arguments: work(prefix, malformedKey('submit')) },
      { name: resultQueue(prefix), kind: 'quorum', arguments: work(prefix, malformedKey('result')) },
    ],
    bindings: [
      { exchange: alternate, queue: unroutedQueue(prefix), routingKey: '' },
      { exchange: exchange('rescue'), queue: rescueQueue(prefix), routingKey: '' },
      { exchange: exchange('dlx'), queue: malformedQueue(prefix), routingKey: 'malformed.#' },
      { exchange: exchange('submit'), queue: submitQueue(prefix), routingKey: '#' },
      { exchange: exchange('result'), queue: resultQueue(prefix), routingKey: '#' },
    ],
  };
}

/** One capability: a queue per priority class, never AMQP's own priorities, and one queue for its dead letters. */
export function capabilityTopology(prefix: string, capability: string): Topology {
  return {
    exchanges: [],
    queues: [
      ...CLASSES.map((priority) => ({
        name: taskQueue(prefix, capability, priority),
        kind: 'quorum' as const,
        arguments: work(prefix),
      })),
      { name: deadLetterQueue(prefix, capability), kind: 'quorum', arguments: kept() },
    ],
    // The retry ladder will bind each task queue here a second time, to its delivering exchange.
    bindings: [
      ...CLASSES.map((priority) => ({
        exchange: exchangeName(prefix, 'task'),
        queue: taskQueue(prefix, capability, priority),
        routingKey: taskKey(capability, priority),
      })),
      {
        exchange: exchangeName(prefix, 'dlx'),
        queue: deadLetterQueue(prefix, capability),
        routingKey: `task.${capability}.*`,
      },
    ],
  };
}

/** Where tasks addressed to one agent wait for it; after five minutes they leave to be given to another. */
export function inboxTopology(prefix: string, agentId: string): Topology {
  return {
    exchanges: [],
    queues: [
      {
        name: inboxQueue(prefix, agentId),
        kind: 'quorum',
        arguments: {
          ...work(prefix),
          'x-dead-letter-exchange': exchangeName(prefix, 'rescue'),
          'x-message-ttl': INBOX_TTL_MS,
          'x-expires': INBOX_EXPIRES_MS,
        },
      },
    ],
    bindings: [{ exchange: exchangeName(prefix, 'agent'), queue: inboxQueue(prefix, agentId), routingKey: agentId }],
  };
}

/** One process: requests to it, replies to what it asked, and broadcasts. Transient, and gone with its connection. */
export function instanceTopology(prefix: string, instance: string): Topology {
  const queue = instanceQueue(prefix, instance);
  return {
    exchanges: [],
    queues: [
      {
        name: queue,
        kind: 'instance',
        arguments: { 'x-queue-type': 'classic', 'x-max-length': INSTANCE_MAX_LENGTH, 'x-overflow': 'drop-head' },
      },
    ],
    bindings: [
      { exchange: exchangeName(prefix, 'agent'), queue, routingKey: instance },
      { exchange: exchangeName(prefix, 'reply'), queue, routingKey: replyKey(instance) },
      { exchange: exchangeName(prefix, 'broadcast'), queue, routingKey: '' },
    ],
  };
}

type QueueArguments = Readonly<Record<string, string | number | boolean>>;

/** A queue whose messages are to be worked off. Dead letters wait in it until the dead-letter queue has confirmed them. */
function work(prefix: string, deadLetterKey?: string): QueueArguments {
  return {
    'x-queue-type': 'quorum',
    'x-delivery-limit': DELIVERY_LIMIT,
    'x-dead-letter-exchange': exchangeName(prefix, 'dlx'),
    'x-dead-letter-strategy': 'at-least-once',
    // at-least-once dead-lettering is refused without it.
    'x-overflow': 'reject-publish',
    ...(deadLetterKey === undefined ? {} : { 'x-dead-letter-routing-key': deadLetterKey }),
  };
}

/** A queue that keeps messages for people to look at. */
function kept(): QueueArguments {
  return { 'x-queue-type': 'quorum', 'x-delivery-limit': KEEP_FOREVER };
}
