// Consuming: a channel per subscription, and starting again when the broker cancels or the channel is lost.
// idle -> consuming; a cancel by the broker or a lost channel -> idle, and again with a growing pause until it is accepted.
import type { ConsumeMessage } from 'amqplib';
import type { Cancel, Clock, ConsumeOptions, Delivery, Random, Subscription } from '../ports.js';
import { causeCode, translate } from './answers.js';
import { Arrival, Forgotten, type Origin } from './arrival.js';
import { fromAmqp } from './codec.js';
import type { Connection } from './connection.js';
import type { Declarer } from './declarer.js';
import type { Lane, LanePool } from './lane.js';

// Pause before subscribing again: random between 0 and 100, 200, 400, ... 10,000 ms.
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 10_000;
// AMQP has 16 bits for it.
const MAX_PREFETCH = 65_535;

export interface ConsumerContext {
  readonly connection: Connection;
  readonly lanes: LanePool;
  readonly declarer: Declarer;
  readonly clock: Clock;
  readonly random: Random;
  readonly onProblem: (where: string, error: unknown) => void;
}

/** One consumer tag at the broker. A subscription has one, and more after its prefetch was raised: a tag cannot be changed. */
interface Grant extends Origin {
  readonly prefetch: number;
  tag: string;
  unsettled: number;
  isRunning: boolean;
}

export class Consumer implements Subscription {
  readonly queue: string;
  readonly #context: ConsumerContext;
  readonly #noAck: boolean;
  readonly #onDelivery: (delivery: Delivery) => void;
  #prefetch: number;
  #lane: Lane | undefined;
  #grants: Grant[] = [];
  /** Unsettled deliveries of tags that were cancelled: they take room until they are settled. */
  #left = 0;
  #isCancelled = false;
  #isAbandoned = false;
  #failures = 0;
  #retry: Cancel | undefined;
  /** Starting, changing and cancelling take turns. */
  #turn: Promise<void> = Promise.resolve();

  constructor(
    context: ConsumerContext,
    queue: string,
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ) {
    this.queue = queue;
    this.#context = context;
    this.#noAck = options.noAck === true;
    this.#prefetch = options.prefetch;
    this.#onDelivery = onDelivery;
  }

  /** Rejects when the broker does not accept it. */
  start(): Promise<void> {
    return this.#inTurn(() => this.#begin());
  }

