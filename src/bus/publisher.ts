// Confirmed publishing: resolves when the broker says a queue has the message, and sends it again after a lost connection.
// waiting -> in flight (written, unconfirmed) -> confirmed | returned; a nack or a lost channel leads back to waiting.
import type { ConfirmChannel, Message } from 'amqplib';
import {
  BrokerRefused,
  BrokerUnavailable,
  Closed,
  ConfirmTimeout,
  InvalidInput,
  PublishNacked,
  Throttled,
  Unroutable,
} from '../errors.js';
import type { Cancel, Clock, OutgoingMessage } from '../ports.js';
import { blamed, reason } from './answers.js';
import { checkMessage, returnMark } from './codec.js';
import type { Connection } from './connection.js';
import type { Declarer } from './declarer.js';
import { isSame, type Pending, type PublishLimits, pendingOf } from './pending.js';
import { within } from './within.js';

// More unconfirmed messages on the wire do not make it faster, and all of them would end as unknown in an outage.
const WINDOW = 1000;
// One timer for all: a message's own timer would cost more than sending it.
const TICK_MS = 50;
const NACK_PAUSE_MS = 50;
const NACK_PAUSE_CAP_MS = 1000;
const REOPEN_PAUSE_MS = 50;

export class Publisher {
  readonly #connection: Connection;
  readonly #declarer: Declarer;
  readonly #clock: Clock;
  readonly #limits: PublishLimits;
  #channel: ConfirmChannel | undefined;
  /** amqplib refuses to write to it: its end is about to be announced. */
  #isEnding = false;
  /** The broker counts the publishes of a channel from 1 and confirms by that number. */
  #sequence = 0;
  #inFlight = new Map<number, Pending>();
  #waiting: Pending[] = [];
  #nacked: Pending[] = [];
  #pending = 0;
  #pendingBytes = 0;
  #marks = 0;
  #tick: Cancel | undefined;
  #onDrained: (() => void) | undefined;
  #opening = false;
  #closed = false;

  constructor(connection: Connection, declarer: Declarer, clock: Clock, limits: PublishLimits) {
    this.#connection = connection;
    this.#declarer = declarer;
    this.#clock = clock;
    this.#limits = limits;
  }

