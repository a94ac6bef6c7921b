// The TaskStore in memory: the model of decide/task-machine.ts in a variable, and notices. Several stores of one MemoryTaskWorld
// are to each other what processes over one Redis are. Runs the same conformance suite as the live one.
import type { Run, Task } from '../contracts/task.js';
import { validateAddition } from '../decide/dag.js';
import { apply, type Command, type CommandName } from '../decide/task-machine.js';
import { emptyModel, type TaskModel } from '../decide/task-model.js';
import { StoreUnavailable } from '../errors.js';
import type { Cancel, Clock, NewRun, StoreNotice, SubmitContext, TaskStore } from '../ports.js';
import { countTasks, dependencyOutcomes, listTasks, readyTasks, runTasks, viewRun, viewTask } from './task-views.js';

export interface MemoryTaskOptions {
  /** How long finished runs are kept, ms. Default 24 h. */
  readonly retentionMs?: number;
}

/** What Redis would hold, shared by all stores of one process, test or simulation. */
export class MemoryTaskWorld {
  readonly model: TaskModel;
  /** While set, every call rejects with STORE_UNAVAILABLE and this reason, and nothing is stored. */
  outage: string | undefined;
  readonly #clock: Clock;
  readonly #listeners = new Map<string, Set<(notice: StoreNotice) => void>>();
  readonly #slotFreed: ((taskId: string) => void)[] = [];

  constructor(clock: Clock, options: MemoryTaskOptions = {}) {
    this.#clock = clock;
    this.model = emptyModel(options.retentionMs);
  }

  /** Another process over the same tasks. */
  store(): TaskStore {
    return new MemoryTaskStore(this);
  }

  /** How many tasks an instance runs. */
  held(instance: string): number {
    return this.model.held.get(instance)?.size ?? 0;
  }

  /** Every task that was claimed or ended: it needs a slot reserved for it no longer. For who keeps reservations. */
  onClaimedOrEnded(listener: (taskId: string) => void): void {
    this.#slotFreed.push(listener);
  }

  carryOut<Name extends CommandName>(command: Command<Name>): ReturnType<typeof apply<Name>> {
    this.checkAvailable();
    const answer = apply(this.model, command, this.#clock.now());
    for (const id of this.model.slotsFreed.splice(0)) for (const listener of this.#slotFreed) listener(id);
    for (const { instance, notice } of this.model.notices.splice(0)) this.#deliver(instance, notice);
    return answer;
  }

  checkAvailable(): void {
    if (this.outage !== undefined) throw StoreUnavailable(this.outage);
  }

  /** As from a socket: after the call that caused it, and to each listener its own copy. */
  #deliver(instance: string, notice: StoreNotice): void {
    const listeners = this.#listeners.get(instance) ?? [];
    for (const listener of listeners) {
      const copy = structuredClone(notice);
      queueMicrotask(() => {
        if (this.#listeners.get(instance)?.has(listener)) listener(copy);
      });
    }
  }

  listen(instance: string, listener: (notice: StoreNotice) => void): Cancel {
    const listeners = this.#listeners.get(instance) ?? new Set();
    // The same function given twice is two listeners.
    const entry = (notice: StoreNotice): void => listener(notice);
    this.#listeners.set(instance, listeners.add(entry));
    return () => {
      listeners.delete(entry);
    };
  }
}

class MemoryTaskStore implements TaskStore {
  readonly #world: MemoryTaskWorld;

  constructor(world: MemoryTaskWorld) {
    this.#world = world;
  }

  get #model(): TaskModel {
    this.#world.checkAvailable();
    return this.#world.model;
  }

  async submit(...[task, context, digest]: Parameters<TaskStore['submit']>): ReturnType<TaskStore['submit']> {
    return this.#world.carryOut({ do: 'submit', ...structuredClone({ task, context }), digest });
  }

  async submitRun(run: NewRun, context: SubmitContext): ReturnType<TaskStore['submitRun']> {
    if (run.append) validateAddition(run.tasks);
    return this.#world.carryOut({ do: 'submitRun', ...structuredClone({ run, context }) });
  }

  async claim(request: Parameters<TaskStore['claim']>[0]): ReturnType<TaskStore['claim']> {
    return this.#world.carryOut({ do: 'claim', ...request });
  }

  async settle(settlement: Parameters<TaskStore['settle']>[0]): ReturnType<TaskStore['settle']> {
    return this.#world.carryOut({ do: 'settle', settlements: [structuredClone(settlement)] })[0]!;
  }

  async progress(id: string, token: number, fraction: number, note: string | undefined): Promise<boolean> {
    return this.#world.carryOut({ do: 'progress', id, token, fraction, ...(note === undefined ? {} : { note }) });
  }

  async cancel(...[id, how]: Parameters<TaskStore['cancel']>): ReturnType<TaskStore['cancel']> {
    return this.#world.carryOut({ do: 'cancel', id, how });
  }

  async approve(id: string): ReturnType<TaskStore['approve']> {
    return this.#world.carryOut({ do: 'approve', id });
  }

  async dispatched(...[tasks, recheckMs]: Parameters<TaskStore['dispatched']>): Promise<void> {
    this.#world.carryOut({ do: 'dispatched', tasks, recheckMs });
  }

  async due(limit: number): ReturnType<TaskStore['due']> {
    return this.#world.carryOut({ do: 'due', limit });
  }

  async release(limit: number): ReturnType<TaskStore['release']> {
    return this.#world.carryOut({ do: 'release', limit });
  }

  async overdue(graceMs: number, limit: number): ReturnType<TaskStore['overdue']> {
    return this.#world.carryOut({ do: 'overdue', graceMs, limit });
  }

  async rescue(...[holder, maxLost, limit]: Parameters<TaskStore['rescue']>): ReturnType<TaskStore['rescue']> {
    return this.#world.carryOut({ do: 'rescue', holder, maxLost, limit });
  }

  async expire(limit: number): Promise<number> {
    return this.#world.carryOut({ do: 'expire', limit });
  }

  async find(id: string): Promise<Task | undefined> {
    const record = this.#model.tasks.get(id);
    return record === undefined ? undefined : viewTask(this.#model, record);
  }

  async body(id: string): Promise<string | undefined> {
    return this.#model.tasks.get(id)?.task.body;
  }

  async held(holder: string): Promise<readonly string[]> {
    return [...(this.#model.held.get(holder) ?? [])];
  }

  async token(id: string, holder: string): Promise<number | undefined> {
    const record = this.#model.tasks.get(id);
    return record?.state === 'running' && record.holder === holder ? record.token : undefined;
  }

  async findRun(id: string): Promise<Run | undefined> {
    return viewRun(this.#model, id);
  }

  async watch(id: string, watcher: string): ReturnType<TaskStore['watch']> {
    return this.#world.carryOut({ do: 'watch', id, watcher });
  }

  async list(filter: Parameters<TaskStore['list']>[0]): ReturnType<TaskStore['list']> {
    return listTasks(this.#model, filter);
  }

  async runTasks(run: string): Promise<readonly string[]> {
    return runTasks(this.#model, run);
  }

  async readyTasks(limit: number): ReturnType<TaskStore['readyTasks']> {
    return readyTasks(this.#model, limit);
  }

  async dependencies(id: string): ReturnType<TaskStore['dependencies']> {
    return dependencyOutcomes(this.#model, id);
  }

  async counts(): ReturnType<TaskStore['counts']> {
    return countTasks(this.#model);
  }

  async onNotice(instance: string, listener: (notice: StoreNotice) => void): Promise<Cancel> {
    this.#world.checkAvailable();
    return this.#world.listen(instance, listener);
  }
}
