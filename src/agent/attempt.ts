// Hops 6 and 7 for one task: run under its deadline, settle. The result is told to the store until it is recorded or the task is
// someone else's; only then its delivery is acked (attempts.ts).

import { splitTaskId } from '../contracts/names.js';
import { type Priority, toPriority } from '../contracts/priority.js';
import type { TaskMessage } from '../contracts/task.js';
import { type AttemptEnd, verdictOf } from '../decide/settle.js';
import { errorRecord, InvalidInput, LeaseLost, PayloadTooLarge, TimedOut } from '../errors.js';
import type { Cancel, Clock, Grant, Random, SettleAnswer, Settlement, TaskStore } from '../ports.js';
import type { TaskManager } from '../tasks/manager.js';
import type { Emitter } from '../telemetry/emitter.js';
import type { Offer } from './capability.js';
import type { Client } from './client.js';
import { type Context, type Log, Workspace } from './context.js';

/** A handler that ignores its signal keeps its slot at most this long after its attempt was ended. */
const LINGER_MS = 5000;
const RETRY_MS = 500;

export interface AttemptParts {
  readonly agentId: string;
  readonly instance: string;
  readonly tasks: TaskStore;
  readonly manager: TaskManager;
  readonly clock: Clock;
  readonly random: Random;
  readonly emitter: Emitter;
  readonly workspaceRoot: string;
  readonly maxPayload: number;
  readonly log: Log;
  readonly clientFor: (origin: { traceparent: string; root: string; hops: number }) => Client;
}

export interface AttemptTask {
  readonly message: TaskMessage;
  readonly traceparent: string;
  readonly root: string;
  readonly hops: number;
}

type Settling = { -readonly [K in keyof Settlement]: Settlement[K] };

/** One attempt at one task. */
export class Attempt implements Context {
  readonly kind = 'task';
  readonly id: string;
  readonly run: string;
  readonly key: string;
  readonly attempt: number;
  readonly token: number;
  readonly agent: string;
  readonly traceparent: string;
  readonly priority: Priority;
  readonly startedAt: number;
  readonly #parts: AttemptParts;
  readonly #task: AttemptTask;
  readonly #grant: Grant;
  readonly #offer: Offer | undefined;
  #abort: AbortController | undefined;
  #aborted: unknown;
  #abandoned = false;
  #end: ((end: AttemptEnd | 'abandoned') => void) | undefined;
  #workspace: Workspace | undefined;
  #client: Client | undefined;

  constructor(parts: AttemptParts, task: AttemptTask, grant: Grant, offer: Offer | undefined) {
    this.#parts = parts;
    this.#task = task;
    this.#grant = grant;
    this.#offer = offer;
    this.id = grant.id;
    const { run, key } = splitTaskId(grant.id);
    this.run = run;
    this.key = key;
    this.attempt = grant.attempt;
    this.token = grant.token;
    this.agent = parts.agentId;
    this.traceparent = task.traceparent;
    this.priority = toPriority(task.message.priority);
    this.startedAt = parts.clock.monotonic();
  }

