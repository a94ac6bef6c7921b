// One delivery, bound to the channel it came on: on any other channel its tag would settle somebody else's message.
import type { Delivery, IncomingMessage } from '../ports.js';
import type { Lane } from './lane.js';

/** Who wants to know that a delivery is settled, to make room for the next. */
export interface Origin {
  settled(): void;
}

export class Arrival implements Delivery {
  readonly message: IncomingMessage;
  readonly #lane: Lane;
  readonly #tag: number;
  readonly #origin: Origin | undefined;
  #settled = false;

  constructor(message: IncomingMessage, lane: Lane, tag: number, origin?: Origin) {
    this.message = message;
    this.#lane = lane;
    this.#tag = tag;
    this.#origin = origin;
    lane.arrived(tag);
  }

  get lost(): boolean {
    return !this.#lane.isOpen;
  }

  ack(): 'sent' | 'stale' {
    if (this.#settled || !this.#lane.isOpen) return 'stale';
    this.#settled = true;
    this.#lane.ack(this.#tag);
    this.#origin?.settled();
    return 'sent';
  }

  requeue(): 'sent' | 'stale' {
    if (this.#settled || !this.#lane.isOpen) return 'stale';
    this.#settled = true;
    this.#lane.requeue(this.#tag);
    this.#origin?.settled();
    return 'sent';
  }

  reject(): 'sent' | 'stale' {
    if (this.#settled || !this.#lane.isOpen) return 'stale';
    this.#settled = true;
    this.#lane.reject(this.#tag);
    this.#origin?.settled();
    return 'sent';
  }
}

/** A delivery the broker forgot when it sent it: nothing to settle, and nobody to give it back to. */
export class Forgotten implements Delivery {
  readonly message: IncomingMessage;
  readonly #lane: Lane;
  #settled = false;

  constructor(message: IncomingMessage, lane: Lane) {
    this.message = message;
    this.#lane = lane;
  }

  get lost(): boolean {
    return !this.#lane.isOpen;
  }

  ack(): 'sent' | 'stale' {
    if (this.#settled || !this.#lane.isOpen) return 'stale';
    this.#settled = true;
    return 'sent';
  }

  requeue(): 'sent' | 'stale' {
    return 'stale';
  }

  reject(): 'sent' | 'stale' {
    return 'stale';
  }
}
