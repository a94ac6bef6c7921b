// One process on the bus, or one agent of several in it: its identity, its mailbox, and the services of the road bound to it.

import { randomName } from '../clock.js';
import type { Config } from '../config.js';
import { Closed } from '../errors.js';
import type { AgentStore, Bus, Cancel, Clock, Random, TaskStore } from '../ports.js';
import { Registry } from '../registry/registry.js';
import { Dispatcher } from '../tasks/dispatcher.js';
import { TaskManager } from '../tasks/manager.js';
import { Outcomes } from '../tasks/outcomes.js';
import { createEmitter, type Emitter } from '../telemetry/emitter.js';
import { EventFeed } from './feed.js';
import { Mailbox } from './mailbox.js';
import { Requests } from './requests.js';

/** The world as one process sees it: live, or in memory. */
export interface Ports {
  readonly bus: Bus;
  readonly tasks: TaskStore;
  readonly agents: AgentStore;
  readonly clock: Clock;
  readonly random: Random;
  /** Where a lease thread of its own would connect; undefined in memory. */
  readonly redisUrl?: string;
  /** Hears what everything on these ports announces: logs, metrics. Called once per emitter. */
  readonly observe: (emitter: Emitter) => void;
  close(): Promise<void>;
}

const REGISTRY_EVENTS: ReadonlySet<string> = new Set([
  'agent.joined',
  'agent.left',
  'agent.draining',
  'queue.paused',
  'queue.resumed',
]);

/** How long closing waits for the broker to confirm what was accepted; a relay has the rest. */
const FLUSH_MS = 5000;

export class Instance {
  readonly id: string;
  readonly ports: Ports;
  readonly config: Config;
  readonly emitter: Emitter;
  readonly dispatcher: Dispatcher;
  readonly outcomes: Outcomes;
  readonly manager: TaskManager;
  readonly mailbox: Mailbox;
  readonly requests: Requests;
  readonly registry: Registry;
  /** One manager of a fleet announces what it sees change in the registry. */
  announces = false;
  readonly #feed: EventFeed;
  #registryStarted: Promise<void> | undefined;
  #offRegistry: Cancel | undefined;
  #closed = false;

  private constructor(ports: Ports, config: Config, id: string) {
    const { bus, tasks, agents, clock } = ports;
    const prefix = config.MUSTER_PREFIX;
    this.id = id;
    this.ports = ports;
    this.config = config;
    this.emitter = createEmitter(id, clock);
    ports.observe(this.emitter);
    const { emitter } = this;
    this.dispatcher = new Dispatcher({
      bus,
      tasks,
      agents,
      clock,
      prefix,
      cloudEvents: config.MUSTER_CLOUDEVENTS === 'binary',
      emitter,
    });
    this.outcomes = new Outcomes({
      tasks,
      clock,
      instance: id,
      emitter,
      onEnded: (task) => this.dispatcher.ended(task),
    });
    this.manager = new TaskManager({
      bus,
      tasks,
      dispatcher: this.dispatcher,
      outcomes: this.outcomes,
      emitter,
      instance: id,
      limits: { maxPayload: config.MUSTER_MAX_PAYLOAD, maxHops: config.MUSTER_MAX_HOPS },
    });
    this.mailbox = new Mailbox({ bus, prefix, instance: id, emitter });
    this.requests = new Requests({ bus, clock, prefix, instance: id, emitter });
    this.registry = new Registry({
      store: agents,
      clock,
      emit: (event, data) => {
        // Joining, leaving and pausing are announced by whoever does it; that the capabilities changed only a view of both can tell.
        if (event === 'agent.changed' || !REGISTRY_EVENTS.has(event)) emitter.emit(event, data);
      },
      announces: () => this.announces,
    });
    this.#feed = new EventFeed({ bus, clock, prefix, emitter });
    this.mailbox.add({
      onResponse: (response) => this.requests.onResponse(response),
      onControl: (command) => {
        if (command.command === 'events_wanted') this.#feed.wanted();
      },
    });
  }

  /** Opens the mailbox and listens for outcomes. `name` is the agent id, 'client' or 'manager'. */
  static async open(ports: Ports, config: Config, name: string): Promise<Instance> {
    const instance = new Instance(ports, config, `${name}-${randomName(6)}`);
    await Promise.all([instance.mailbox.open(), instance.outcomes.start()]);
    return instance;
  }

  /** The live view of the registry; loaded at first use, since many a client never asks. */
  async agents(): Promise<Registry> {
    this.#registryStarted ??= this.#startRegistry();
    await this.#registryStarted;
    return this.registry;
  }

  async #startRegistry(): Promise<void> {
    // A request to an agent that is given up would otherwise wait for its own timeout, minutes perhaps.
    this.#offRegistry = await this.ports.agents.onChange((change) => {
      if (change.kind === 'left') this.requests.lost(change.instance);
    });
    await this.registry.start();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Publishes what was accepted, then lets go. Waiters are rejected with CLOSED. Does not close the ports. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await new Promise<void>((resolve) => {
      const cancel = this.ports.clock.after(FLUSH_MS, resolve);
      void this.dispatcher.flushed().then(() => {
        cancel();
        resolve();
      });
    });
    const error = Closed(`Instance '${this.id}'`);
    this.dispatcher.stop();
    this.outcomes.stop(error);
    this.requests.stop(error);
    this.#feed.stop();
    this.#offRegistry?.();
    if (this.#registryStarted !== undefined) this.registry.stop();
    await this.mailbox.close();
  }
}
