// Hop 3: a ready task goes to the broker. Published and confirmed first, noted in the store second: a crash between the two
// publishes it again, and the claim drops the copy. What fails here stays due in the store, and a relay tries again.

import { exchangeName, taskKey, taskQueue } from '../bus/topology.js';
import { splitTaskId } from '../contracts/names.js';
import { PRIORITIES, type PriorityClass } from '../contracts/priority.js';
import { errorRecord } from '../errors.js';
import type { AgentStore, Bus, Cancel, Clock, HeaderValue, OutgoingMessage, ReadyTask, TaskStore } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';
import { dispatchSpan } from '../telemetry/spans.js';

/** A confirmed task that nobody claimed is looked at again after this long: its queue may have been purged or lost. */
export const RECHECK_MS = 600_000;
/**
 * Confirmations are told to the store this much later: most tasks are claimed by then, and need no telling. Well below the 2 s
 * after which a relay would publish the task again.
 */
const NOTE_MS = 200;
/** Messages with the publisher at once, far below its own limit; more wait their turn. */
const MOST_ACTIVE = 1024;
const RELAY_MS = 250;
const RELAY_BATCH = 256;
/** All agents were busy, or the addressed one is away: asked again after this long. */
const NO_SLOT_MS = 300;
/** After so many tries here the relays have it; what a relay cannot place is due again by itself. */
const LAST_TRY = 4;

