// One process's connection to the broker in memory: the Bus port, with everything that is lost when a connection is.
// ready <-> blocked; cut -> connecting -> ready; closed or killed -> closed for good.
import { checkMessage, ownHeaders } from '../bus/codec.js';
import { BrokerUnavailable, Closed, PublishNacked, Throttled, Unroutable } from '../errors.js';
import type {
  Bus,
  BusState,
  Cancel,
  ConsumeOptions,
  Delivery,
  OutgoingMessage,
  Subscription,
  Topology,
} from '../ports.js';
import type { MemoryBroker, Routed } from './memory-bus.js';
import type { Connectivity, Consumption } from './memory-connectivity.js';
import { incoming, type MemoryQueue, type Stored } from './memory-queue.js';

const PUBLISH_TIMEOUT_MS = 10_000;

export class MemoryHandle implements Bus {
  state: BusState = 'ready';
  readonly name: string;
  readonly #broker: MemoryBroker;
  readonly #listeners = new Set<(state: BusState, why?: string) => void>();
  readonly #consumptions = new Set<Consumption>();
  #declared: Topology[] = [];
  /** Deliveries remember which connection they came on: a new one makes all older ones stale. */
  #connection: Connectivity = { isOpen: true, unsettled: new Set() };
  #waiting: (() => void)[] = [];

  constructor(broker: MemoryBroker, name: string) {
    this.#broker = broker;
    this.name = name;
    if (broker.blockedBy !== undefined) this.state = 'blocked';
  }

