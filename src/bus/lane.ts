// A channel on which deliveries arrive, with the book of their tags: acks are gathered and leave as few frames as possible.
// One `ack(multiple)` covers the oldest deliveries that are all settled; those behind an unsettled one are acked singly.
import type { Channel, Message } from 'amqplib';
import type { Clock } from '../ports.js';

const FLUSH_AT = 32;

export class Lane {
  readonly channel: Channel;
  readonly #clock: Clock;
  /** False once the channel is gone: its tags mean nothing any more, or other messages on the next channel. */
  isOpen = true;
  /** When acks were sent last. */
  flushedAt = Number.NEGATIVE_INFINITY;
  /** Called when the channel is lost. */
  onLost: (() => void) | undefined;
  /** Called when the last delivery is settled. */
  onIdle: (() => void) | undefined;
  // Tags grow, so the first one in it is the oldest.
  readonly #unsettled = new Set<number>();
  #acked: number[] = [];
  #scheduled = false;
  readonly #flushLater = () => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(channel: Channel, clock: Clock) {
    this.channel = channel;
    this.#clock = clock;
    channel.on('close', () => {
      this.isOpen = false;
      this.onLost?.();
    });
  }

  get unsettled(): number {
    return this.#unsettled.size;
  }

  arrived(tag: number): void {
    this.#unsettled.add(tag);
  }

  ack(tag: number): void {
    this.#unsettled.delete(tag);
    this.#acked.push(tag);
    if (this.#acked.length >= FLUSH_AT) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#flushLater);
    }
    if (this.#unsettled.size === 0) this.onIdle?.();
  }

  /** The broker moves it to the queue's dead-letter exchange itself. */
  reject(tag: number): void {
    this.#unsettled.delete(tag);
    this.channel.nack(tagged(tag), false, false);
    if (this.#unsettled.size === 0) this.onIdle?.();
  }

  requeue(tag: number): void {
    this.#unsettled.delete(tag);
    // nack and not reject: from RabbitMQ 4.3 on, giving back does not count against the delivery limit.
    this.channel.nack(tagged(tag), false, true);
    if (this.#unsettled.size === 0) this.onIdle?.();
  }

  flush(): void {
    const acked = this.#acked;
    if (acked.length === 0) return;
    this.#acked = [];
    if (!this.isOpen) return;
    this.flushedAt = this.#clock.monotonic();
    const oldest: number = this.#unsettled.values().next().value ?? Number.POSITIVE_INFINITY;
    let last = 0;
    let covered = 0;
    for (const tag of acked) {
      if (tag > oldest) this.channel.ack(tagged(tag), false);
      else {
        covered += 1;
        if (tag > last) last = tag;
      }
    }
    // The tag is one the broker still waits for: it looks for exactly this one, and closes the channel if it is gone.
    if (covered > 0) this.channel.ack(tagged(last), covered > 1);
  }
}

function tagged(deliveryTag: number): Message {
  return { fields: { deliveryTag } } as Message;
}

const MAX_IDLE = 8;
// The broker keeps acks for a quorum queue in the channel while 32 others are being committed, and forgets them when it closes.
const ACK_MS = 50;

/** Lanes of one connection. One that is not needed any more serves the next: an idle agent subscribes with every pause. */
export class LanePool {
  readonly #open: () => Promise<Channel>;
  readonly #clock: Clock;
  #idle: Lane[] = [];
  readonly #all = new Set<Lane>();

  constructor(open: () => Promise<Channel>, clock: Clock) {
    this.#open = open;
    this.#clock = clock;
  }

  async take(): Promise<Lane> {
    const idle = this.#idle.pop();
    if (idle?.isOpen) return idle;
    const lane = new Lane(await this.#open(), this.#clock);
    this.#all.add(lane);
    lane.channel.on('close', () => {
      this.#all.delete(lane);
      this.#idle = this.#idle.filter((other) => other.isOpen);
    });
    return lane;
  }

  /** Takes a lane back once everything that came on it is settled. */
  giveBack(lane: Lane): void {
    if (!lane.isOpen) return;
    if (lane.unsettled > 0) {
      lane.onIdle = () => this.giveBack(lane);
      return;
    }
    lane.onIdle = undefined;
    if (this.#idle.length < MAX_IDLE) this.#idle.push(lane);
    else this.retire(lane);
  }

  /** Closes a lane once everything that came on it is settled. */
  retire(lane: Lane): void {
    if (lane.unsettled > 0) lane.onIdle = () => this.retire(lane);
    else this.#close(lane).catch(() => {});
  }

  /** Sends every ack, and waits until the broker has read them. */
  async close(): Promise<void> {
    const now = this.#clock.monotonic();
    let rest = 0;
    for (const lane of this.#all) {
      lane.flush();
      rest = Math.max(rest, lane.flushedAt + ACK_MS - now);
    }
    if (rest > 0) await new Promise<void>((resolve) => void this.#clock.after(rest, resolve));
    await Promise.all([...this.#all].map((lane) => this.#close(lane).catch(() => {})));
  }

  async #close(lane: Lane): Promise<void> {
    lane.flush();
    if (!lane.isOpen) return;
    // amqplib does not settle its own promise if the connection goes before the answer comes.
    const closed = new Promise<void>((resolve) => lane.channel.once('close', resolve));
    await Promise.race([lane.channel.close(), closed]);
  }
}
