// Unconfirmed sending for transient traffic: requests, replies, the event feed. Fast, and honest about what cannot leave now.
// A mandatory message that no queue takes comes back; which ones can no longer come back is learnt from the broker, not guessed.
import type { Channel, Message } from 'amqplib';
import { BrokerUnavailable, Closed, InvalidInput, Throttled } from '../errors.js';
import type { Cancel, Clock, OutgoingMessage } from '../ports.js';
import { blamed, reason } from './answers.js';
import { checkMessage, returnMark, toOptions } from './codec.js';
import type { Connection } from './connection.js';
import type { Declarer } from './declarer.js';
import { unsentBytes } from './socket.js';

// What the kernel has not taken yet lives in our memory; a broker that reads so slowly is not helped by more.
const MAX_UNSENT_BYTES = 16 * 1024 * 1024;
const SWEEP_MS = 1000;

export class Sender {
  readonly #connection: Connection;
  readonly #declarer: Declarer;
  readonly #clock: Clock;
  readonly #maxPayloadBytes: number;
  #channel: Channel | undefined;
  /** Callbacks of messages that may still be returned, by message id or mark; the older half is dropped by the next sweep. */
  #recent = new Map<string | number, () => void>();
  #older = new Map<string | number, () => void>();
  #marks = 0;
  #sweep: Cancel | undefined;

  constructor(connection: Connection, declarer: Declarer, clock: Clock, maxPayloadBytes: number) {
    this.#connection = connection;
    this.#declarer = declarer;
    this.#clock = clock;
    this.#maxPayloadBytes = maxPayloadBytes;
  }

  send(message: OutgoingMessage, onReturn?: () => void): void {
    checkMessage(message, this.#maxPayloadBytes);
    const { state, why, where, model } = this.#connection;
    if (state === 'closed') throw Closed('The bus');
    if (state === 'blocked') throw Throttled(`it is blocked: ${why}`);
    if (this.#channel === undefined || model === undefined) throw BrokerUnavailable(where, why || 'not connected');
    if (unsentBytes(model) > MAX_UNSENT_BYTES) throw Throttled('it reads too slowly');
    if (this.#declarer.knowsExchange(message.exchange)) this.#write(message, onReturn);
    else this.#findThenSend(message, onReturn);
  }

  async restore(): Promise<void> {
    const channel = await this.#connection.openChannel('plain');
    channel.on('return', (raw) => this.#returned(raw));
    channel.on('error', (error) => {
      const guilty = blamed(error);
      if (guilty?.code === 404) this.#declarer.forgetExchange(guilty.exchange);
    });
    channel.on('close', () => this.#lost(channel));
    this.#channel = channel;
  }

  /** The connection is usable (again). */
  resume(): void {
    if (this.#channel === undefined && this.#connection.state === 'ready') this.restore().catch(() => {});
  }

  close(): void {
    this.#sweep?.();
    this.#sweep = undefined;
  }

  #write(message: OutgoingMessage, onReturn: (() => void) | undefined): void {
    if (onReturn === undefined) {
      this.#publish(message, undefined);
      return;
    }
    const { messageId } = message;
    const known = messageId !== undefined && !this.#recent.has(messageId) && !this.#older.has(messageId);
    const key = known ? messageId : ++this.#marks;
    this.#publish(message, typeof key === 'number' ? key : undefined, true);
    this.#recent.set(key, onReturn);
    this.#sweep ??= this.#clock.after(SWEEP_MS, this.#onSweep);
  }

  #publish(message: OutgoingMessage, mark: number | undefined, mandatory = false): void {
    const options = toOptions(message, mandatory, message.persistent === true, mark);
    try {
      this.#channel!.publish(message.exchange, message.routingKey, message.body, options);
    } catch (error) {
      const why = reason(error);
      if (error instanceof Error && error.name === 'IllegalOperationError') {
        throw BrokerUnavailable(this.#connection.where, why, { cause: error });
      }
      throw InvalidInput('The message', why, { cause: error });
    }
  }

  #findThenSend(message: OutgoingMessage, onReturn: (() => void) | undefined): void {
    this.#declarer
      .findExchange(message.exchange)
      .then((found) => (found && this.#channel !== undefined ? this.#write(message, onReturn) : onReturn?.()))
      .catch(() => onReturn?.());
  }

  #returned(raw: Message): void {
    const key = returnMark(raw) ?? (raw.properties.messageId as string);
    const onReturn = this.#older.get(key) ?? this.#recent.get(key);
    this.#older.delete(key);
    this.#recent.delete(key);
    onReturn?.();
  }

  /**
   * The broker handles a channel's methods in order: after its answer to a harmless one, nothing sent before can come back.
   * Without this every request that was routed would leave its callback behind for ever.
   */
  readonly #onSweep = () => {
    this.#sweep = undefined;
    const channel = this.#channel;
    if (channel === undefined || this.#recent.size + this.#older.size === 0) return;
    this.#older = this.#recent;
    this.#recent = new Map();
    channel.prefetch(0).then(
      () => {
        if (this.#channel === channel) this.#older = new Map();
        if (this.#recent.size > 0) this.#sweep ??= this.#clock.after(SWEEP_MS, this.#onSweep);
      },
      () => {},
    );
  };

  #lost(channel: Channel): void {
    if (this.#channel !== channel) return;
    this.#channel = undefined;
    // Whether these arrived is unknown: their senders wait for a reply and have a timeout.
    this.#recent = new Map();
    this.#older = new Map();
    this.resume();
  }
}
