// Hop 1: accepts tasks and runs, cancels and approves them. Lives in every full process: the store is the authority, so any
// number of managers may act at once, and any of them may die between two lines.
import { newRunId, randomName } from '../clock.js';
import { splitTaskId } from '../contracts/names.js';
import { PRIORITIES } from '../contracts/priority.js';
import type { RunSpec, TaskReason, TaskSpec } from '../contracts/task.js';
import {
  BrokerUnavailable,
  DuplicateTask,
  errorRecord,
  IdempotencyConflict,
  InvalidInput,
  SubmissionInProgress,
  TaskNotFound,
  Throttled,
  UnknownDependency,
} from '../errors.js';
import type { Bus, NewTask, ReadyTask, SettleAnswer, SubmitContext, TaskStore } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';
import type { Dispatcher } from './dispatcher.js';
import type { Outcomes } from './outcomes.js';
import { digestOf, type Limits, prepareRun, prepareTask, runIdOfKey } from './prepare.js';

/** Where a submission comes from: a handler's own submissions carry its root and one hop more. */
export interface Origin {
  readonly traceparent: string;
  readonly root?: string;
  readonly hops?: number;
}

export interface ManagerParts {
  readonly bus: Bus;
  readonly tasks: TaskStore;
  readonly dispatcher: Dispatcher;
  readonly outcomes: Outcomes;
  readonly emitter: Emitter;
  /** The instance that is told how its tasks ended. */
  readonly instance: string;
  readonly limits: Limits & { readonly maxHops: number };
}

/** Dependents released in one call of the store. */
const RELEASE = 250;

export class TaskManager {
  readonly #parts: ManagerParts;

  constructor(parts: ManagerParts) {
    this.#parts = parts;
  }