  publish(message: OutgoingMessage): Promise<void> {
    if (this.#declarer.knowsExchange(message.exchange)) return this.#accept(message);
    return this.#findThenPublish(message);
  }

  async #findThenPublish(message: OutgoingMessage): Promise<void> {
    if (this.#closed) throw Closed('The bus');
    if (await this.#declarer.findExchange(message.exchange)) return this.#accept(message);
    throw Unroutable(message.exchange, message.routingKey);
  }

  #accept(message: OutgoingMessage): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw Closed('The bus');
      const { maxPending, maxPendingBytes, maxPayloadBytes, publishTimeoutMs } = this.#limits;
      checkMessage(message, maxPayloadBytes);
      if (this.#pending >= maxPending) throw Throttled(`${this.#pending} publishes wait for its answer`);
      if (this.#pending > 0 && this.#pendingBytes + message.body.length > maxPendingBytes) {
        throw Throttled(`${this.#pendingBytes} bytes wait for its answer`);
      }
      const mark = message.messageId === undefined ? ++this.#marks : undefined;
      const deadline = this.#clock.monotonic() + publishTimeoutMs;
      const pending = pendingOf(message, mark, deadline, resolve, reject);
      this.#pending += 1;
      this.#pendingBytes += message.body.length;
      this.#tick ??= this.#clock.after(TICK_MS, this.#onTick);
      if (this.#waiting.length > 0 || !this.#canWrite()) this.#waiting.push(pending);
      else if (!this.#write(pending)) this.#waiting.push(pending);
    });
  }

  /** Opens the channel of a new connection and sends what waits. */
  async restore(): Promise<void> {
    const channel = await this.#connection.openChannel('confirm');
    this.#sequence = 0;
    this.#isEnding = false;
    channel.on('ack', (confirm) => this.#confirmed(confirm, false));
    channel.on('nack', (confirm) => this.#confirmed(confirm, true));
    channel.on('return', (raw) => this.#returned(raw));
    channel.on('error', (error) => this.#blame(error));
    channel.on('close', () => this.#lost(channel));
    this.#channel = channel;
  }

  /** The connection is usable (again): sends what waits. */
  resume(): void {
    if (this.#channel === undefined) this.#reopen();
    else this.#flush();
  }

  /** Resolves when nothing is pending, or after `graceMs`; what is left then fails. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    if (this.#pending > 0) {
      const drained = new Promise<void>((resolve) => {
        this.#onDrained = resolve;
      });
      await within(this.#clock, graceMs, drained);
    }
    this.#tick?.();
    this.#tick = undefined;
    for (const pending of [...this.#inFlight.values(), ...this.#nacked, ...this.#waiting]) {
      this.#settle(pending, pending.written ? this.#unknown(pending) : Closed('The bus'));
    }
  }

  #canWrite(): boolean {
    const { state } = this.#connection;
    return this.#channel !== undefined && !this.#isEnding && state === 'ready' && this.#inFlight.size < WINDOW;
  }

  /** Sends what waits, as far as the window allows. */
  #flush(): void {
    const waiting = this.#waiting;
    let next = 0;
    for (; next < waiting.length && this.#canWrite(); next++) {
      const pending = waiting[next]!;
      if (!pending.settled && !this.#write(pending)) break;
    }
    if (next > 0) this.#waiting = waiting.slice(next);
  }

  /** False if it could not be written because the channel is going. */
  #write(pending: Pending): boolean {
    const { message, options } = pending;
    try {
      this.#channel!.publish(message.exchange, message.routingKey, message.body, options);
    } catch (error) {
      if (error instanceof Error && error.name === 'IllegalOperationError') {
        this.#isEnding = true;
        return false;
      }
      // amqplib could not encode it; nothing was written and no number was used up.
      this.#settle(pending, InvalidInput('The message', reason(error), { cause: error }));
      return true;
    }
    pending.written = true;
    pending.refused = false;
    this.#sequence += 1;
    this.#inFlight.set(this.#sequence, pending);
    return true;
  }

  #confirmed(confirm: { deliveryTag: number; multiple: boolean }, nacked: boolean): void {
    if (confirm.multiple) {
      for (const [sequence, pending] of this.#inFlight) {
        if (sequence > confirm.deliveryTag) break;
        this.#inFlight.delete(sequence);
        this.#answer(pending, nacked);
      }
    } else {
      const pending = this.#inFlight.get(confirm.deliveryTag);
      if (pending !== undefined) {
        this.#inFlight.delete(confirm.deliveryTag);
        this.#answer(pending, nacked);
      }
    }
    this.#flush();
  }

  #answer(pending: Pending, nacked: boolean): void {
    if (pending.settled) return;
    const { message } = pending;
    if (pending.returned) this.#settle(pending, Unroutable(message.exchange, message.routingKey));
    else if (!nacked) this.#settle(pending);
    else {
      // A queue without a leader for a moment, or full: the same message again, a little later each time.
      pending.nacks += 1;
      pending.refused = true;
      const pause = Math.min(NACK_PAUSE_CAP_MS, NACK_PAUSE_MS * 2 ** Math.min(pending.nacks, 8));
      pending.dueAt = Math.min(pending.deadline, this.#clock.monotonic() + pause);
      this.#nacked.push(pending);
    }
  }

  /** A return comes before its confirm, in the order of publishing. */
  #returned(raw: Message): void {
    const mark = returnMark(raw);
    for (const pending of this.#inFlight.values()) {
      if (pending.returned || !isSame(pending, raw, mark)) continue;
      pending.returned = true;
      return;
    }
  }

  /** The channel is closed because of one message: it fails, so that the others are not sent into the same end again. */
  #blame(error: Error): void {
    const guilty = blamed(error);
    if (guilty === undefined) return;
    if (guilty.code === 404) this.#declarer.forgetExchange(guilty.exchange);
    for (const pending of this.#inFlight.values()) {
      const { exchange, routingKey } = pending.message;
      if (exchange !== guilty.exchange || (guilty.routingKey ?? routingKey) !== routingKey) continue;
      const cause = { cause: error };
      const refused = () => BrokerRefused(this.#connection.where, reason(error), cause);
      this.#settle(pending, guilty.code === 404 ? Unroutable(exchange, routingKey, cause) : refused());
    }
  }

  #lost(channel: ConfirmChannel): void {
    if (this.#channel !== channel) return;
    this.#channel = undefined;
    // What was in flight goes again, in its order, before what was never sent. Consumers drop the copies.
    const again = [...this.#inFlight.values()].filter((pending) => !pending.settled);
    for (const pending of again) pending.returned = false;
    this.#inFlight.clear();
    this.#waiting = again.concat(this.#waiting);
    if (!this.#closed && this.#connection.model !== undefined) this.#clock.after(REOPEN_PAUSE_MS, this.#reopen);
  }

  readonly #reopen = () => {
    if (this.#channel !== undefined || this.#opening || this.#connection.state !== 'ready') return;
    this.#opening = true;
    this.restore()
      .catch(() => this.#clock.after(REOPEN_PAUSE_MS, this.#reopen))
      .finally(() => {
        this.#opening = false;
        this.#flush();
      });
  };

  readonly #onTick = () => {
    this.#tick = this.#pending > 0 ? this.#clock.after(TICK_MS, this.#onTick) : undefined;
    const now = this.#clock.monotonic();
    // One given up on keeps its place in the window: the broker still owes its answer, and more would only add to the heap.
    for (const pending of this.#inFlight.values()) {
      if (pending.deadline <= now) this.#settle(pending, this.#unknown(pending));
    }
    for (const pending of this.#nacked) {
      if (pending.dueAt <= now) this.#waiting.push(pending);
    }
    this.#nacked = this.#nacked.filter((pending) => pending.dueAt > now);
    for (const pending of this.#waiting) {
      if (pending.deadline <= now) this.#settle(pending, this.#expired(pending));
    }
    this.#waiting = this.#waiting.filter((pending) => !pending.settled);
    this.#flush();
  };

  #unknown(pending: Pending): Error {
    return ConfirmTimeout(pending.message.exchange, this.#limits.publishTimeoutMs);
  }

  /** Why a message that is not on the wire was not sent, or not again. */
  #expired(pending: Pending): Error {
    if (pending.refused) return PublishNacked(pending.message.exchange);
    if (pending.written) return this.#unknown(pending);
    const { state, why, where } = this.#connection;
    if (state === 'blocked') return Throttled(`it is blocked: ${why}`);
    if (state === 'ready') return Throttled('it confirms too slowly');
    return BrokerUnavailable(where, why || 'not connected');
  }

  #settle(pending: Pending, error?: Error): void {
    if (pending.settled) return;
    pending.settled = true;
    this.#pending -= 1;
    this.#pendingBytes -= pending.message.body.length;
    if (error === undefined) pending.resolve();
    else pending.reject(error);
    if (this.#pending === 0) this.#onDrained?.();
  }
}
