// Hop 8, repair: every second, on every manager, idempotent. Timers that are due, attempts past their time, tasks whose agent is
// gone, releases cut short, and runs whose retention is over. Nothing here decides: decide/settle.ts and the scripts do.
import type { RetryPolicy } from '../contracts/task.js';
import { verdictOf } from '../decide/settle.js';
import { errorRecord, TimedOut } from '../errors.js';
import type { Cancel, Clock, Overdue, Random, TaskStore } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';
import type { TaskManager } from './manager.js';

const TURN_MS = 1000;
/** Timers want to be punctual: they are looked at more often than the rest. */
const TIMERS_MS = 100;
const BATCH = 250;
/** An agent ends its attempts at their timeout by itself; one that does not within this long is ended here. */
const TIMEOUT_GRACE_MS = 2000;
/** A task that outlived this many agents is probably what kills them. */
const MAX_LOST = 5;

export interface RescuerParts {
  readonly tasks: TaskStore;
  readonly manager: TaskManager;
  readonly clock: Clock;
  readonly random: Random;
  readonly emitter: Emitter;
}

export class Rescuer {
  readonly #parts: RescuerParts;
  readonly #timers = new Map<string, Cancel>();
  #stopped = true;

  constructor(parts: RescuerParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#stopped = false;
    this.#every('timers', TIMERS_MS, () => this.releaseDue());
    this.#every('overdue', TURN_MS, () => this.endOverdue());
    this.#every('retention', TURN_MS * 5, () => this.expire());
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#timers.values()) cancel();
  }

  #every(loop: string, ms: number, turn: () => Promise<void>): void {
    const next = async (): Promise<void> => {
      try {
        await turn();
      } catch (error) {
        // The store or the broker is away: the next turn does it.
        this.#parts.emitter.emit('loop.failed', { loop, error: errorRecord(error).message });
      }
      if (!this.#stopped)
        this.#timers.set(
          loop,
          this.#parts.clock.after(ms, () => void next()),
        );
    };
    void next();
  }

  /** Scheduled and retrying tasks whose time has come; releases that were cut short. */
  async releaseDue(): Promise<void> {
    await this.#parts.manager.follow(await this.#parts.tasks.release(BATCH));
  }

  async endOverdue(): Promise<void> {
    for (const task of await this.#parts.tasks.overdue(TIMEOUT_GRACE_MS, 100)) {
      if (task.cause === 'deadline')
        await this.#parts.manager.cancel(task.id, 'deadline', `Task ${task.id} was not done by its deadline.`);
      else await this.#timeOut(task);
    }
  }

  async #timeOut(task: Overdue): Promise<void> {
    const { tasks, manager, random, emitter } = this.#parts;
    const error = errorRecord(TimedOut(`Task '${task.id}'`, task.timeoutMs));
    const { retry } = JSON.parse(task.body) as { retry?: RetryPolicy };
    const verdict = verdictOf(
      { kind: 'timed_out', error },
      { ...task, ...(retry === undefined ? {} : { retry }), random: random() },
    );
    const answer = await tasks.settle({ id: task.id, token: task.token, holder: task.holder, verdict });
    if (answer.outcome !== 'settled') return;
    const about = { task: task.id, capability: task.capability, attempt: task.attempt, error: error.message };
    if (verdict.do === 'retry') emitter.emit('task.retrying', { ...about, after_ms: verdict.afterMs });
    else if (verdict.do === 'die') emitter.emit('task.dead', { ...about, reason: verdict.reason });
    await manager.follow(answer);
  }

  /** Called by the registry's reaper before the instance is forgotten. */
  rescue(instance: string, cause: RescueCause): Promise<number> {
    return rescueAll(this.#parts, instance, cause);
  }

  async expire(): Promise<void> {
    while ((await this.#parts.tasks.expire(BATCH)) >= BATCH) if (this.#stopped) return;
  }
}

type RescueCause = 'lease_expired' | 'agent_gone';

/** Takes back everything an instance holds, and dispatches it anew; resolves to how many tasks that were. Idempotent. */
export async function rescueAll(
  { tasks, manager, emitter }: Pick<RescuerParts, 'tasks' | 'manager' | 'emitter'>,
  instance: string,
  cause: RescueCause,
): Promise<number> {
  let rescued = 0;
  for (let more = true; more; ) {
    const answer = await tasks.rescue(instance, MAX_LOST, BATCH);
    rescued += answer.rescued.length;
    for (const task of answer.rescued)
      emitter.emit('task.rescued', { task: task.id, capability: task.capability, agent: instance, cause });
    await manager.follow({ outcome: 'settled', ready: answer.rescued, ended: answer.ended, more: false });
    more = answer.more;
  }
  return rescued;
}
