// The Bus on RabbitMQ: two connections, one to publish and one to consume, so that a broker that stops publishers for want of
// memory still takes their acks. Everything on them comes back by itself after a loss.
import { systemClock, systemRandom } from '../clock.js';
import type { Bus, BusState, Cancel, Clock, ConsumeOptions, Delivery, Random } from '../ports.js';
import { Connection } from './connection.js';
import { Consumer, type ConsumerContext } from './consumer.js';
import { Declarer } from './declarer.js';
import { Getter } from './getter.js';
import { LanePool } from './lane.js';
import type { PublishLimits } from './pending.js';
import { Publisher } from './publisher.js';
import { Sender } from './sender.js';
import { within } from './within.js';

export interface BusOptions extends Partial<PublishLimits> {
  /** One or several brokers of a cluster: amqp:// or amqps://, with user, password and virtual host. */
  readonly urls: readonly string[];
  /** Shown by the management UI: '<name> publish' and '<name> consume'. */
  readonly name: string;
  /** For TLS: ca, cert, key, passphrase, servername. */
  readonly tls?: Readonly<Record<string, unknown>>;
  /** How long to try a broker that does not answer. Default 10,000. */
  readonly openTimeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Problems that have no caller: a handler that threw, a queue that changed under us, an odd frame. */
  readonly onProblem?: (where: string, error: unknown) => void;
}

const CLOSE_MS = 5000;
// Republishing before the topology is back would be returned; waiting for ever would be worse than that.
const TOPOLOGY_PATIENCE_MS = 2000;
const INSTANCE_PATIENCE_MS = 1000;

/** Connects. Rejects with BROKER_REFUSED (login, virtual host) at once, with BROKER_UNAVAILABLE when the time is over. */
export async function openBus(options: BusOptions): Promise<Bus> {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const onProblem = options.onProblem ?? (() => {});
  const limits: PublishLimits = {
    publishTimeoutMs: options.publishTimeoutMs ?? 10_000,
    maxPending: options.maxPending ?? 10_000,
    maxPendingBytes: options.maxPendingBytes ?? 64 * 1024 * 1024,
    maxPayloadBytes: options.maxPayloadBytes ?? 1024 * 1024,
  };
  const listeners = new Set<(state: BusState, why?: string) => void>();
  const consumers = new Set<Consumer>();
  let state: BusState = 'connecting';

  const shared = {
    urls: options.urls,
    clock,
    random,
    openTimeoutMs: options.openTimeoutMs ?? 10_000,
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    onProblem,
  };
  const consuming = new Connection({
    ...shared,
    name: `${options.name} consume`,
    restore: restoreConsuming,
    lost: () => getter.lost(),
    onState: () => announce(),
  });
  const publishing = new Connection({
    ...shared,
    name: `${options.name} publish`,
    restore: restorePublishing,
    lost: () => {},
    onState: (now) => {
      announce();
      if (now !== 'ready') return;
      publisher.resume();
      sender.resume();
    },
  });
  const pause = (ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve));
  const declarer = new Declarer(consuming, pause, onProblem);
  const lanes = new LanePool(() => consuming.openChannel('plain'), clock);
  const getter = new Getter(consuming, declarer, lanes);
  const publisher = new Publisher(publishing, declarer, clock, limits);
  const sender = new Sender(publishing, declarer, clock, limits.maxPayloadBytes);
  const context: ConsumerContext = { connection: consuming, lanes, declarer, clock, random, onProblem };

  async function restoreConsuming(): Promise<void> {
    await declarer.restoreShared();
    const restart = (instance: boolean) =>
      Promise.all(
        [...consumers]
          .filter((consumer) => declarer.isInstanceQueue(consumer.queue) === instance)
          .map((consumer) => consumer.restart()),
      );
    // The broker may hold our old instance queue until it notices a dead connection: nothing else must wait that long.
    const instances = declarer
      .restoreInstances()
      .then(() => restart(true))
      .catch((error) => onProblem('topology', error));
    await Promise.all([within(clock, INSTANCE_PATIENCE_MS, instances), restart(false)]);
  }

  let isFirst = true;
  async function restorePublishing(): Promise<void> {
    if (!isFirst)
      await within(
        clock,
        TOPOLOGY_PATIENCE_MS,
        consuming.attempt(async () => {}),
      );
    isFirst = false;
    await Promise.all([publisher.restore(), sender.restore()]);
  }

  function announce(): void {
    const now = combined(publishing.state, consuming.state);
    if (now === state) return;
    state = now;
    const why = publishing.why || consuming.why;
    for (const listener of [...listeners]) {
      try {
        listener(now, why === '' ? undefined : why);
      } catch (error) {
        onProblem('onState', error);
      }
    }
  }

  async function close(): Promise<void> {
    const started = clock.monotonic();
    const left = () => Math.max(100, CLOSE_MS - (clock.monotonic() - started));
    for (const consumer of consumers) consumer.abandon();
    sender.close();
    await publisher.close(publishing.model === undefined ? 0 : CLOSE_MS - 1000);
    await within(clock, left() / 2, lanes.close());
    await Promise.all([publishing.close(left()), consuming.close(left())]);
  }

  const opened = await Promise.allSettled([publishing.open(), consuming.open()]);
  const failed = opened.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await Promise.all([publishing.close(0), consuming.close(0)]);
    throw failed.reason;
  }

  let closing: Promise<void> | undefined;
  return {
    get state() {
      return state;
    },
    onState(listener): Cancel {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    declare: (topology) => declarer.declare(topology),
    publish: (message) => publisher.publish(message),
    send: (message, onReturn) => sender.send(message, onReturn),
    async consume(queue: string, how: ConsumeOptions, onDelivery: (delivery: Delivery) => void) {
      const consumer = new Consumer(context, queue, how, onDelivery);
      await consuming.attempt(() => consumer.start());
      consumers.add(consumer);
      return {
        cancel() {
          consumers.delete(consumer);
          return consumer.cancel();
        },
        setPrefetch: (prefetch: number) => consumer.setPrefetch(prefetch),
      };
    },
    get: (queue) => getter.get(queue),
    inspect: (queue) => declarer.inspect(queue),
    removeQueue: (queue) => declarer.removeQueue(queue),
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function combined(publishing: BusState, consuming: BusState): BusState {
  if (publishing === 'closed' || consuming === 'closed') return 'closed';
  if (publishing === 'connecting' || consuming === 'connecting') return 'connecting';
  return publishing === 'blocked' || consuming === 'blocked' ? 'blocked' : 'ready';
}
