// Hop 5, the agent's scheduler: which delivery gets the next free slot. Urgent classes first with bounded starvation
// (decide/drain.ts), slots that only P0 may use, and two ways to take from the broker:
//   pull  one basic.get per free slot: strict order, hoards nothing. For tasks of a second and more.
//   push  consumers with a prefetch: order kept among what is here. For short tasks, where a round trip per task would cost.
//   auto  pull until the measured duration says push, and back.
import { errorRecord } from '../errors.js';
import type { Bus, Clock, Delivery, Subscription } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';
import { classOf, type Source, Turns } from './turns.js';

export type { Source };

export type DrainMode = 'pull' | 'push' | 'auto';

/** Durations that make auto change its mind, ms; apart, so that it does not flip with every task. */
const PUSH_BELOW_MS = 100;
const PULL_ABOVE_MS = 400;
const SAMPLES = 4;
const RETRY_MS = 1000;
const CLASSES = [0, 1, 2, 3] as const;

export interface IntakeParts {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly emitter: Emitter;
  readonly sources: readonly Source[];
  /** Tasks at once. */
  readonly capacity: number;
  /** How many of them only P0 may use. */
  readonly reserveP0: number;
  readonly drain: DrainMode;
  /** Runs one delivery; resolves when its slot is free again. Never rejects. */
  readonly start: (delivery: Delivery) => Promise<void>;
  /** Hears how many slots are taken, whenever that changes. */
  readonly onBusy: (busy: number) => void;
}

