// The bus without a broker process: same guarantees, same errors, the same conformance suite as the live one. For tests, the
// simulator (on virtual time) and a process without services. What it hands out leaves on the clock's next turn, never inside a call.
import { randomName, systemClock } from '../clock.js';
import { InvalidConfig, NotSupported } from '../errors.js';
import type { Bus, Clock, Topology } from '../ports.js';
import { MemoryExchange } from './memory-exchange.js';
import { MemoryHandle } from './memory-handle.js';
import { type DeathReason, MemoryQueue, type Stored } from './memory-queue.js';

export type Routed = 'taken' | 'unroutable' | 'refused';

export class MemoryBroker {
  readonly clock: Clock;
  readonly maxPayloadBytes: number;
  readonly #exchanges = new Map<string, MemoryExchange>();
  readonly #queues = new Map<string, MemoryQueue>();
  readonly #handles = new Set<MemoryHandle>();
  #isServing = false;
  #blocked: string | undefined;

  constructor(options: { readonly clock?: Clock; readonly maxPayloadBytes?: number } = {}) {
    this.clock = options.clock ?? systemClock;
    this.maxPayloadBytes = options.maxPayloadBytes ?? 1024 * 1024;
  }

  /** A connection to it. */
  connect(name = `memory-${randomName(6)}`): Bus {
    const handle = new MemoryHandle(this, name);
    this.#handles.add(handle);
    return handle;
  }

  /** The process behind a handle dies: nothing it does afterwards has any effect. */
  kill(bus: Bus): void {
    this.#handleOf(bus).die();
  }

  /** Cuts a handle's connection. It comes back by itself on the next turn of the clock. */
  cut(bus: Bus): void {
    this.#handleOf(bus).lose('the connection was cut');
  }

