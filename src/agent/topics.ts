// Publish and subscribe by topic (B4): the exchange `muster.event`, which also carries what Muster itself announces.
import { eventKey, exchangeName } from '../bus/topology.js';
import { randomName } from '../clock.js';
import { EVENT_NAMES } from '../contracts/events.js';
import { NAME_PATTERN } from '../contracts/names.js';
import { errorRecord, InvalidInput, PayloadTooLarge } from '../errors.js';
import type { Topology } from '../ports.js';
import { encodeBody } from '../tasks/prepare.js';
import type { Instance } from './instance.js';

export interface TopicEvent {
  /** The topic, such as 'build.finished' or, of Muster's own, 'task.completed'. */
  readonly event: string;
  readonly at: string;
  readonly source: string;
  readonly [field: string]: unknown;
}
/** May be async. With a durable subscription an event counts as heard once the handler is done; a throw delivers it again. */
export type TopicHandler = (event: TopicEvent) => void | Promise<void>;
export interface Subscribed {
  cancel(): Promise<void>;
}

const TOPIC = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/;
const PATTERN = /^([a-z0-9_-]+|\*|#)(\.([a-z0-9_-]+|\*|#))*$/;

export function publishTopic(instance: Instance, topic: string, data: unknown): void {
  if (!TOPIC.test(topic) || topic.length > 200) {
    throw InvalidInput(
      'The topic',
      `${JSON.stringify(topic.slice(0, 40))}: use lower-case words joined by dots, at most 200 characters`,
    );
  }
  if ((EVENT_NAMES as readonly string[]).includes(topic))
    throw InvalidInput('The topic', `'${topic}' is one of Muster's own events`);
  const { ports, config, id } = instance;
  const event = { event: topic, at: new Date(ports.clock.now()).toISOString(), source: id, data };
  const body = encodeBody(event, 'The event');
  if (body.length > config.MUSTER_MAX_PAYLOAD)
    throw PayloadTooLarge('The event', body.length, config.MUSTER_MAX_PAYLOAD);
  // Persistent only as far as a durable subscription keeps it; nobody listening is no error.
  ports.bus.send({
    exchange: exchangeName(config.MUSTER_PREFIX, 'event'),
    routingKey: eventKey(topic),
    body,
    type: topic,
  });
}

export async function subscribe(
  instance: Instance,
  pattern: string,
  handler: TopicHandler,
  options: { durable?: string },
): Promise<Subscribed> {
  if (!PATTERN.test(pattern) || pattern.length > 200) {
    throw InvalidInput(
      'The pattern',
      `${JSON.stringify(pattern.slice(0, 40))}: use words joined by dots, '*' for one word, '#' for any number`,
    );
  }
  if (options.durable !== undefined && !NAME_PATTERN.test(options.durable))
    throw InvalidInput('The subscription', `'${options.durable}' is not a name`);
  const { ports, config, id, emitter } = instance;
  const prefix = config.MUSTER_PREFIX;
  const queue = `${prefix}.sub.${options.durable ?? `${id}-${randomName(6)}`}`;
  const durable = options.durable !== undefined;
  const topology: Topology = {
    exchanges: [],
    queues: [
      durable
        ? {
            name: queue,
            kind: 'quorum',
            arguments: {
              'x-queue-type': 'quorum',
              'x-delivery-limit': 20,
              'x-dead-letter-exchange': exchangeName(prefix, 'dlx'),
              'x-dead-letter-routing-key': 'malformed.subscription',
              'x-dead-letter-strategy': 'at-least-once',
              'x-overflow': 'reject-publish',
            },
          }
        : {
            name: queue,
            kind: 'instance',
            arguments: { 'x-queue-type': 'classic', 'x-max-length': 100_000, 'x-overflow': 'drop-head' },
          },
    ],
    bindings: [{ exchange: exchangeName(prefix, 'event'), queue, routingKey: eventKey(pattern) }],
  };
  await ports.bus.declare(topology);
  const subscription = await ports.bus.consume(
    queue,
    durable ? { prefetch: 32 } : { prefetch: 0, noAck: true },
    (delivery) => {
      const hear = async (): Promise<void> => {
        try {
          await handler(JSON.parse(delivery.message.body.toString()) as TopicEvent);
          if (durable) delivery.ack();
        } catch (error) {
          emitter.emit('loop.failed', { loop: `subscription ${pattern}`, error: errorRecord(error).message });
          if (durable) delivery.requeue();
        }
      };
      void hear();
    },
  );
  // Processes mute events nobody hears: tell them that somebody does now.
  ports.bus.send({
    exchange: exchangeName(prefix, 'broadcast'),
    routingKey: '',
    body: Buffer.from('{"type":"control","command":"events_wanted"}'),
    persistent: false,
    type: 'control',
  });
  return {
    async cancel() {
      await subscription.cancel();
      if (!durable) await ports.bus.removeQueue(queue);
    },
  };
}