  /** Accepts one task and resolves to its id: from here on it cannot be lost. */
  async submit(spec: TaskSpec, origin: Origin, idempotencyKey?: string): Promise<string> {
    this.#checkAccepting();
    // No faster than the broker confirms: bodies wait with whoever submits, not here.
    await this.#parts.dispatcher.room();
    const id = idempotencyKey === undefined ? newRunId() : runIdOfKey(idempotencyKey);
    const task = prepareTask(id, spec, origin.traceparent, this.#parts.limits);
    const digest = idempotencyKey === undefined ? '' : digestOf(spec);
    const answer = await this.#store(task, origin, digest);
    if (answer === 'conflict') throw IdempotencyConflict(idempotencyKey ?? id);
    return id;
  }

  /** Takes over a task that was published without a record: true if it is stored now, whoever stored it. */
  async adopt(task: NewTask, origin: Origin): Promise<boolean> {
    return (await this.#store(task, origin, 'adopted', true)) !== 'conflict';
  }

  async #store(
    task: NewTask,
    origin: Origin,
    digest: string,
    adopted = false,
  ): Promise<'accepted' | 'duplicate' | 'conflict'> {
    const { tasks, outcomes, dispatcher, emitter } = this.#parts;
    if (!adopted) outcomes.expect(task.id);
    const answer = await tasks.submit(task, this.#context(task.id, origin, adopted), digest);
    if (answer.outcome === 'accepted') {
      emitter.emit('task.submitted', {
        task: task.id,
        capability: task.capability,
        priority: PRIORITIES[task.priority],
      });
      // An adopted task has its message already: the one in hand.
      if (answer.ready !== undefined && !adopted) dispatcher.dispatch([answer.ready]);
    } else if (!adopted) {
      outcomes.unexpect(task.id);
    }
    return answer.outcome;
  }

  /**
   * Accepts a whole run or nothing of it; resolves to the run's id and its task ids by key. With `appendTo`, adds the tasks to a
   * run that exists (at most 500 at once).
   */
  async submitRun(
    spec: RunSpec,
    origin: Origin,
    appendTo?: string,
  ): Promise<{ run: string; tasks: readonly string[] }> {
    this.#checkAccepting();
    if (appendTo !== undefined && spec.tasks.length > 500) {
      throw InvalidInput('The run', `at most 500 tasks can be added to a run at once, these are ${spec.tasks.length}`);
    }
    const run =
      appendTo ?? spec.id ?? (spec.idempotency_key === undefined ? newRunId() : runIdOfKey(spec.idempotency_key));
    const existing = appendTo === undefined ? undefined : await this.#keysOf(run);
    const prepared = prepareRun(run, keyed(spec, existing), origin.traceparent, this.#parts.limits, existing);
    const repeatable = spec.idempotency_key !== undefined || spec.id !== undefined;
    const context = this.#context(run, origin, false);
    const answer = await this.#parts.tasks.submitRun(
      {
        run,
        tasks: prepared,
        labels: spec.labels ?? {},
        digest: repeatable ? digestOf({ ...spec, traceparent: undefined }) : '',
        append: appendTo !== undefined,
        leaveRest: true,
      },
      context,
    );
    switch (answer.outcome) {
      case 'accepted':
        this.#parts.emitter.emit('run.submitted', { run, tasks: prepared.length });
        // Accepted: the rest of a large run is released while its first tasks are on their way. If we die, the rescuer goes on.
        this.follow({ outcome: 'settled', ready: answer.ready, ended: [], more: answer.more === true }).catch((error) =>
          this.#parts.emitter.emit('loop.failed', { loop: 'release', error: errorRecord(error).message }),
        );
        break;
      case 'duplicate':
        break;
      case 'conflict':
        throw IdempotencyConflict(spec.idempotency_key ?? run);
      case 'busy':
        throw SubmissionInProgress(run);
      case 'no_run':
        throw TaskNotFound(run);
      case 'task_exists':
        throw DuplicateTask(answer.key);
      case 'unknown_dependency':
        throw UnknownDependency(answer.task, answer.dependency);
    }
    return { run, tasks: prepared.map((task) => task.id) };
  }

  async #keysOf(run: string): Promise<ReadonlySet<string>> {
    const ids = await this.#parts.tasks.runTasks(run);
    if (ids.length === 0) throw TaskNotFound(run);
    return new Set(ids.map((id) => splitTaskId(id).key));
  }

  /** Ends a task that is not final yet; its dependents follow by their rules. */
  async cancel(
    id: string,
    reason: TaskReason = 'cancelled_by_request',
    note?: string,
  ): Promise<{ cancelled: boolean; state: string }> {
    const state = reason === 'deadline' || reason === 'timeout' ? 'dead' : 'cancelled';
    const answer = await this.#parts.tasks.cancel(id, { state, reason, ...(note === undefined ? {} : { note }) });
    if (answer.outcome === 'unknown') throw TaskNotFound(id);
    if (answer.outcome === 'already_final') return { cancelled: false, state: answer.state };
    const capability = answer.capability ?? '';
    if (state === 'cancelled') this.#parts.emitter.emit('task.cancelled', { task: id, capability, reason });
    else this.#parts.emitter.emit('task.dead', { task: id, capability, reason, attempt: 0, error: reason });
    await this.follow(answer.released);
    return { cancelled: true, state };
  }

  /** Cancels every unfinished task of a run; resolves to how many. */
  async cancelRun(run: string): Promise<number> {
    const ids = await this.#parts.tasks.runTasks(run);
    if (ids.length === 0) throw TaskNotFound(run);
    let cancelled = 0;
    for (let from = 0; from < ids.length; from += 100) {
      const answers = await Promise.all(ids.slice(from, from + 100).map((id) => this.cancel(id)));
      cancelled += answers.filter((answer) => answer.cancelled).length;
    }
    return cancelled;
  }

  async approve(id: string): Promise<boolean> {
    const answer = await this.#parts.tasks.approve(id);
    if (answer.outcome === 'unknown') throw TaskNotFound(id);
    this.release(answer.ready);
    return answer.outcome === 'approved';
  }

  /** Hop 2 done: these became ready. */
  release(ready: readonly ReadyTask[]): void {
    if (ready.length === 0) return;
    const { emitter, dispatcher } = this.#parts;
    for (const task of ready) emitter.emit('task.ready', { task: task.id, capability: task.capability });
    dispatcher.dispatch(ready);
  }

  /** What a settlement set off: dispatches what became ready, announces what fell, and goes on while more waits. */
  async follow(answer: SettleAnswer): Promise<void> {
    for (let step: SettleAnswer = answer; ; step = await this.#parts.tasks.release(RELEASE)) {
      this.release(step.ready);
      for (const end of step.ended) {
        const { id: task, capability, reason } = end;
        if (end.state === 'dead')
          this.#parts.emitter.emit('task.dead', { task, capability, reason, attempt: 0, error: reason });
        else this.#parts.emitter.emit('task.cancelled', { task, capability, reason });
      }
      if (!step.more) return;
      // No faster than the broker confirms: what is released waits in the store, not in this process.
      await this.#parts.dispatcher.room();
    }
  }

  /** "Not accepted" is said before anything is stored, so that it is true. */
  #checkAccepting(): void {
    const { bus } = this.#parts;
    if (bus.state === 'blocked') throw Throttled('its memory or disk alarm is on');
    if (bus.state !== 'ready') throw BrokerUnavailable('the configured address', `the connection is ${bus.state}`);
  }

  #context(id: string, origin: Origin, adopted: boolean): SubmitContext {
    const hops = origin.hops ?? 0;
    if (hops > this.#parts.limits.maxHops) {
      throw InvalidInput(
        'The task',
        `it is ${hops} submissions away from its root '${origin.root}', the limit is ${this.#parts.limits.maxHops} (MUSTER_MAX_HOPS): agents may be submitting to each other in a circle`,
      );
    }
    return {
      owner: adopted ? '' : this.#parts.instance,
      traceparent: origin.traceparent,
      root: origin.root ?? splitTaskId(id).run,
      hops,
    };
  }
}

/** Tasks added to a run get keys that are free there. */
function keyed(spec: RunSpec, existing: ReadonlySet<string> | undefined): RunSpec {
  if (existing === undefined) return spec;
  return {
    ...spec,
    tasks: spec.tasks.map((task) =>
      task.key === undefined ? { ...task, key: `${task.capability.slice(0, 55)}-${randomName(6)}` } : task,
    ),
  };
}