  /** As a memory alarm: publishers are stopped, consumers go on. */
  block(why = 'low on memory'): void {
    this.#blocked = why;
    for (const handle of this.#handles) handle.brokerBlocks(why);
  }

  unblock(): void {
    this.#blocked = undefined;
    for (const handle of this.#handles) handle.brokerUnblocks();
  }

  get blockedBy(): string | undefined {
    return this.#blocked;
  }

  // ------------------------------------------------------------ for the handles

  leave(handle: MemoryHandle): void {
    this.#handles.delete(handle);
  }

  declare(topology: Topology, owner: object): void {
    for (const { name, type, alternate } of topology.exchanges) {
      const exchange = this.#exchanges.get(name);
      if (exchange === undefined) this.#exchanges.set(name, new MemoryExchange(name, type, alternate));
      else if (exchange.type !== type || exchange.alternate !== alternate) {
        throw InvalidConfig(`exchange '${name}' exists with another type or alternate exchange`);
      }
    }
    for (const spec of topology.queues) this.#declareQueue(spec, owner);
    for (const { exchange, queue, routingKey } of topology.bindings) {
      const from = this.#exchanges.get(exchange);
      if (from === undefined) throw InvalidConfig(`there is no exchange '${exchange}' to bind a queue to`);
      this.findQueue(queue, owner, 'bind').used();
      from.bind(queue, routingKey);
    }
    for (const queue of this.#queues.values()) this.#buryAgain(queue);
  }

  /** Rejects a queue that is not there, or belongs to another handle. */
  findQueue(name: string, owner: object, what: string): MemoryQueue {
    const queue = this.#queues.get(name);
    if (queue === undefined) throw InvalidConfig(`there is no queue '${name}' to ${what}`);
    if (queue.owner !== undefined && queue.owner !== owner) {
      throw NotSupported(
        `The queue belongs to another connection ('${name}')`,
        'Only the process that declared it may use it',
      );
    }
    return queue;
  }

  hasQueue(name: string): boolean {
    return this.#queues.has(name);
  }

  removeQueue(name: string): void {
    const queue = this.#queues.get(name);
    if (queue === undefined) return;
    this.#queues.delete(name);
    queue.remove();
    for (const exchange of this.#exchanges.values()) exchange.unbind(name);
    for (const handle of this.#handles) handle.queueRemoved(queue);
  }

  /** Nobody uses it any more: it keeps no timer that would keep a process alive. */
  close(): void {
    for (const name of [...this.#queues.keys()]) this.removeQueue(name);
  }

  removeQueuesOf(owner: object): void {
    for (const [name, queue] of this.#queues) {
      if (queue.owner === owner) this.removeQueue(name);
    }
  }

  route(message: Stored['message']): Routed {
    const queues = this.#targets(message.exchange, message.routingKey, new Set());
    if (queues.length === 0) return 'unroutable';
    let refused = false;
    for (const queue of queues) refused = !queue.accept(message) || refused;
    this.serveSoon();
    return refused ? 'refused' : 'taken';
  }

  /** Messages reach their consumers on the next turn: a handler is never called inside someone's publish or ack. */
  serveSoon(): void {
    if (this.#isServing) return;
    this.#isServing = true;
    this.clock.after(0, () => {
      this.#isServing = false;
      for (const queue of [...this.#queues.values()]) queue.serve();
    });
  }

  #declareQueue(spec: Topology['queues'][number], owner: object): void {
    const known = this.#queues.get(spec.name);
    if (known !== undefined) {
      this.findQueue(spec.name, owner, 'declare').used();
      if (known.spec.kind !== spec.kind || canonical(known.spec.arguments) !== canonical(spec.arguments)) {
        throw InvalidConfig(`queue '${spec.name}' exists with other arguments`);
      }
      return;
    }
    const queue = new MemoryQueue(spec, spec.kind === 'instance' ? owner : undefined, this.clock, {
      bury: (from, stored, reason) => this.#bury(from, stored, reason),
      lapsed: () => this.removeQueue(spec.name),
    });
    this.#queues.set(spec.name, queue);
    for (const handle of this.#handles) handle.queueDeclared(queue);
  }

  #targets(exchange: string, routingKey: string, seen: Set<string>): MemoryQueue[] {
    if (exchange === '') {
      const queue = this.#queues.get(routingKey);
      return queue === undefined ? [] : [queue];
    }
    const from = this.#exchanges.get(exchange);
    if (from === undefined || seen.has(exchange)) return [];
    const route = from.route(routingKey);
    if (route.length > 0) return route.map((name) => this.#queues.get(name)!);
    if (from.alternate === undefined) return [];
    return this.#targets(from.alternate, routingKey, seen.add(exchange));
  }

  #bury(queue: MemoryQueue, stored: Stored, reason: DeathReason): void {
    const { arguments: settings = {}, name } = queue.spec;
    const exchange = settings['x-dead-letter-exchange'];
    if (typeof exchange !== 'string') return;
    const { message } = stored;
    const key = settings['x-dead-letter-routing-key'];
    const routed = this.route({
      ...message,
      exchange,
      routingKey: typeof key === 'string' ? key : message.routingKey,
      headers: {
        'x-first-death-exchange': message.exchange,
        'x-first-death-queue': name,
        'x-first-death-reason': reason,
        ...message.headers,
      },
    });
    if (routed !== 'taken' && settings['x-dead-letter-strategy'] === 'at-least-once') {
      queue.stranded.push({ stored, reason });
    }
  }

  #buryAgain(queue: MemoryQueue): void {
    const stranded = queue.stranded;
    queue.stranded = [];
    for (const { stored, reason } of stranded) this.#bury(queue, stored, reason);
  }

  #handleOf(bus: Bus): MemoryHandle {
    if (bus instanceof MemoryHandle && this.#handles.has(bus)) return bus;
    throw NotSupported('That bus is not connected to this broker', 'Use one that connect() gave');
  }
}

function canonical(settings: Readonly<Record<string, unknown>> | undefined): string {
  return JSON.stringify(Object.entries(settings ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
}