export interface DispatcherParts {
  readonly bus: Bus;
  readonly tasks: TaskStore;
  readonly agents: AgentStore;
  readonly clock: Clock;
  readonly prefix: string;
  /** Task messages carry CloudEvents binary-mode headers. */
  readonly cloudEvents: boolean;
  readonly emitter: Emitter;
}

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #waiting: ReadyTask[] = [];
  readonly #confirmed = new Map<string, PriorityClass>();
  #telling: Cancel | undefined;
  /** Handed in and neither confirmed nor given up. */
  #inFlight = 0;
  /** Of these, with the publisher now. */
  #active = 0;
  #idle: (() => void)[] = [];
  #roomy: (() => void)[] = [];
  #timer: Cancel | undefined;
  #stopped = false;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
  }

  /** Starts publishing at once and returns. Failures are announced and left to a relay; this one tries again too. */
  dispatch(tasks: readonly ReadyTask[], tries = 0): void {
    this.#inFlight += tasks.length;
    for (const task of tasks) {
      if (this.#active < MOST_ACTIVE) this.#start(task, tries);
      else this.#waiting.push(task);
    }
  }

  /** Resolves once there is room for more: at once, unless many wait here already. */
  room(): Promise<void> {
    return this.#waiting.length === 0 ? Promise.resolve() : new Promise((resolve) => this.#roomy.push(resolve));
  }

  #start(task: ReadyTask, tries: number): void {
    this.#active += 1;
    this.#publish(task, tries).then(
      () => this.#done(),
      (error) => {
        this.#parts.emitter.emit('loop.failed', { loop: 'dispatch', error: errorRecord(error).message });
        this.#done();
      },
    );
  }

  #done(): void {
    this.#active -= 1;
    this.#inFlight -= 1;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#start(next, 0);
    if (this.#waiting.length === 0 && this.#roomy.length > 0) for (const resolve of this.#roomy.splice(0)) resolve();
    if (this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Told to the store with whatever else was confirmed meanwhile. If that fails, a relay publishes it again. */
  #noteConfirmed(task: ReadyTask): void {
    this.#confirmed.set(task.id, task.priority);
    this.#telling ??= this.#parts.clock.after(NOTE_MS, () => void this.#tellConfirmed());
  }

  /** It is over already: the store need not hear that the broker had it. */
  ended(id: string): void {
    this.#confirmed.delete(id);
  }

  async #tellConfirmed(): Promise<void> {
    this.#telling?.();
    this.#telling = undefined;
    if (this.#confirmed.size === 0) return;
    const confirmed = [...this.#confirmed].map(([id, priority]) => ({ id, priority }));
    this.#confirmed.clear();
    try {
      await this.#parts.tasks.dispatched(confirmed, RECHECK_MS);
    } catch (error) {
      this.#parts.emitter.emit('loop.failed', { loop: 'dispatched', error: errorRecord(error).message });
    }
  }

  async #publish(task: ReadyTask, tries: number): Promise<void> {
    const { bus, agents, prefix, emitter } = this.#parts;
    let exchange = exchangeName(prefix, 'task');
    let routingKey = taskKey(task.capability, task.priority);
    if (task.assignedTo !== undefined || task.leastConnections === true) {
      const agent = task.assignedTo ?? (await this.#reserve(agents, task));
      if (agent === undefined) return this.#later(task, tries);
      exchange = exchangeName(prefix, 'agent');
      routingKey = agent;
    }
    try {
      await dispatchSpan(task, exchange, routingKey, () =>
        bus.publish(taskMessageOf(task, exchange, routingKey, this.#parts.cloudEvents)),
      );
    } catch (error) {
      if (this.#stopped) throw error;
      // The agent's inbox is not there: it never joined, or is gone. The task waits for it, or for the next choice.
      return this.#later(task, tries, (error as { code?: unknown }).code === 'UNROUTABLE' ? undefined : error);
    }
    emitter.emit('task.dispatched', { task: task.id, capability: task.capability, exchange, routing_key: routingKey });
    this.#noteConfirmed(task);
  }

  async #reserve(agents: AgentStore, task: ReadyTask): Promise<string | undefined> {
    const answer = await agents.reserve(task.capability, task.id);
    return 'agent' in answer ? answer.agent : undefined;
  }

  /** Tries again in a moment, four times; then the relays of the managers have it. */
  #later(task: ReadyTask, tries: number, error?: unknown): Promise<void> {
    if (tries >= LAST_TRY || this.#stopped) return error === undefined ? Promise.resolve() : Promise.reject(error);
    return new Promise((resolve, reject) => {
      this.#parts.clock.after(NO_SLOT_MS, () => {
        if (this.#stopped) resolve();
        else this.#publish(task, tries + 1).then(resolve, reject);
      });
    });
  }

  /** Resolves once everything handed in so far was confirmed or given up. */
  async flushed(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    await this.#tellConfirmed();
  }

  /** The relay: publishes what others left behind. Managers run it, every replica; the store hands each task to one of them. */
  startRelay(): void {
    this.#stopped = false;
    const turn = async (): Promise<void> => {
      try {
        while (await this.#relayOnce()) if (this.#stopped) return;
      } catch (error) {
        this.#parts.emitter.emit('loop.failed', { loop: 'relay', error: errorRecord(error).message });
      }
      if (!this.#stopped) this.#timer = this.#parts.clock.after(RELAY_MS, () => void turn());
    };
    void turn();
  }

  async #relayOnce(): Promise<boolean> {
    const { tasks, bus } = this.#parts;
    // What waits here goes first; what is due meanwhile stays due.
    if (bus.state !== 'ready' || this.#waiting.length > 0) return false;
    const due = await tasks.due(RELAY_BATCH);
    const backlog = new Map<string, boolean>();
    const send: ReadyTask[] = [];
    for (const { task, confirmed } of due) {
      if (confirmed && (await this.#hasBacklog(task, backlog))) this.#noteConfirmed(task);
      else send.push(task);
    }
    this.dispatch(send, LAST_TRY);
    return due.length === RELAY_BATCH;
  }

  /** A task confirmed long ago whose queue still holds messages is simply waiting its turn. */
  async #hasBacklog(task: ReadyTask, known: Map<string, boolean>): Promise<boolean> {
    if (task.assignedTo !== undefined || task.leastConnections === true) return false;
    const queue = taskQueue(this.#parts.prefix, task.capability, task.priority);
    let waits = known.get(queue);
    if (waits === undefined) {
      const state = await this.#parts.bus.inspect(queue);
      waits = state === undefined || state.messages > 0;
      known.set(queue, waits);
    }
    return waits;
  }

  stop(): void {
    this.#stopped = true;
    this.#telling?.();
    this.#timer?.();
  }
}

/**
 * The AMQP message of a ready task: properties used as meant, scalar headers. Only what differs from its default is said: each
 * header costs the broker some 3 us (docs/adr/0006).
 */
function taskMessageOf(task: ReadyTask, exchange: string, routingKey: string, cloudEvents: boolean): OutgoingMessage {
  const headers: Record<string, HeaderValue> = { traceparent: task.traceparent };
  if (task.attempt > 1) headers['x-muster-attempt'] = task.attempt;
  if (task.hops > 0) {
    headers['x-muster-hops'] = task.hops;
    headers['x-muster-root'] = task.root;
  }
  const key = taskKey(task.capability, task.priority);
  if (routingKey !== key) {
    // An inbox holds all classes, and what outlives it competes for any agent.
    headers['x-muster-key'] = key;
    headers['x-muster-priority'] = PRIORITIES[task.priority];
  }
  if (cloudEvents) {
    headers.cloudEvents_specversion = '1.0';
    headers.cloudEvents_id = task.id;
    headers.cloudEvents_type = 'muster.task.ready';
    headers.cloudEvents_source = '/muster';
  }
  return {
    exchange,
    routingKey,
    body: Buffer.from(task.body),
    messageId: task.id,
    correlationId: splitTaskId(task.id).run,
    type: 'task',
    appId: 'muster',
    contentType: 'application/json',
    headers,
  };
}