  onState(listener: (state: BusState, why?: string) => void): Cancel {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async declare(topology: Topology): Promise<void> {
    await this.#connected();
    this.#broker.declare(topology, this);
    this.#declared.push(topology);
  }

  async publish(message: OutgoingMessage): Promise<void> {
    if (this.state === 'closed') throw Closed('The bus');
    checkMessage(message, this.#broker.maxPayloadBytes);
    if (this.state !== 'ready') await this.#ready();
    const routed = this.#route(message);
    if (routed === 'unroutable') throw Unroutable(message.exchange, message.routingKey);
    if (routed === 'refused') throw PublishNacked(message.exchange);
  }

  send(message: OutgoingMessage, onReturn?: () => void): void {
    checkMessage(message, this.#broker.maxPayloadBytes);
    if (this.state === 'closed') throw Closed('The bus');
    if (this.state === 'blocked') throw Throttled(`it is blocked: ${this.#broker.blockedBy}`);
    if (this.state === 'connecting') throw BrokerUnavailable('memory', 'the connection was cut');
    if (this.#route(message) === 'unroutable' && onReturn !== undefined) this.#broker.clock.after(0, onReturn);
  }

  async consume(
    queueName: string,
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ): Promise<Subscription> {
    await this.#connected();
    const queue = this.#broker.findQueue(queueName, this, 'consume');
    let { prefetch } = options;
    const consumption: Consumption = {
      queueName,
      queue: undefined,
      isCancelled: false,
      unsettled: 0,
      hasRoom: () => options.noAck === true || consumption.unsettled < prefetch,
      take: (stored) => {
        const delivery = this.#delivery(consumption.queue!, stored, consumption, options.noAck === true);
        try {
          const result: unknown = onDelivery(delivery);
          if (result instanceof Promise) result.catch(() => delivery.requeue());
        } catch {
          delivery.requeue();
        }
      },
    };
    this.#consumptions.add(consumption);
    this.#attach(consumption, queue);
    return {
      cancel: async () => {
        consumption.isCancelled = true;
        this.#consumptions.delete(consumption);
        this.#detach(consumption);
      },
      setPrefetch: async (count) => {
        prefetch = count;
        this.#broker.serveSoon();
      },
    };
  }

  async get(queueName: string): Promise<Delivery | undefined> {
    await this.#connected();
    const queue = this.#broker.findQueue(queueName, this, 'get messages from');
    queue.used();
    const stored = queue.next();
    return stored === undefined ? undefined : this.#delivery(queue, stored);
  }

  async inspect(queueName: string): Promise<{ messages: number; consumers: number } | undefined> {
    await this.#connected();
    if (!this.#broker.hasQueue(queueName)) return undefined;
    const queue = this.#broker.findQueue(queueName, this, 'inspect');
    return { messages: queue.size, consumers: queue.takers.length };
  }

  async removeQueue(queueName: string): Promise<void> {
    await this.#connected();
    this.#declared = this.#declared.map((topology) => ({
      exchanges: topology.exchanges,
      queues: topology.queues.filter((queue) => queue.name !== queueName),
      bindings: topology.bindings.filter((binding) => binding.queue !== queueName),
    }));
    this.#broker.removeQueue(queueName);
  }

  async close(): Promise<void> {
    this.die();
  }

  // ------------------------------------------------------------ for the broker

  die(): void {
    if (this.state === 'closed') return;
    this.#setState('closed');
    this.#drop();
    this.#consumptions.clear();
    this.#broker.leave(this);
  }

  lose(why: string): void {
    if (this.state === 'closed') return;
    this.#setState('connecting', why);
    this.#drop();
    this.#broker.clock.after(0, () => this.#return());
  }

  brokerBlocks(why: string): void {
    if (this.state === 'ready') this.#setState('blocked', why);
  }

  brokerUnblocks(): void {
    if (this.state === 'blocked') this.#setState('ready');
  }

  queueRemoved(queue: MemoryQueue): void {
    for (const consumption of this.#consumptions) {
      if (consumption.queue !== queue) continue;
      consumption.queue = undefined;
      if (this.state !== 'closed') this.#broker.clock.after(0, () => this.#bringBack(queue.spec.name));
    }
    for (const held of this.#connection.unsettled) {
      if (held.queue === queue) this.#connection.unsettled.delete(held);
    }
  }

  /** A queue this process declared and consumes from is wanted, whoever removed it. */
  #bringBack(name: string): void {
    if (this.state === 'closed' || this.state === 'connecting' || this.#broker.hasQueue(name)) return;
    const own = (item: { queue?: string; name?: string }) => (item.queue ?? item.name) === name;
    for (const { queues, bindings } of this.#declared) {
      this.#broker.declare({ exchanges: [], queues: queues.filter(own), bindings: bindings.filter(own) }, this);
    }
  }

  queueDeclared(queue: MemoryQueue): void {
    if (this.state === 'connecting' || this.state === 'closed') return;
    for (const consumption of this.#consumptions) {
      if (consumption.queueName === queue.spec.name) this.#attach(consumption, queue);
    }
  }

  #route(message: OutgoingMessage): Routed {
    const { persistent, headers, ...properties } = message;
    return this.#broker.route({
      ...properties,
      contentType: message.contentType ?? 'application/json',
      headers: ownHeaders(headers) ?? {},
    });
  }

  #attach(consumption: Consumption, queue: MemoryQueue): void {
    if (consumption.queue === queue || consumption.isCancelled) return;
    consumption.queue = queue;
    queue.takers.push(consumption);
    queue.used();
    this.#broker.serveSoon();
  }

  #detach(consumption: Consumption): void {
    const takers = consumption.queue?.takers;
    const at = takers?.indexOf(consumption) ?? -1;
    if (at >= 0) takers!.splice(at, 1);
    consumption.queue?.used();
    consumption.queue = undefined;
  }

  #delivery(queue: MemoryQueue, stored: Stored, by?: Consumption, noAck = false): Delivery {
    const connection = this.#connection;
    const held = { queue, stored };
    if (!noAck) connection.unsettled.add(held);
    if (!noAck && by !== undefined) by.unsettled += 1;
    let isSettled = false;
    const settle = (how: 'ack' | 'requeue' | 'reject'): 'sent' | 'stale' => {
      if (isSettled || !connection.isOpen || (noAck && how !== 'ack')) return 'stale';
      isSettled = true;
      if (noAck) return 'sent';
      if (by !== undefined) by.unsettled -= 1;
      if (connection.unsettled.delete(held)) {
        if (how === 'requeue') queue.requeue(stored);
        else if (how === 'reject') queue.reject(stored);
      }
      this.#broker.serveSoon();
      return 'sent';
    };
    return {
      message: incoming(stored, queue),
      ack: () => settle('ack'),
      requeue: () => settle('requeue'),
      reject: () => settle('reject'),
      get lost() {
        return !connection.isOpen;
      },
    };
  }

  /** The connection is gone: its consumers, its instance queues, and its hold on what was delivered. */
  #drop(): void {
    const connection = this.#connection;
    connection.isOpen = false;
    for (const consumption of this.#consumptions) {
      this.#detach(consumption);
      consumption.unsettled = 0;
    }
    this.#broker.removeQueuesOf(this);
    for (const { queue, stored } of connection.unsettled) queue.requeue(stored);
    this.#broker.serveSoon();
  }

  #return(): void {
    if (this.state !== 'connecting') return;
    this.#connection = { isOpen: true, unsettled: new Set() };
    for (const topology of this.#declared) this.#broker.declare(topology, this);
    for (const consumption of this.#consumptions) {
      if (!this.#broker.hasQueue(consumption.queueName)) continue;
      this.#attach(consumption, this.#broker.findQueue(consumption.queueName, this, 'consume'));
    }
    const why = this.#broker.blockedBy;
    this.#setState(why === undefined ? 'ready' : 'blocked', why);
  }

  #setState(state: BusState, why?: string): void {
    this.state = state;
    for (const resume of this.#waiting.splice(0)) resume();
    for (const listener of [...this.#listeners]) listener(state, why);
  }

  async #connected(): Promise<void> {
    while (this.state === 'connecting') await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.state === 'closed') throw Closed('The bus');
  }

  /** Waits as a publish does. */
  async #ready(): Promise<void> {
    let isOver = false;
    const cancel = this.#broker.clock.after(PUBLISH_TIMEOUT_MS, () => {
      isOver = true;
      for (const resume of this.#waiting.splice(0)) resume();
    });
    while (this.state !== 'ready' && this.state !== 'closed' && !isOver) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    cancel();
    if (this.state === 'closed') throw Closed('The bus');
    if (this.state === 'blocked') throw Throttled(`it is blocked: ${this.#broker.blockedBy}`);
    if (this.state === 'connecting') throw BrokerUnavailable('memory', 'the connection was cut');
  }
}