  /** Begins again after a loss. A failure is tried again later. */
  async restart(): Promise<void> {
    this.#retry?.();
    this.#retry = undefined;
    try {
      await this.start();
    } catch (error) {
      // Someone removed the queue. If it is ours, it is wanted: whoever finds work in it later will be us.
      const isBack = causeCode(error) === 404 && (await this.#redeclare());
      this.#again(isBack ? undefined : error);
    }
  }

  /** For good, without a word to the broker: the bus is closing. What still comes goes back to its queue with the channel. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#isCancelled = true;
    this.#retry?.();
  }

  cancel(): Promise<void> {
    this.#isCancelled = true;
    this.#retry?.();
    return this.#inTurn(async () => {
      const lane = this.#lane;
      this.#lane = undefined;
      if (lane === undefined) return;
      await this.#stop(lane);
      lane.onLost = undefined;
      this.#context.lanes.giveBack(lane);
    });
  }

  setPrefetch(prefetch: number): Promise<void> {
    return this.#inTurn(async () => {
      const lane = this.#lane;
      const isLess = prefetch < this.#prefetch;
      this.#prefetch = prefetch;
      if (this.#noAck || lane === undefined || !lane.isOpen) return;
      try {
        if (isLess) await this.#stop(lane);
        await this.#grow(lane);
      } catch (error) {
        // A channel that is gone comes back with the new prefetch.
        if (lane.isOpen) throw translate(error, this.#context.connection.where);
      }
    });
  }

  async #redeclare(): Promise<boolean> {
    try {
      return !this.#isCancelled && (await this.#context.declarer.redeclare(this.queue));
    } catch {
      return false;
    }
  }

  #inTurn(action: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(action);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #begin(): Promise<void> {
    if (this.#isCancelled) return;
    try {
      let lane = this.#lane;
      if (lane === undefined || !lane.isOpen) {
        const taken = await this.#context.lanes.take();
        taken.onLost = () => this.#lost(taken);
        lane = taken;
        this.#lane = lane;
      }
      await this.#grow(lane);
      this.#failures = 0;
    } catch (error) {
      // An answer that comes too late would start a second consumer beside the next one.
      const lane = this.#lane;
      if (lane !== undefined) {
        this.#forget(lane);
        lane.onLost = undefined;
        this.#context.lanes.retire(lane);
      }
      throw translate(error, this.#context.connection.where);
    }
  }

  /** Subscribes for the room there is: never more than the prefetch is unsettled here, whatever it was before. */
  async #grow(lane: Lane): Promise<void> {
    const { connection } = this.#context;
    const room = Math.min(MAX_PREFETCH, this.#room());
    // A prefetch of 0 would mean: no limit at all.
    if (this.#noAck ? this.#grants.length > 0 : room <= 0) return;
    const grant: Grant = {
      prefetch: room,
      tag: '',
      unsettled: 0,
      isRunning: true,
      settled: () => {
        grant.unsettled -= 1;
        if (grant.isRunning || this.#lane !== lane) return;
        this.#left -= 1;
        this.#roomChanged(lane);
      },
    };
    // Holds for the consumers started after it, one by one.
    if (!this.#noAck) await connection.rpc('basic.qos', lane.channel.prefetch(room));
    const receive = (raw: ConsumeMessage | null) => this.#receive(lane, grant, raw);
    const consuming = lane.channel.consume(this.queue, receive, { noAck: this.#noAck });
    this.#grants.push(grant);
    try {
      grant.tag = (await connection.rpc('basic.consume', consuming)).consumerTag;
    } catch (error) {
      this.#grants = this.#grants.filter((other) => other !== grant);
      throw error;
    }
  }

  #room(): number {
    return this.#grants.reduce((room, grant) => room - grant.prefetch, this.#prefetch - this.#left);
  }

  /** Uses room in steps that double, so that n old deliveries cost log n consumers. */
  #roomChanged(lane: Lane): void {
    const granted = this.#grants.reduce((sum, grant) => sum + grant.prefetch, 0);
    const room = this.#room();
    if (this.#isCancelled || !lane.isOpen || room <= 0 || (this.#left > 0 && room < granted)) return;
    this.#inTurn(() => (lane.isOpen && !this.#isCancelled ? this.#grow(lane) : Promise.resolve())).catch((error) =>
      this.#context.onProblem(this.queue, error),
    );
  }

  async #stop(lane: Lane): Promise<void> {
    const grants = this.#grants;
    this.#grants = [];
    for (const grant of grants) {
      try {
        if (lane.isOpen) await this.#context.connection.rpc('basic.cancel', lane.channel.cancel(grant.tag));
      } catch (error) {
        // A lost channel delivers nothing either.
        if (lane.isOpen) throw translate(error, this.#context.connection.where);
      }
      grant.isRunning = false;
      this.#left += grant.unsettled;
    }
  }

  #receive(lane: Lane, grant: Grant, raw: ConsumeMessage | null): void {
    if (raw === null) {
      // The queue was deleted, its node is gone, or (from 4.3 on) a delivery was not settled in time. What is unsettled on
      // this channel belongs to that past: the next subscription begins on a clean one.
      this.#forget(lane);
      lane.onLost = undefined;
      this.#context.lanes.retire(lane);
      this.#again(undefined);
      return;
    }
    if (this.#isAbandoned) return;
    const message = fromAmqp(raw, this.queue);
    let delivery: Delivery;
    if (this.#noAck) delivery = new Forgotten(message, lane);
    else {
      grant.unsettled += 1;
      delivery = new Arrival(message, lane, raw.fields.deliveryTag, grant);
    }
    const failed = (error: unknown) => {
      this.#context.onProblem(this.queue, error);
      delivery.requeue();
    };
    try {
      const result: unknown = this.#onDelivery(delivery);
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      // Let through, it would close the channel and give back everything that is in work on it.
      failed(error);
    }
  }

  #lost(lane: Lane): void {
    if (this.#lane !== lane) return;
    this.#forget(lane);
    // If the connection is gone too, its return starts this again.
    this.#again(undefined);
  }

  #forget(lane: Lane): void {
    if (this.#lane !== lane) return;
    this.#lane = undefined;
    this.#grants = [];
    this.#left = 0;
  }

  #again(error: unknown): void {
    const { clock, random, connection, onProblem } = this.#context;
    if (this.#isCancelled || connection.model === undefined) return;
    if (error !== undefined) onProblem(this.queue, error);
    if (this.#retry !== undefined) return;
    const ceiling = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    this.#retry = clock.after(random() * ceiling, () => void this.restart());
  }
}
