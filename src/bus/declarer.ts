// Declares topology, remembers it, and declares it again on every new connection. Also looks at queues and removes them.
// All of it on one channel of its own, one call at a time: a 404 or 406 closes this channel and nothing else.
import type { Channel } from 'amqplib';
import type { Topology } from '../ports.js';
import { causeCode, translate } from './answers.js';
import type { Connection } from './connection.js';

type Exchange = Topology['exchanges'][number];
type Queue = Topology['queues'][number];
type Binding = Topology['bindings'][number];

// While the broker has not noticed the death of our last connection, that one still owns the exclusive queue.
const LOCKED_RETRY_MS = 250;
const LOCKED_PATIENCE_MS = 10_000;

export class Declarer {
  readonly #connection: Connection;
  readonly #pause: (ms: number) => Promise<void>;
  readonly #onProblem: (where: string, error: unknown) => void;
  readonly #exchanges = new Map<string, Exchange>();
  readonly #queues = new Map<string, Queue>();
  readonly #bindings = new Map<string, Binding>();
  /** Exchanges seen on the broker: publishing to one that is missing would close the publishing channel. */
  readonly #seenExchanges = new Set<string>(['']);
  /** Under way: a thousand publishes to one exchange ask once. */
  readonly #searches = new Map<string, Promise<boolean>>();
  readonly #seenQueues = new Set<string>();
  #channel: Channel | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    connection: Connection,
    pause: (ms: number) => Promise<void>,
    onProblem: (where: string, error: unknown) => void,
  ) {
    this.#connection = connection;
    this.#pause = pause;
    this.#onProblem = onProblem;
  }

  async declare(topology: Topology): Promise<void> {
    await this.#connection.attempt(async () => {
      for (const exchange of topology.exchanges) await this.#exchange(exchange);
      for (const queue of topology.queues) await this.#patiently(() => this.#queue(queue), LOCKED_PATIENCE_MS);
      for (const binding of topology.bindings) await this.#binding(binding);
    });
    for (const exchange of topology.exchanges) this.#exchanges.set(exchange.name, exchange);
    for (const queue of topology.queues) this.#queues.set(queue.name, queue);
    for (const binding of topology.bindings) this.#bindings.set(Object.values(binding).join('\0'), binding);
  }

  /** Everything but the instance queues, which may have to wait for the broker to let go of them. */
  async restoreShared(): Promise<void> {
    for (const exchange of this.#exchanges.values()) await this.#again(() => this.#exchange(exchange));
    for (const queue of this.#queues.values()) {
      if (queue.kind !== 'instance') await this.#again(() => this.#queue(queue));
    }
    for (const binding of this.#bindings.values()) {
      if (!this.isInstanceQueue(binding.queue)) await this.#again(() => this.#binding(binding));
    }
  }

  async restoreInstances(): Promise<void> {
    for (const queue of this.#queues.values()) {
      if (queue.kind !== 'instance') continue;
      await this.#again(() => this.#patiently(() => this.#queue(queue), Number.POSITIVE_INFINITY));
      for (const binding of this.#bindings.values()) {
        if (binding.queue === queue.name) await this.#again(() => this.#binding(binding));
      }
    }
  }

  isInstanceQueue(name: string): boolean {
    return this.#queues.get(name)?.kind === 'instance';
  }

  knowsExchange(name: string): boolean {
    return this.#seenExchanges.has(name);
  }

  forgetExchange(name: string): void {
    if (name !== '') this.#seenExchanges.delete(name);
  }

  /** Asks the broker about an exchange nobody declared here. */
  async findExchange(name: string): Promise<boolean> {
    if (this.#seenExchanges.has(name)) return true;
    let search = this.#searches.get(name);
    if (search === undefined) {
      const ask = () => this.#found('exchange.declare', (ch) => ch.checkExchange(name));
      search = this.#connection.attempt(ask).then((found) => {
        if (found !== undefined) this.#seenExchanges.add(name);
        return found !== undefined;
      });
      this.#searches.set(name, search);
      search.finally(() => this.#searches.delete(name)).catch(() => {});
    }
    return search;
  }

  /**
   * Asked before the first get: one from a missing queue would close the channel under unsettled deliveries. A queue this process
   * declared is declared again if someone removed it.
   */
  async findQueue(name: string): Promise<boolean> {
    return this.#seenQueues.has(name) || (await this.inspect(name)) !== undefined || (await this.redeclare(name));
  }

  forgetQueue(name: string): void {
    this.#seenQueues.delete(name);
  }

  /** False if this process does not know the queue. */
  async redeclare(name: string): Promise<boolean> {
    const queue = this.#queues.get(name);
    if (queue === undefined) return false;
    await this.#queue(queue);
    for (const binding of this.#bindings.values()) {
      if (binding.queue === name) await this.#binding(binding);
    }
    return true;
  }

  async inspect(queue: string): Promise<{ messages: number; consumers: number } | undefined> {
    const found = await this.#connection.attempt(() => this.#found('queue.declare', (ch) => ch.checkQueue(queue)));
    if (found === undefined) this.#seenQueues.delete(queue);
    else this.#seenQueues.add(queue);
    return found && { messages: found.messageCount, consumers: found.consumerCount };
  }

  async removeQueue(queue: string): Promise<void> {
    this.#queues.delete(queue);
    this.#seenQueues.delete(queue);
    for (const [key, binding] of this.#bindings) {
      if (binding.queue === queue) this.#bindings.delete(key);
    }
    // Never with ifEmpty or ifUnused: on quorum queues they close the whole connection.
    await this.#connection.attempt(() => this.#call('queue.delete', (ch) => ch.deleteQueue(queue)));
  }

  async #exchange(exchange: Exchange): Promise<void> {
    const options = exchange.alternate === undefined ? {} : { alternateExchange: exchange.alternate };
    await this.#call('exchange.declare', (ch) => ch.assertExchange(exchange.name, exchange.type, options));
    this.#seenExchanges.add(exchange.name);
  }

  async #queue(queue: Queue): Promise<void> {
    const options = queue.kind === 'quorum' ? { durable: true } : { durable: false, exclusive: true };
    const settings =
      queue.kind === 'quorum' ? { 'x-queue-type': 'quorum', ...queue.arguments } : { ...queue.arguments };
    await this.#call('queue.declare', (ch) => ch.assertQueue(queue.name, { ...options, arguments: settings }));
    this.#seenQueues.add(queue.name);
  }

  #binding(binding: Binding): Promise<unknown> {
    return this.#call('queue.bind', (ch) => ch.bindQueue(binding.queue, binding.exchange, binding.routingKey));
  }

  /** Restoring goes on past what the broker refuses (someone changed it meanwhile): the rest is worth more than nothing. */
  async #again(declare: () => Promise<unknown>): Promise<void> {
    try {
      await declare();
    } catch (error) {
      if (this.#connection.model === undefined) throw error;
      this.#onProblem('topology', error);
    }
  }

  async #patiently(declare: () => Promise<unknown>, patienceMs: number): Promise<void> {
    const model = this.#connection.model;
    for (let waited = 0; ; waited += LOCKED_RETRY_MS) {
      try {
        await declare();
        return;
      } catch (error) {
        const locked = causeCode(error) === 405;
        if (!locked || waited >= patienceMs || this.#connection.model !== model) throw error;
        await this.#pause(LOCKED_RETRY_MS);
      }
    }
  }

  #found<T>(what: string, ask: (channel: Channel) => Promise<T>): Promise<T | undefined> {
    return this.#call(what, ask).catch((error) => {
      if (causeCode(error) === 404) return undefined;
      throw error;
    });
  }

  #call<T>(what: string, ask: (channel: Channel) => Promise<T>): Promise<T> {
    const call = this.#turn.then(async () => {
      let channel = this.#channel;
      if (channel === undefined) {
        channel = await this.#connection.openChannel('plain');
        const opened = channel;
        opened.on('close', () => {
          if (this.#channel === opened) this.#channel = undefined;
        });
        this.#channel = opened;
      }
      try {
        return await this.#connection.rpc(what, ask(channel));
      } catch (error) {
        // What timed out may still be answered: the next call must not take that answer for its own.
        if (this.#channel === channel) {
          this.#channel = undefined;
          channel.close().catch(() => {});
        }
        throw translate(error, this.#connection.where);
      }
    });
    this.#turn = call.catch(() => {});
    return call;
  }
}