  get capability(): string {
    return this.#task.message.capability;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#aborted !== undefined) this.#abort.abort(this.#aborted);
    }
    return this.#abort.signal;
  }

  get workspace(): string {
    this.#workspace ??= new Workspace(this.#parts.workspaceRoot, `${this.id}-${this.attempt}`);
    return this.#workspace.path;
  }

  get client(): Client {
    const { traceparent, root, hops } = this.#task;
    this.#client ??= this.#parts.clientFor({ traceparent, root, hops: hops + 1 });
    return this.#client;
  }

  get log(): Log {
    const { log } = this.#parts;
    const about = { task_id: this.id, run_id: this.run, attempt: this.attempt, traceparent: this.traceparent };
    return {
      info: (message, fields) => log.info(message, { ...about, ...fields }),
      warn: (message, fields) => log.warn(message, { ...about, ...fields }),
      error: (message, fields) => log.error(message, { ...about, ...fields }),
    };
  }

  async dependencies(): Promise<Record<string, unknown>> {
    const outcomes = await this.#parts.tasks.dependencies(this.id);
    const results: Record<string, unknown> = Object.create(null);
    for (const [key, outcome] of Object.entries(outcomes))
      if (outcome.status === 'completed') results[key] = outcome.output ?? null;
    return results;
  }

  async progress(fraction: number, note?: string): Promise<void> {
    if (!(fraction >= 0 && fraction <= 1)) throw InvalidInput('The progress', `${fraction} is not between 0 and 1`);
    if (!(await this.#parts.tasks.progress(this.id, this.token, fraction, note))) {
      this.abandon(LeaseLost(this.id));
      throw LeaseLost(this.id);
    }
    const { capability } = this;
    this.#parts.emitter.emit('task.progressed', {
      task: this.id,
      capability,
      fraction,
      ...(note === undefined ? {} : { note }),
    });
  }

  /** The agent is stopping: ends this attempt as nobody's failure. */
  handBack(why: Error): void {
    this.#stop(why, { kind: 'handed_back' });
  }

  /** The task is not ours any more (cancelled, lease lost): nothing we say of it counts. */
  abandon(why: Error): void {
    this.#abandoned = true;
    this.#stop(why, 'abandoned');
  }

  #stop(why: Error, end: AttemptEnd | 'abandoned'): void {
    this.#aborted ??= why;
    this.#abort?.abort(why);
    this.#end?.(end);
  }

  /** Runs the handler to its end, or to the moment the attempt is ended from outside. `slotFree` settles with the handler itself. */
  async perform(): Promise<{ answer: SettleAnswer | 'abandoned'; slotFree: Promise<void> }> {
    const { clock, emitter } = this.#parts;
    const { capability } = this;
    emitter.emit('task.started', {
      task: this.id,
      capability,
      agent: this.agent,
      attempt: this.attempt,
      waited_ms: this.#grant.waitedMs,
      priority: this.priority,
    });
    const timeoutMs = this.#timeoutMs();
    let timer: Cancel | undefined;
    if (timeoutMs !== undefined) {
      timer = clock.after(timeoutMs, () => {
        const error = TimedOut(`Task '${this.id}'`, timeoutMs);
        this.#stop(error, { kind: 'timed_out', error: errorRecord(error) });
      });
    }
    let handler: Promise<void> = Promise.resolve();
    const end = await new Promise<AttemptEnd | 'abandoned'>((resolve) => {
      this.#end = resolve;
      handler = this.#invoke().then(resolve);
    });
    timer?.();
    this.#end = undefined;
    const slotFree = this.#aborted === undefined ? Promise.resolve() : this.#linger(handler);
    if (this.#workspace !== undefined) void slotFree.then(() => this.#workspace?.remove());
    if (end === 'abandoned') return { answer: 'abandoned', slotFree };
    return { answer: await this.#settle(end), slotFree };
  }

  #timeoutMs(): number | undefined {
    const seconds = this.#task.message.constraints?.timeout;
    return seconds === undefined ? this.#offer?.timeoutMs : seconds * 1000;
  }

  async #invoke(): Promise<AttemptEnd> {
    try {
      if (this.#offer === undefined) {
        throw InvalidInput('The task', `agent '${this.agent}' does not offer '${this.capability}'`);
      }
      const output = JSON.stringify(await this.#offer.invoke(this.#task.message.parameters ?? {}, this)) ?? 'null';
      // A string is at most 3 bytes a character: the exact count is only needed near the limit.
      if (output.length * 3 > this.#parts.maxPayload) {
        const bytes = Buffer.byteLength(output);
        if (bytes > this.#parts.maxPayload)
          throw PayloadTooLarge(`The result of task '${this.id}'`, bytes, this.#parts.maxPayload);
      }
      return { kind: 'returned', output };
    } catch (error) {
      return {
        kind: 'failed',
        error: errorRecord(error),
        retryable: (error as { retryable?: unknown })?.retryable !== false,
      };
    }
  }

  /** An ended attempt whose handler is still running holds its slot: concurrency is a promise to the machine, too. */
  #linger(handler: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#parts.clock.after(LINGER_MS, resolve);
      void handler.then(() => {
        cancel();
        resolve();
      });
    });
  }

  /** Takes no next task by default; the agent decides. */
  takeNext: readonly string[] | undefined;

  async #settle(end: AttemptEnd): Promise<SettleAnswer | 'abandoned'> {
    const { random, tasks, clock, emitter, instance } = this.#parts;
    const retry = this.#task.message.retry ?? this.#offer?.retry;
    const verdict = verdictOf(end, {
      failedAttempts: this.#grant.failedAttempts,
      maxAttempts:
        this.#task.message.retry?.max_attempts ?? this.#offer?.retry?.max_attempts ?? this.#grant.maxAttempts,
      ...(retry === undefined ? {} : { retry }),
      random: random(),
    });
    const takeNext = verdict.do === 'complete' ? this.takeNext : undefined;
    const settlement: Settling = {
      id: this.id,
      token: this.token,
      holder: instance,
      verdict,
      ...(takeNext === undefined ? {} : { takeNext }),
    };
    for (;;) {
      try {
        const answer = await tasks.settle(settlement);
        if (answer.outcome === 'settled') this.#announce(verdict);
        else emitter.emit('task.stale', { task: this.id, capability: this.capability, agent: this.agent });
        return answer;
      } catch (error) {
        // The store is away: the result is kept and told again. It may have been recorded the first time: then this is 'stale'.
        emitter.emit('loop.failed', { loop: 'settle', error: errorRecord(error).message });
        if (this.#abandoned) return 'abandoned';
        // Asked for again it could not be told from a task that was granted the first time (strays.ts finds that one).
        delete settlement.takeNext;
        await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
      }
    }
  }

  #announce(verdict: ReturnType<typeof verdictOf>): void {
    const { clock, emitter } = this.#parts;
    const about = { task: this.id, capability: this.capability, attempt: this.attempt };
    switch (verdict.do) {
      case 'complete':
        emitter.emit('task.completed', {
          ...about,
          agent: this.agent,
          duration_ms: clock.monotonic() - this.startedAt,
        });
        break;
      case 'retry':
        emitter.emit('task.retrying', { ...about, after_ms: verdict.afterMs, error: verdict.error.message });
        break;
      case 'die':
        emitter.emit('task.dead', { ...about, reason: verdict.reason, error: verdict.error.message });
        break;
      case 'hand_back':
        emitter.emit('task.rescued', {
          task: this.id,
          capability: this.capability,
          agent: this.agent,
          cause: 'handed_back',
        });
    }
  }
}
