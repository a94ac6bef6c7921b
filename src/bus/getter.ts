// Pulling single messages: a few channels for all queues, so that gets of one process need not wait for each other.
import { BrokerUnavailable, InvalidConfig } from '../errors.js';
import type { Delivery } from '../ports.js';
import { amqpCode, translate } from './answers.js';
import { Arrival } from './arrival.js';
import { fromAmqp } from './codec.js';
import type { Connection } from './connection.js';
import type { Declarer } from './declarer.js';
import type { Lane, LanePool } from './lane.js';

// AMQP answers the gets of a channel one after the other.
const LANES = 4;

interface Seat {
  lane: Promise<Lane>;
  busy: number;
}

export class Getter {
  readonly #connection: Connection;
  readonly #declarer: Declarer;
  readonly #lanes: LanePool;
  #seats: Seat[] = [];

  constructor(connection: Connection, declarer: Declarer, lanes: LanePool) {
    this.#connection = connection;
    this.#declarer = declarer;
    this.#lanes = lanes;
  }

  async get(queue: string): Promise<Delivery | undefined> {
    if (!(await this.#declarer.findQueue(queue))) {
      throw InvalidConfig(`there is no queue '${queue}' to get messages from`);
    }
    return this.#connection.attempt(() => this.#getNow(queue));
  }

  /** Forgets the channels of a lost connection. */
  lost(): void {
    this.#seats = [];
  }

  async #getNow(queue: string): Promise<Delivery | undefined> {
    const seat = this.#seat();
    seat.busy += 1;
    try {
      const lane = await seat.lane;
      if (!lane.isOpen) throw BrokerUnavailable(this.#connection.where, 'the channel was closed');
      const raw = await this.#connection.rpc('basic.get', lane.channel.get(queue));
      return raw === false ? undefined : new Arrival(fromAmqp(raw, queue), lane, raw.fields.deliveryTag);
    } catch (error) {
      // Whatever this channel answers later is not for the next get, and goes back to its queue.
      this.#drop(seat);
      if (amqpCode(error) === 404) this.#declarer.forgetQueue(queue);
      seat.lane.then((lane) => this.#lanes.retire(lane)).catch(() => {});
      throw translate(error, this.#connection.where);
    } finally {
      seat.busy -= 1;
    }
  }

  #seat(): Seat {
    let least: Seat | undefined;
    for (const seat of this.#seats) {
      if (least === undefined || seat.busy < least.busy) least = seat;
    }
    if (least !== undefined && (least.busy === 0 || this.#seats.length >= LANES)) return least;
    const seat: Seat = { lane: this.#lanes.take(), busy: 0 };
    seat.lane.then(
      (lane) => lane.channel.on('close', () => this.#drop(seat)),
      () => this.#drop(seat),
    );
    this.#seats.push(seat);
    return seat;
  }

  #drop(seat: Seat): void {
    this.#seats = this.#seats.filter((other) => other !== seat);
  }
}
