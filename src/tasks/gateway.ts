// The manager's doors for those who have RabbitMQ only: runs published to `muster.submit`, reports of bus-only agents on
// `muster.result`, tasks for capabilities nobody offered yet (`muster.unrouted`), and what outlived its inbox (`muster.rescue`).
import { putAside } from '../bus/dead-letters.js';
import {
  capabilityTopology,
  exchangeName,
  rescueQueue,
  resultQueue,
  submitQueue,
  unroutedQueue,
} from '../bus/topology.js';
import { NAME_PATTERN } from '../contracts/names.js';
import { errorRecord, Malformed, type MusterError } from '../errors.js';
import type { Cancel, Delivery, OutgoingMessage, Subscription } from '../ports.js';
import { newTraceparent } from '../telemetry/tracing.js';
import { parseBody, validateRunSpec } from './prepare.js';
import { Reports, type ReportsParts } from './reports.js';

const PREFETCH = 64;
const RETRY_MS = 500;
/** Parked messages are looked at this often, besides at once when an agent joins. */
const PARKED_MS = 5000;

export interface GatewayParts extends ReportsParts {
  /** The manager's instance: named in dead letters. */
  readonly instance: string;
}

export class Gateway {
  readonly #parts: GatewayParts;
  readonly #reports: Reports;
  readonly #subscriptions: Subscription[] = [];
  #off: Cancel | undefined;
  #timer: Cancel | undefined;
  #forwarding: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#reports = new Reports(parts);
  }

  async start(): Promise<void> {
    const { bus, prefix, agents } = this.#parts;
    const consume = async (
      queue: string,
      where: string,
      serve: (delivery: Delivery) => Promise<void>,
    ): Promise<void> => {
      const subscription = await bus.consume(
        queue,
        { prefetch: PREFETCH },
        (delivery) => void this.#serve(delivery, where, serve),
      );
      this.#subscriptions.push(subscription);
    };
    await Promise.all([
      consume(submitQueue(prefix), 'submit', (delivery) => this.#submit(delivery)),
      consume(resultQueue(prefix), 'result', (delivery) => this.#reports.take(delivery)),
      consume(rescueQueue(prefix), 'rescue', (delivery) => this.#rescue(delivery)),
    ]);
    this.#off = await agents.onChange((change) => {
      if (change.kind === 'joined' || change.kind === 'changed') this.#forwardSoon();
    });
    this.#watchParked();
  }

  /** A delivery is acked once it was dealt with, put aside when no one can deal with it, and held while the store or broker is away. */
  async #serve(delivery: Delivery, where: string, serve: (delivery: Delivery) => Promise<void>): Promise<void> {
    const { clock, emitter, bus, prefix, limits, instance } = this.#parts;
    while (!delivery.lost && !this.#stopped) {
      try {
        await serve(delivery);
        delivery.ack();
        return;
      } catch (error) {
        const record = errorRecord(error);
        const { retryable } = error as Partial<MusterError>;
        if (retryable === false) {
          emitter.emit('message.malformed', { queue: delivery.message.queue, problem: record.message });
          try {
            await putAside({ bus, prefix, maxPayload: limits.maxPayload, by: instance }, delivery, where, error);
            return;
          } catch (again) {
            emitter.emit('loop.failed', { loop: where, error: errorRecord(again).message });
          }
        } else {
          emitter.emit('loop.failed', { loop: where, error: record.message });
        }
        await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
      }
    }
  }

  async #submit(delivery: Delivery): Promise<void> {
    const { manager, random } = this.#parts;
    const { message } = delivery;
    try {
      const spec = validateRunSpec(parseBody(message));
      const given = message.headers.traceparent;
      const traceparent = spec.traceparent ?? (typeof given === 'string' ? given : newTraceparent(random, true));
      // The message id makes a repeated publish the same run.
      const key = spec.idempotency_key ?? (spec.id === undefined ? message.messageId : undefined);
      const accepted = await manager.submitRun(key === undefined ? spec : { ...spec, idempotency_key: key }, {
        traceparent,
      });
      this.#answer(delivery, { status: 'accepted', run: accepted.run, tasks: accepted.tasks });
    } catch (error) {
      if ((error as Partial<MusterError>).retryable !== true)
        this.#answer(delivery, { status: 'refused', error: errorRecord(error) });
      throw error;
    }
  }

  /** To the key the sender named on `muster.reply`; it may have gone, and that is its own affair. */
  #answer(delivery: Delivery, body: object): void {
    const { bus, prefix } = this.#parts;
    const { replyTo, correlationId, messageId } = delivery.message;
    if (replyTo === undefined) return;
    const correlation = correlationId ?? messageId;
    bus.send({
      exchange: exchangeName(prefix, 'reply'),
      routingKey: replyTo,
      body: Buffer.from(JSON.stringify(body)),
      persistent: false,
      type: 'run_response',
      ...(correlation === undefined ? {} : { correlationId: correlation }),
    });
  }

  /** A task that waited too long in an inbox competes for any agent; the store knows whether it may. */
  async #rescue(delivery: Delivery): Promise<void> {
    const key = delivery.message.headers['x-muster-key'];
    if (typeof key !== 'string')
      throw Malformed('The message from an inbox', "it has no header 'x-muster-key' to route it by");
    const id = delivery.message.messageId;
    const task = id === undefined ? undefined : await this.#parts.tasks.find(id);
    // Addressed to one agent: the relay sends it there again, as long as it waits.
    if (task?.assigned_to !== undefined) return;
    await this.#parts.bus.publish(copyOf(delivery, exchangeName(this.#parts.prefix, 'task'), key));
  }

  #watchParked(): void {
    this.#timer = this.#parts.clock.after(PARKED_MS, () => {
      this.#forwardSoon();
      if (!this.#stopped) this.#watchParked();
    });
  }

  #forwardSoon(): void {
    if (this.#forwarding !== undefined) {
      this.#again = true;
      return;
    }
    this.#forwarding = this.#forward()
      .catch((error) => this.#parts.emitter.emit('loop.failed', { loop: 'parked', error: errorRecord(error).message }))
      .finally(() => {
        this.#forwarding = undefined;
        if (this.#again && !this.#stopped) {
          this.#again = false;
          this.#forwardSoon();
        }
      });
  }

  /** Goes once through what is parked: forwards what somebody offers now, puts the rest back at the end of the queue. */
  async #forward(): Promise<void> {
    const { bus, prefix, agents, emitter } = this.#parts;
    const queue = unroutedQueue(prefix);
    const parked = (await bus.inspect(queue))?.messages ?? 0;
    if (parked === 0) return;
    const offered = new Set(
      (await agents.all()).flatMap((agent) => agent.capabilities.map((capability) => capability.name)),
    );
    const forwarded = new Map<string, number>();
    for (let seen = 0; seen < parked && !this.#stopped; seen++) {
      const delivery = await bus.get(queue);
      if (delivery === undefined) break;
      const { routingKey, exchange } = delivery.message;
      const capability = /^task\.([^.]+)\.p[0-3]$/.exec(routingKey)?.[1];
      const known = capability !== undefined && NAME_PATTERN.test(capability) && offered.has(capability);
      if (known) {
        // An agent that left its queues behind may have had them deleted: without this the copy would come straight back.
        await bus.declare(capabilityTopology(prefix, capability));
        await bus.publish(copyOf(delivery, exchangeName(prefix, 'task'), routingKey));
        forwarded.set(routingKey, (forwarded.get(routingKey) ?? 0) + 1);
      } else {
        // Back to the end, and confirmed before this copy goes: the next look meets others first. The alternate keeps the key.
        await bus.publish(copyOf(delivery, exchangeName(prefix, 'unrouted'), routingKey));
        emitter.emit('message.parked', { queue: exchange, routing_key: routingKey });
      }
      delivery.ack();
    }
    for (const [routingKey, messages] of forwarded)
      emitter.emit('message.forwarded', { routing_key: routingKey, messages });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#off?.();
    this.#timer?.();
    await Promise.all(this.#subscriptions.map((subscription) => subscription.cancel()));
    await this.#forwarding;
  }
}

function copyOf({ message }: Delivery, exchange: string, routingKey: string): OutgoingMessage {
  const { body, headers, messageId, correlationId, replyTo, type, appId, contentType, timestamp } = message;
  const properties = { messageId, correlationId, replyTo, type, appId, contentType, timestamp };
  const given = Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
  return { exchange, routingKey, body, headers, ...given };
}
