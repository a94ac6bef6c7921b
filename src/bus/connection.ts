// One supervised connection to the broker: connects, tells a wrong login from a broker that is down, and comes back by itself.
// connecting -> ready <-> blocked; any of them -> connecting when the connection is lost; -> closed for good.
import { type Channel, type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import { BrokerRefused, BrokerUnavailable, Closed, InvalidConfig } from '../errors.js';
import type { BusState, Clock, Random } from '../ports.js';
import { isRefusal, reason } from './answers.js';
import { gatherWrites, hangUp, writeStraight } from './socket.js';
import { within } from './within.js';

const RPC_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;
// The broker's own default is 60 s: a dead peer would go unnoticed for three minutes.
const HEARTBEAT_S = 10;
// Pause before reconnecting: random between 0 and 100, 200, 400, ... 10,000 ms.
const BACKOFF_BASE_MS = 100;
const BACKOFF_CAP_MS = 10_000;
// A login that worked once and is refused now: someone is changing it, and each try is logged by the broker.
const REFUSED_PAUSE_MS = 5_000;

export interface ConnectionOptions {
  readonly urls: readonly string[];
  /** Shown by the management UI and in the broker's log. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  /** How long `open` keeps trying a broker that does not answer. */
  readonly openTimeoutMs: number;
  /** For TLS: ca, cert, key, passphrase, servername. */
  readonly tls?: Readonly<Record<string, unknown>>;
  /** Brings back what lives on this connection; it counts as ready once this resolves. */
  readonly restore: () => Promise<void>;
  /** Called in the same turn in which the connection is lost. */
  readonly lost: () => void;
  readonly onState: (state: BusState, why?: string) => void;
  readonly onProblem: (where: string, error: unknown) => void;
}

export class Connection {
  state: BusState = 'connecting';
  why = '';
  /** The connection of now; undefined while there is none. */
  model: ChannelModel | undefined;
  readonly #options: ConnectionOptions;
  readonly #urls: readonly URL[];
  #attempt = 0;
  #turn: number;
  #abort: AbortController | undefined;
  #ended: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;
  #waiting: (() => void)[] = [];

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#urls = options.urls.map(parseUrl);
    if (this.#urls.length === 0) throw InvalidConfig('AMQP_URL names no broker');
    // Many processes that start together should not all take the first broker of the list.
    this.#turn = Math.floor(options.random() * this.#urls.length);
  }

  /** Address without user and password. */
  get where(): string {
    const url = this.#urls[this.#turn % this.#urls.length]!;
    return `${url.protocol}//${url.host}${url.pathname}`;
  }

  /** Connects for the first time. Rejects with BROKER_REFUSED at once, with BROKER_UNAVAILABLE when the time is over. */
  async open(): Promise<void> {
    const { clock, openTimeoutMs } = this.#options;
    const deadline = clock.monotonic() + openTimeoutMs;
    for (;;) {
      const where = this.where;
      try {
        await this.#connect(Math.max(1000, Math.min(CONNECT_TIMEOUT_MS, openTimeoutMs)));
        void this.#supervise();
        return;
      } catch (error) {
        if (this.#isClosed()) throw Closed('The bus');
        const why = reason(error);
        if (isRefusal(why)) throw BrokerRefused(where, why, { cause: error });
        const pause = this.#nextPause();
        if (clock.monotonic() + pause >= deadline) throw BrokerUnavailable(where, why, { cause: error });
        this.#setState('connecting', why);
        await this.#sleep(pause);
      }
    }
  }

  async openChannel(kind: 'confirm'): Promise<ConfirmChannel>;
  async openChannel(kind: 'plain'): Promise<Channel>;
  async openChannel(kind: 'confirm' | 'plain'): Promise<Channel> {
    const model = this.model;
    if (model === undefined) throw this.unavailable();
    const opening = kind === 'confirm' ? model.createConfirmChannel() : model.createChannel();
    const channel = await this.rpc('channel.open', opening);
    // Without a listener amqplib answers a channel error by closing the whole connection, and an exception thrown by
    // a listener by closing the channel.
    channel.on('error', noop);
    channel.on('handler-error', (error) => this.#options.onProblem('channel', error));
    writeStraight(model, channel);
    return channel;
  }

  /** Waits for an answer of the broker, at most 10 s: with a majority of its nodes down it gives none. */
  rpc<T>(what: string, answer: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const cancel = this.#options.clock.after(RPC_TIMEOUT_MS, () =>
        reject(BrokerUnavailable(this.where, `no answer to ${what} within ${RPC_TIMEOUT_MS} ms`)),
      );
      answer.then(resolve, reject).finally(cancel);
    });
  }

  /** Runs `action` once connected, and again if the connection was lost under it. Gives up after 10 s. */
  async attempt<T>(action: () => Promise<T>): Promise<T> {
    const deadline = this.#options.clock.monotonic() + RPC_TIMEOUT_MS;
    for (;;) {
      await this.#connected(deadline);
      const model = this.model;
      try {
        return await action();
      } catch (error) {
        if (this.state === 'closed') throw Closed('The bus');
        if (model !== undefined && this.model === model) throw error;
      }
    }
  }

  async #connected(deadline: number): Promise<void> {
    while (this.state === 'connecting') {
      const left = deadline - this.#options.clock.monotonic();
      if (left <= 0) throw this.unavailable();
      await new Promise<void>((resolve) => {
        const cancel = this.#options.clock.after(left, resolve);
        this.#waiting.push(() => {
          cancel();
          resolve();
        });
      });
    }
    if (this.state === 'closed') throw Closed('The bus');
  }

  unavailable(): Error {
    return this.state === 'closed' ? Closed('The bus') : BrokerUnavailable(this.where, this.why || 'not connected yet');
  }

  /** Says goodbye for at most `graceMs`, then hangs up: amqplib's close does not settle when the peer is gone. */
  async close(graceMs: number): Promise<void> {
    if (this.state === 'closed') return;
    const model = this.model;
    this.#setState('closed');
    this.#wake?.();
    if (model === undefined) {
      this.#abort?.abort();
      return;
    }
    await within(this.#options.clock, graceMs, Promise.race([model.close(), this.#ended]));
    hangUp(model);
  }

  async #supervise(): Promise<void> {
    for (;;) {
      await this.#ended;
      while (this.model === undefined) {
        if (this.#isClosed()) return;
        await this.#sleep(isRefusal(this.why) ? REFUSED_PAUSE_MS * (1 + this.#options.random()) : this.#nextPause());
        if (this.#isClosed()) return;
        try {
          await this.#connect(CONNECT_TIMEOUT_MS);
        } catch (error) {
          this.#setState('connecting', reason(error));
        }
      }
    }
  }

  async #connect(timeout: number): Promise<void> {
    const { name, tls, restore } = this.#options;
    const url = this.#urls[this.#turn % this.#urls.length]!;
    const abort = new AbortController();
    this.#abort = abort;
    const settings = {
      ...tls,
      noDelay: true,
      keepAlive: true,
      keepAliveDelay: 10_000,
      timeout,
      signal: abort.signal,
      clientProperties: { connection_name: name, product: 'muster' },
    };
    try {
      const model = await connect(url.href, settings);
      const ended = this.#watch(model);
      if (this.#isClosed()) {
        hangUp(model);
        throw Closed('The bus');
      }
      gatherWrites(model);
      this.model = model;
      this.#ended = ended.then(noop);
      const lostWhile = await Promise.race([restore().then(() => undefined), ended]);
      if (lostWhile !== undefined) throw lostWhile;
      this.#attempt = 0;
      if (this.state === 'connecting') this.#setState('ready');
    } catch (error) {
      this.#turn += 1;
      // A connection on which nothing could be restored is of no use: begin again with a new one.
      if (this.model !== undefined) hangUp(this.model);
      this.#drop(this.model, reason(error));
      throw error;
    }
  }

  /** Resolves with the cause once the connection is gone. */
  #watch(model: ChannelModel): Promise<Error> {
    return new Promise((resolve) => {
      let cause: Error | undefined;
      model.on('error', (error) => {
        cause = error;
      });
      model.on('handler-error', (error) => this.#options.onProblem('connection', error));
      model.on('blocked', (why) => {
        if (this.model === model) this.#setState('blocked', why);
      });
      model.on('unblocked', () => {
        if (this.model === model && this.state === 'blocked') this.#setState('ready');
      });
      model.on('close', (error) => {
        // amqplib only half closes: a peer that never answers would keep the socket, and the process, for hours.
        hangUp(model);
        const why = error ?? cause ?? new Error('closed');
        this.#drop(model, reason(why));
        resolve(why);
      });
    });
  }

  #drop(model: ChannelModel | undefined, why: string): void {
    if (model === undefined || this.model !== model) return;
    this.model = undefined;
    this.#options.lost();
    this.#setState('connecting', why);
  }

  #isClosed(): boolean {
    return this.state === 'closed';
  }

  #setState(state: BusState, why = ''): void {
    // An attempt that fails because of the close must not open everything again.
    if (this.state === 'closed') return;
    const changed = this.state !== state;
    this.state = state;
    this.why = why;
    if (!changed) return;
    this.#options.onState(state, why === '' ? undefined : why);
    if (state === 'connecting') return;
    for (const resume of this.#waiting.splice(0)) resume();
  }

  #nextPause(): number {
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.min(this.#attempt, 10));
    this.#attempt += 1;
    return this.#options.random() * ceiling;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

function parseUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw InvalidConfig('AMQP_URL is not a URL');
  }
  if (url.protocol !== 'amqp:' && url.protocol !== 'amqps:') {
    throw InvalidConfig(`AMQP_URL begins with '${url.protocol}' and not with amqp: or amqps:`);
  }
  if (!url.searchParams.has('heartbeat')) url.searchParams.set('heartbeat', String(HEARTBEAT_S));
  return url;
}

function noop(): void {}
