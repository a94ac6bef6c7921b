// Hop 5, what an agent does with a delivery: claim, and run attempt after attempt until its slot is free again.
import { putAside } from '../bus/dead-letters.js';
import { exchangeName } from '../bus/topology.js';
import { errorRecord, InvalidInput } from '../errors.js';
import type { Cancel, Delivery, Grant } from '../ports.js';
import { prepareForeign } from '../tasks/prepare.js';
import { processSpan } from '../telemetry/spans.js';
import { Attempt, type AttemptParts, type AttemptTask } from './attempt.js';
import type { Offer } from './capability.js';
import { type Decoded, decode, toAttemptTask } from './decode.js';
import type { Instance } from './instance.js';
import type { Intake } from './intake.js';
import { Strays } from './strays.js';

interface Claimed {
  readonly grant: Grant;
  readonly task: AttemptTask;
}

/** A held task's delivery is looked at again after this long. */
const HELD_MS = 500;
const RETRY_MS = 500;
const ACK_AFTER_MS = 600_000;

export interface AttemptsParts {
  readonly instance: Instance;
  readonly offers: ReadonlyMap<string, Offer>;
  /** Shown in traces. */
  readonly agentName: string;
  readonly attempt: AttemptParts;
  readonly intake: () => Intake;
  readonly ackAfterMs: number | undefined;
}

export class Attempts {
  readonly #parts: AttemptsParts;
  readonly #instance: Instance;
  readonly #running = new Map<string, { attempt: Attempt; delivery: Delivery | undefined }>();
  #ackTimer: Cancel | undefined;
  /** Deliveries being claimed, and tasks granted that do not run yet. */
  readonly #coming = new Map<string, number>();
  readonly #strays: Strays;
  #leaving = false;
  #held: Promise<void> | undefined;

  constructor(parts: AttemptsParts) {
    this.#parts = parts;
    this.#instance = parts.instance;
    this.#strays = new Strays(parts.instance, (id) => this.#running.has(id) || this.#coming.has(id));
  }

  #expect(id: string, by: 1 | -1): void {
    const count = (this.#coming.get(id) ?? 0) + by;
    if (count > 0) this.#coming.set(id, count);
    else this.#coming.delete(id);
  }

  /** Hop 5 for one delivery; resolves when its slot is free. */
  async handle(delivery: Delivery): Promise<void> {
    try {
      let decoded: Decoded;
      try {
        decoded = decode(delivery.message, this.#instance);
      } catch (error) {
        await this.#putAside(delivery, error);
        return;
      }
      this.#expect(decoded.id, 1);
      try {
        const claimed = await this.#claim(decoded, delivery);
        if (claimed !== undefined) await this.#run(claimed, delivery);
      } finally {
        this.#expect(decoded.id, -1);
      }
    } catch (error) {
      // Not the task's fault: the delivery goes back, bounded by the queue's delivery limit, and the operator hears of it.
      this.#instance.emitter.emit('loop.failed', { loop: 'attempt', error: errorRecord(error).message });
      await this.#pause();
      delivery.requeue();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#instance.ports.clock.after(RETRY_MS, resolve));
  }

  async #claim({ id, task }: Decoded, delivery: Delivery): Promise<Claimed | undefined> {
    const { ports, emitter } = this.#instance;
    for (;;) {
      // The lease is lost: what would be claimed now would be taken from us at once.
      await this.#held;
      // The broker has given it to someone else by now.
      if (delivery.lost) return undefined;
      try {
        const answer = await ports.tasks.claim({
          id,
          holder: this.#instance.id,
          redelivered: delivery.message.redelivered,
        });
        switch (answer.outcome) {
          case 'granted':
            return { grant: answer, task };
          case 'held':
            this.#waitForHolder(id, answer.by, delivery);
            return undefined;
          case 'obsolete':
            emitter.emit('task.duplicate', { task: id, capability: task.message.capability, state: answer.state });
            delivery.ack();
            return undefined;
          case 'unknown':
            if (!(await this.#adopt(id, task, delivery))) return undefined;
        }
      } catch (error) {
        // The store is away: hold the message and its slot. Giving it back would burn the broker's delivery limit in a hot loop.
        emitter.emit('loop.failed', { loop: 'claim', error: errorRecord(error).message });
        await this.#pause();
      }
    }
  }

  /** The task runs elsewhere, or here under an earlier delivery whose channel was lost. */
  #waitForHolder(id: string, holder: string, delivery: Delivery): void {
    const here = this.#running.get(id);
    if (holder === this.#instance.id && here !== undefined) {
      // A copy (the relay, a late confirm) is not needed; a delivery whose channel was lost is replaced by its redelivery.
      if (here.delivery?.lost === true) here.delivery = delivery;
      else delivery.ack();
      return;
    }
    this.#instance.ports.clock.after(HELD_MS, () => {
      if (!delivery.lost) this.#parts.intake().offer(delivery);
    });
  }

