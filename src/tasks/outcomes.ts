// Waiting for results, in any process: the store tells the instance that submitted or asked; polling makes up for lost notices.
import type { TaskOutcome } from '../contracts/task.js';
import { errorRecord, TaskNotFound } from '../errors.js';
import type { Cancel, Clock, RunOutcome, StoreNotice, TaskStore } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';

const POLL_MS = 2000;
/** Outcomes of own submissions kept until somebody asks; older ones are asked of the store again. */
const REMEMBERED = 20_000;

type Ended = TaskOutcome | RunOutcome;
interface Waiter {
  readonly resolve: (outcome: Ended) => void;
  readonly reject: (error: unknown) => void;
}

export interface OutcomesParts {
  readonly tasks: TaskStore;
  readonly clock: Clock;
  readonly instance: string;
  readonly emitter: Emitter;
  /** Hears of every task that ended, as far as this instance is told. */
  readonly onEnded: (id: string) => void;
}

export class Outcomes {
  readonly #tasks: TaskStore;
  readonly #clock: Clock;
  readonly #instance: string;
  readonly #emitter: Emitter;
  readonly #onEnded: (id: string) => void;
  /** Submitted here and not yet ended: their notice comes without asking. */
  readonly #own = new Set<string>();
  readonly #waiters = new Map<string, Waiter[]>();
  readonly #recent = new Map<string, Ended>();
  #unsubscribe: Cancel | undefined;
  #timer: Cancel | undefined;
  readonly #onCancel = new Set<(id: string, reason: string) => void>();

  constructor(parts: OutcomesParts) {
    this.#tasks = parts.tasks;
    this.#clock = parts.clock;
    this.#instance = parts.instance;
    this.#emitter = parts.emitter;
    this.#onEnded = parts.onEnded;
  }

  async start(): Promise<void> {
    this.#unsubscribe = await this.#tasks.onNotice(this.#instance, (notice) => this.#hear(notice));
    this.#schedulePoll();
  }

  /** Hears that a task running here was cancelled. */
  onCancel(listener: (id: string, reason: string) => void): Cancel {
    this.#onCancel.add(listener);
    return () => this.#onCancel.delete(listener);
  }

  /** Called before a submission: its notice may come before the submission's own answer. */
  expect(id: string): void {
    this.#own.add(id);
    if (this.#own.size > REMEMBERED) this.#own.delete(this.#own.values().next().value as string);
  }

  /** It was submitted before, perhaps by another process that is the one told, or it has ended already: whoever waits must ask. */
  unexpect(id: string): void {
    this.#own.delete(id);
  }

  /** How a task or run ended. Rejects with TASK_NOT_FOUND for an id the store does not know. */
  async wait(id: string): Promise<Ended> {
    const known = this.#recent.get(id);
    if (known !== undefined) return known;
    const promise = new Promise<Ended>((resolve, reject) => {
      const list = this.#waiters.get(id);
      if (list === undefined) this.#waiters.set(id, [{ resolve, reject }]);
      else list.push({ resolve, reject });
    });
    if (!this.#own.has(id)) this.#ask(id);
    return promise;
  }

  #ask(id: string): void {
    this.#tasks.watch(id, this.#instance).then(
      (answer) => {
        if (answer === 'unknown') this.#fail(id, TaskNotFound(id));
        else if (answer !== 'pending') this.#settle(id, answer);
      },
      // The store is away: the next poll asks again.
      (error) => this.#emitter.emit('loop.failed', { loop: 'outcomes', error: errorRecord(error).message }),
    );
  }

  #hear(notice: StoreNotice): void {
    if (notice.kind === 'cancel') {
      for (const listener of this.#onCancel) listener(notice.id, notice.reason);
    } else if (notice.kind === 'run_ended') {
      const { run, status, ms } = notice;
      this.#emitter.emit('run.finished', { run, status, duration_ms: ms });
      this.#settle(run, { run, status });
    } else if (notice.fetch === true) {
      this.#onEnded(notice.id);
      if (this.#waiters.has(notice.id)) this.#ask(notice.id);
      this.#own.delete(notice.id);
    } else {
      this.#onEnded(notice.id);
      const { kind: _kind, ...outcome } = notice;
      this.#settle(notice.id, outcome);
    }
  }

  #settle(id: string, outcome: Ended): void {
    const own = this.#own.delete(id);
    const waiting = this.#waiters.get(id);
    if (waiting !== undefined) {
      this.#waiters.delete(id);
      for (const waiter of waiting) waiter.resolve(outcome);
    } else if (own) {
      this.#recent.set(id, outcome);
      if (this.#recent.size > REMEMBERED) this.#recent.delete(this.#recent.keys().next().value as string);
    }
  }

  #fail(id: string, error: unknown): void {
    const waiting = this.#waiters.get(id) ?? [];
    this.#waiters.delete(id);
    for (const waiter of waiting) waiter.reject(error);
  }

  #schedulePoll(): void {
    this.#timer = this.#clock.after(POLL_MS, () => {
      // Pub/sub may lose a notice (a reconnect): whoever still waits asks again, some hundred at a time, in rotation.
      for (const [id, list] of [...this.#waiters].slice(0, 500)) {
        this.#waiters.delete(id);
        this.#waiters.set(id, list);
        this.#ask(id);
      }
      this.#schedulePoll();
    });
  }

  /** Whoever still waits is rejected with `error`. */
  stop(error: unknown): void {
    this.#timer?.();
    this.#unsubscribe?.();
    for (const id of [...this.#waiters.keys()]) this.#fail(id, error);
  }
}