export class Intake {
  readonly #parts: IntakeParts;
  readonly #buffers: Delivery[][] = [[], [], [], []];
  readonly #paused = new Set<string>();
  readonly #turns: Turns;
  #subscriptions = new Map<Source, Subscription>();
  #busy = 0;
  #mode: 'pull' | 'push';
  #meanMs = 0;
  #samples = 0;
  #started = false;
  #stopped = false;
  /** Subscribing, pausing and stopping take turns: a consumer begun by one must be seen by the next. */
  #turn: Promise<unknown> = Promise.resolve();
  #looping = false;
  /** True while all queues were last seen empty: the agent may take a dependent past the broker. */
  #idle = false;
  #wake: (() => void) | undefined;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#turns = new Turns(parts.sources);
    this.#mode = parts.drain === 'push' ? 'push' : 'pull';
  }

  async start(): Promise<void> {
    this.#started = true;
    if (this.#mode === 'push') await this.#subscribe(this.#prefetch());
    else void this.#pull();
  }

  /** Takes again after stop(). What the broker refuses now is asked again. */
  resume(): void {
    this.#stopped = false;
    if (this.#mode === 'push') this.#attempt(() => this.#subscribe(this.#prefetch()));
    else void this.#pull();
  }

  get busy(): number {
    return this.#busy;
  }

  /** Nothing waits here or, as far as known, in the queues: running a dependent at once overtakes nobody. */
  get idle(): boolean {
    return this.#stopped
      ? false
      : this.#mode === 'push'
        ? this.#buffers.every((buffer) => buffer.length === 0)
        : this.#idle;
  }

  isPaused(capability: string): boolean {
    return this.#paused.has(capability);
  }

  /** Puts a delivery back in line: its task was held by another attempt a moment ago. */
  offer(delivery: Delivery): void {
    if (this.#stopped) delivery.requeue();
    else this.#take(delivery);
  }

  async setPaused(capability: string, paused: boolean): Promise<void> {
    if (paused) this.#paused.add(capability);
    else this.#paused.delete(capability);
    if (!this.#started) return;
    await this.#inTurn(async () => {
      for (const [source, subscription] of [...this.#subscriptions]) {
        if (!this.#isOff(source)) continue;
        this.#subscriptions.delete(source);
        await subscription.cancel();
      }
    });
    this.#giveBack((delivery) => paused && this.#capabilityOf(delivery) === capability);
    if (this.#mode === 'push' && !this.#stopped) await this.#subscribe(this.#prefetch());
    this.#wake?.();
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(action);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  #isOff(source: Source): boolean {
    return this.#stopped || (source.capability !== undefined && this.#paused.has(source.capability));
  }

  /** Stops taking; gives back what is not started. Running ones go on: wait for `busy` to reach 0. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#unsubscribe();
    this.#giveBack(() => true);
  }

  #capabilityOf(delivery: Delivery): string | undefined {
    return this.#parts.sources.find((source) => source.queue === delivery.message.queue)?.capability;
  }

  #giveBack(which: (delivery: Delivery) => boolean): void {
    for (const buffer of this.#buffers) {
      for (let i = buffer.length - 1; i >= 0; i--) {
        if (which(buffer[i]!)) buffer.splice(i, 1)[0]!.requeue();
      }
    }
  }

  #prefetch(): number {
    // Twice the slots: the next delivery is here when a slot frees. Per queue, so it bounds what an idle peer could have had.
    return Math.min(500, Math.max(4, this.#parts.capacity * 2));
  }

  #take(delivery: Delivery): void {
    if (this.#stopped) {
      delivery.requeue();
      return;
    }
    this.#buffers[classOf(delivery)]!.push(delivery);
    this.#fill();
    this.#wake?.();
  }

  /** Gives free slots to what is buffered. */
  #fill(): void {
    while (!this.#stopped) {
      const waiting = this.#mayStart(CLASSES.map((priority) => this.#buffers[priority]!.length > 0));
      const next = this.#turns.take(waiting);
      if (next === undefined) return;
      this.#run(this.#buffers[next]!.shift()!);
    }
  }

  #mayStart(waiting: boolean[]): boolean[] {
    const free = this.#parts.capacity - this.#busy;
    if (free <= 0) return [false, false, false, false];
    if (free <= this.#parts.reserveP0) return [waiting[0]!, false, false, false];
    return waiting;
  }

  #run(delivery: Delivery): void {
    this.#busy += 1;
    this.#idle = false;
    const { clock, start, onBusy } = this.#parts;
    onBusy(this.#busy);
    const began = clock.monotonic();
    void start(delivery).then(() => {
      this.#busy -= 1;
      onBusy(this.#busy);
      this.#measure(clock.monotonic() - began);
      this.#fill();
      this.#wake?.();
    });
  }

  #measure(ms: number): void {
    this.#samples += 1;
    this.#meanMs += (ms - this.#meanMs) / Math.min(this.#samples, 20);
    if (this.#parts.drain !== 'auto' || this.#samples < SAMPLES || this.#stopped) return;
    if (this.#mode === 'pull' && this.#meanMs < PUSH_BELOW_MS) {
      // The pull loop ends at its next turn and leaves consumers behind.
      this.#mode = 'push';
      this.#wake?.();
    } else if (this.#mode === 'push' && this.#meanMs > PULL_ABOVE_MS) {
      this.#mode = 'pull';
      this.#attempt(async () => {
        await this.#unsubscribe();
        await this.#pull();
      });
    }
  }

  #attempt(action: () => Promise<void>): void {
    action().catch((error) => {
      this.#parts.emitter.emit('loop.failed', { loop: 'intake', error: errorRecord(error).message });
      // The bus reconnects by itself; what it could not do now is asked again.
      if (!this.#stopped) this.#parts.clock.after(RETRY_MS, () => this.#attempt(action));
    });
  }

  #subscribe(prefetch: number, open: readonly boolean[] = [true, true, true, true]): Promise<void> {
    return this.#inTurn(async () => {
      // All are waited for, also when one fails: a consumer that nobody knows of could not be ended.
      const results = await Promise.allSettled(
        this.#parts.sources.map(async (source) => {
          if (!open[source.priority] || this.#isOff(source)) return;
          const known = this.#subscriptions.get(source);
          if (known !== undefined) return known.setPrefetch(prefetch);
          const subscription = await this.#parts.bus.consume(source.queue, { prefetch }, (delivery) =>
            this.#take(delivery),
          );
          this.#subscriptions.set(source, subscription);
        }),
      );
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    });
  }

  #unsubscribe(): Promise<void> {
    return this.#inTurn(async () => {
      const all = [...this.#subscriptions.values()];
      this.#subscriptions.clear();
      await Promise.all(all.map((subscription) => subscription.cancel()));
    });
  }

  /** The pull loop: gets while a slot is free and something comes; subscribes as a wake-up when everything is empty. */
  async #pull(): Promise<void> {
    if (this.#looping) return;
    this.#looping = true;
    try {
      while (!this.#stopped && this.#mode === 'pull') {
        try {
          await this.#pullOnce();
        } catch (error) {
          if (this.#stopped) break;
          this.#parts.emitter.emit('loop.failed', { loop: 'intake', error: errorRecord(error).message });
          await new Promise<void>((resolve) => this.#parts.clock.after(RETRY_MS, resolve));
        }
      }
    } finally {
      this.#looping = false;
    }
    if (!this.#stopped) this.#attempt(() => this.#subscribe(this.#prefetch()));
  }

  async #pullOnce(): Promise<void> {
    const open = this.#mayStart([true, true, true, true]);
    if (!open[0]) {
      await this.#woken();
      return;
    }
    const delivery = await this.#turns.get(this.#parts.bus, open, this.#paused);
    if (delivery !== undefined) {
      // Meanwhile a delivery that came back may have taken the slot: then this one waits its turn.
      if (!this.#stopped && this.#mayStart([true, true, true, true])[classOf(delivery)]) this.#run(delivery);
      else this.#take(delivery);
      return;
    }
    this.#idle = open.every(Boolean);
    // Prefetch 1 per queue only to be woken: the first delivery ends it, and what raced with it starts too or goes back.
    // Subscribed before the wait is set up: a delivery in between would otherwise wake nobody.
    const woken = this.#woken();
    await this.#subscribe(1, open);
    if (!this.#stopped && this.#buffers.every((buffer) => buffer.length === 0)) await woken;
    await this.#unsubscribe();
    this.#fill();
    this.#giveBack(() => true);
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