  /** A message without a record: published by a foreign client, or older than what Redis remembers. Stored, then claimed. */
  async #adopt(id: string, task: AttemptTask, delivery: Delivery): Promise<boolean> {
    const { config, manager } = this.#instance;
    let problem: unknown;
    try {
      const { traceparent, root, hops } = task;
      const record = prepareForeign(id, task.message, traceparent, { maxPayload: config.MUSTER_MAX_PAYLOAD });
      if (await manager.adopt(record, { traceparent, root, hops })) return true;
      problem = InvalidInput('The task message', `its id '${id}' belongs to another task or run`);
    } catch (error) {
      if ((error as { retryable?: boolean }).retryable === true) throw error;
      problem = error;
    }
    await this.#putAside(delivery, problem);
    return false;
  }

  async #putAside(delivery: Delivery, error: unknown): Promise<void> {
    const { ports, config, emitter, id } = this.#instance;
    emitter.emit('message.malformed', { queue: delivery.message.queue, problem: errorRecord(error).message });
    const aside = { bus: ports.bus, prefix: config.MUSTER_PREFIX, maxPayload: config.MUSTER_MAX_PAYLOAD, by: id };
    await putAside(aside, delivery, 'task', error);
  }

  async #run(claimed: Claimed, delivery: Delivery): Promise<void> {
    let current: Claimed | undefined = claimed;
    let held: Delivery | undefined = delivery;
    const next: string[] = [];
    while (current !== undefined) {
      const { answer, slotFree } = await this.#runOne(current, held);
      held = undefined;
      current = undefined;
      if (answer !== 'abandoned') {
        if (answer.next !== undefined) {
          current = { grant: answer.next.grant, task: toAttemptTask(answer.next.task) };
          this.#expect(current.grant.id, 1);
          next.push(current.grant.id);
        }
        if (answer.ready.length > 0 || answer.ended.length > 0 || answer.more)
          await this.#instance.manager.follow(answer);
      }
      await slotFree;
    }
    for (const id of next) this.#expect(id, -1);
  }

  async #runOne({ grant, task }: Claimed, delivery: Delivery | undefined): ReturnType<Attempt['perform']> {
    const attempt = new Attempt(this.#parts.attempt, task, grant, this.#parts.offers.get(task.message.capability));
    attempt.takeNext = this.#mayTakeNext();
    const entry = { attempt, delivery };
    this.#running.set(attempt.id, entry);
    const place = delivery?.message ?? {
      exchange: exchangeName(this.#instance.config.MUSTER_PREFIX, 'task'),
      routingKey: '',
      queue: 'handover',
    };
    const about = {
      id: grant.id,
      capability: attempt.capability,
      priority: attempt.priority,
      attempt: grant.attempt,
      traceparent: task.traceparent,
    };
    try {
      return await processSpan(about, place, { id: this.#parts.attempt.agentId, name: this.#parts.agentName }, () =>
        attempt.perform(),
      );
    } finally {
      this.#running.delete(attempt.id);
      // Recorded first, acked second: a crash in between delivers it again, and the claim finds it finished.
      entry.delivery?.ack();
    }
  }

  /** Past the broker only while nothing waits here and no queue of ours is paused: then nobody is overtaken. */
  #mayTakeNext(): readonly string[] | undefined {
    if (this.#leaving || !this.#parts.intake().idle) return undefined;
    return [...this.#parts.offers.keys()].filter((capability) => !this.#parts.intake().isPaused(capability));
  }

  /** The broker cuts a channel whose delivery stays unacked for 30 minutes: long before, the lease takes over alone. */
  watch(): void {
    this.#strays.watch();
    this.#watchAcks();
  }

  #watchAcks(): void {
    const { clock } = this.#instance.ports;
    const most = this.#parts.ackAfterMs ?? ACK_AFTER_MS;
    this.#ackTimer = clock.after(Math.min(30_000, most / 2), () => {
      for (const entry of this.#running.values()) {
        if (clock.monotonic() - entry.attempt.startedAt > most) {
          entry.delivery?.ack();
          entry.delivery = undefined;
        }
      }
      this.#watchAcks();
    });
  }

  /** The task is not ours any more. */
  abandon(id: string, why: Error): void {
    this.#running.get(id)?.attempt.abandon(why);
  }

  abandonAll(why: (id: string) => Error): void {
    for (const { attempt } of this.#running.values()) attempt.abandon(why(attempt.id));
  }

  /** The agent is stopping: what still runs goes back, no attempt burned. */
  handBackAll(why: Error): void {
    for (const { attempt } of this.#running.values()) attempt.handBack(why);
  }

  /** Claims nothing until the returned function is called. */
  hold(): () => void {
    let release: () => void = () => undefined;
    this.#held = new Promise((resolve) => {
      release = () => {
        this.#held = undefined;
        resolve();
      };
    });
    return release;
  }

  /** No dependent is taken past the broker any more. */
  leaving(is = true): void {
    this.#leaving = is;
  }

  stop(): void {
    this.#ackTimer?.();
    this.#strays.stop();
  }
}
