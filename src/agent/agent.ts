// An agent: joins the registry, takes tasks and requests for what it offers, and leaves in good order.
import { capabilityTopology, inboxTopology } from '../bus/topology.js';
import type { AgentCard } from '../contracts/agent.js';
import { name as nameSchema } from '../contracts/names.js';
import { errorRecord, InvalidInput, LeaseLost, TaskCancelled } from '../errors.js';
import type { Cancel, RegistryChange } from '../ports.js';
import { validate } from '../tasks/prepare.js';
import { rescueAll } from '../tasks/rescuer.js';
import { createHandlerLog } from '../telemetry/handler-log.js';
import type { AgentOptions } from './agent-options.js';
import type { AttemptParts } from './attempt.js';
import { Attempts } from './attempts.js';
import type { Offer } from './capability.js';
import { Client } from './client.js';
import type { Instance } from './instance.js';
import { Intake } from './intake.js';
import { Lease } from './lease.js';
import { Responder } from './responder.js';
import { sourcesOf } from './turns.js';

const RETRY_MS = 500;
/** Two turns of the reaper: by then it has rescued what this instance held, and forgotten it. */
const REAPED_MS = 2500;

export class RunningAgent {
  readonly id: string;
  readonly client: Client;
  readonly #instance: Instance;
  readonly #offers: ReadonlyMap<string, Offer>;
  readonly #options: AgentOptions;
  readonly #intake: Intake;
  readonly #lease: Lease;
  readonly #responder: Responder;
  readonly #attempts: Attempts;
  readonly #closePorts: () => Promise<void>;
  #offs: Cancel[] = [];
  #stopping: Promise<void> | undefined;
  #draining = false;
  #onBusy: ((busy: number) => void) | undefined;
  #rejoining = false;

  private constructor(
    id: string,
    offers: readonly Offer[],
    options: AgentOptions,
    instance: Instance,
    closePorts: () => Promise<void>,
  ) {
    this.id = id;
    this.#instance = instance;
    this.#offers = new Map(offers.map((offer) => [offer.name, offer]));
    this.#options = options;
    this.#closePorts = closePorts;
    this.client = new Client(instance, () => this.stop());
    const { ports, config, emitter, manager } = instance;
    const prefix = config.MUSTER_PREFIX;
    const parts: AttemptParts = {
      agentId: id,
      instance: instance.id,
      tasks: ports.tasks,
      manager,
      clock: ports.clock,
      random: ports.random,
      emitter,
      workspaceRoot: config.WORKSPACE_DIR,
      maxPayload: config.MUSTER_MAX_PAYLOAD,
      log: createHandlerLog(config.MUSTER_LOG_LEVEL, { component: 'handler', agent_id: id }),
      clientFor: (origin) => this.client.onBehalfOf(origin),
    };
    this.#attempts = new Attempts({
      instance,
      offers: this.#offers,
      agentName: options.name ?? id,
      attempt: parts,
      intake: () => this.#intake,
      ackAfterMs: options.ackAfterMs,
    });
    this.#intake = new Intake({
      bus: ports.bus,
      clock: ports.clock,
      emitter,
      sources: sourcesOf(prefix, id, [...this.#offers.keys()]),
      capacity: this.#capacity,
      reserveP0: Math.min(options.reserveP0 ?? 0, this.#capacity - 1),
      drain: options.drain ?? 'auto',
      start: (delivery) => this.#attempts.handle(delivery),
      onBusy: (busy) => this.#onBusy?.(busy),
    });
    this.#lease = new Lease({
      agents: ports.agents,
      clock: ports.clock,
      emitter,
      instance: instance.id,
      agentId: id,
      leaseMs: config.MUSTER_LEASE_MS,
      prefix,
      redisUrl: ports.redisUrl,
      onLost: (why) => void this.#rejoin(why),
    });
    this.#responder = new Responder({
      agentId: id,
      bus: ports.bus,
      clock: ports.clock,
      prefix,
      emitter,
      offers: this.#offers,
      most: options.requests ?? Math.max(16, this.#capacity),
      workspaceRoot: config.WORKSPACE_DIR,
      log: parts.log,
      random: ports.random,
      client: this.client,
    });
  }

  /** Joins and begins to take tasks. */
  static async start(
    id: string,
    offers: readonly Offer[],
    options: AgentOptions,
    instance: Instance,
    closePorts: () => Promise<void>,
  ): Promise<RunningAgent> {
    validate(nameSchema, id, 'The agent id');
    if (new Set(offers.map((offer) => offer.name)).size !== offers.length)
      throw InvalidInput(`Agent '${id}'`, 'it offers a capability twice');
    const agent = new RunningAgent(id, offers, options, instance, closePorts);
    await agent.#begin();
    return agent;
  }

  get #capacity(): number {
    return this.#options.concurrency ?? this.#instance.config.WORKER_CONCURRENCY;
  }

  async #begin(): Promise<void> {
    const { ports, config, outcomes, mailbox } = this.#instance;
    const prefix = config.MUSTER_PREFIX;
    await Promise.all([
      ...[...this.#offers.keys()].map((capability) => ports.bus.declare(capabilityTopology(prefix, capability))),
      ports.bus.declare(inboxTopology(prefix, this.id)),
    ]);
    this.#offs.push(outcomes.onCancel((id, reason) => this.#attempts.abandon(id, TaskCancelled(id, reason))));
    mailbox.add({ onRequest: (event, message) => this.#responder.answer(event, message) });
    const [paused] = await Promise.all([ports.agents.paused(), this.#join()]);
    for (const capability of paused) if (this.#offers.has(capability)) await this.#intake.setPaused(capability, true);
    this.#offs.push(await ports.agents.onChange((change) => this.#onChange(change)));
    await this.#intake.start();
    this.#lease.start();
    this.#attempts.watch();
  }

  async #join(): Promise<void> {
    const { ports, config, emitter } = this.#instance;
    const capabilities = [...this.#offers.values()].map((offer) => offer.record);
    const { name, tags, metadata, baseUrl } = this.#options;
    const card: AgentCard = {
      agent_id: this.id,
      agent_name: name ?? this.id,
      ...(baseUrl === undefined ? {} : { base_url: baseUrl }),
      capabilities,
      capacity: this.#capacity,
      tags: [...(tags ?? [])],
      metadata: { ...metadata },
    };
    await ports.agents.join(card, this.#instance.id, 'full', config.MUSTER_LEASE_MS);
    emitter.emit('agent.joined', {
      agent: this.id,
      instance: this.#instance.id,
      capabilities: capabilities.map((c) => c.name),
    });
  }

  /** The lease is lost: what runs here is someone else's now. Stops it, lets the reaper finish with us, and joins anew. */
  async #rejoin(why: string): Promise<void> {
    if (this.#rejoining) return;
    this.#rejoining = true;
    const { emitter, ports, manager, id } = this.#instance;
    emitter.emit('agent.left', { agent: this.id, instance: this.#instance.id, reason: 'lease_expired' });
    const resume = this.#attempts.hold();
    this.#attempts.abandonAll((id) => LeaseLost(id));
    for (let waitMs = REAPED_MS; this.#stopping === undefined; waitMs = RETRY_MS) {
      await new Promise<void>((resolve) => ports.clock.after(waitMs, resolve));
      try {
        // Whoever reaps us may be slower, or spare us after an outage: what we held must be free before we hold anew.
        await rescueAll({ tasks: ports.tasks, manager, emitter }, id, 'lease_expired');
        await this.#join();
        break;
      } catch (error) {
        emitter.emit('loop.failed', { loop: `rejoin after: ${why}`, error: errorRecord(error).message });
      }
    }
    this.#rejoining = false;
    resume();
    // Who joins anew is not draining any more: the registry has forgotten it.
    this.resume();
  }

  #onChange(change: RegistryChange): void {
    if (change.kind === 'draining' && change.agent_id === this.id) {
      if (change.draining) void this.drain();
      else this.resume();
    }
    if (
      change.kind === 'left' &&
      change.agent_id === this.id &&
      change.instance === this.#instance.id &&
      change.reason !== 'stopped'
    ) {
      void this.#rejoin('the registry dropped it');
    }
    if ((change.kind === 'paused' || change.kind === 'resumed') && this.#offers.has(change.capability)) {
      this.#intake.setPaused(change.capability, change.kind === 'paused').catch((error) => {
        this.#instance.emitter.emit('loop.failed', { loop: 'pause', error: errorRecord(error).message });
      });
    }
  }

  /** Hears how many tasks run here, whenever that changes: for its utilisation. */
  onBusy(listener: (busy: number) => void): void {
    this.#onBusy = listener;
  }

  /** Tasks running now. */
  get busy(): number {
    return this.#intake.busy;
  }

  get capacity(): number {
    return this.#capacity;
  }

  get instance(): Instance {
    return this.#instance;
  }

  /** Takes no new task; running ones go on. Resolves when the last is done. */
  async drain(): Promise<void> {
    if (!this.#draining) {
      this.#draining = true;
      this.#attempts.leaving();
      this.#instance.emitter.emit('agent.draining', { agent: this.id });
    }
    await this.#intake.stop();
    await this.#settled(Number.POSITIVE_INFINITY);
  }

  /** Takes tasks again after drain(). */
  resume(): void {
    if (!this.#draining || this.#stopping !== undefined) return;
    this.#draining = false;
    this.#attempts.leaving(false);
    this.#intake.resume();
  }

  #settled(ms: number): Promise<void> {
    const { clock } = this.#instance.ports;
    const deadline = clock.monotonic() + ms;
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.#intake.busy === 0 || clock.monotonic() >= deadline) resolve();
        else clock.after(20, look);
      };
      look();
    });
  }

  /** Drains for MUSTER_DRAIN_MS, hands back what is still running (no attempt burned), leaves and disconnects. */
  stop(): Promise<void> {
    this.#stopping ??= this.#leave();
    return this.#stopping;
  }

  async #leave(): Promise<void> {
    const { config, ports, emitter } = this.#instance;
    // A step that fails (a broker that does not answer) must not keep the next from being taken: the process would never end.
    const step = async (loop: string, action: () => Promise<unknown>): Promise<void> => {
      try {
        await action();
      } catch (error) {
        emitter.emit('loop.failed', { loop, error: errorRecord(error).message });
      }
    };
    this.#responder.stop();
    this.#attempts.leaving();
    await step('stop intake', () => this.#intake.stop());
    await this.#settled(config.MUSTER_DRAIN_MS);
    this.#attempts.handBackAll(new Error(`Agent '${this.id}' is stopping.`));
    await this.#settled(6000);
    this.#attempts.stop();
    for (const off of this.#offs) off();
    await step('stop lease', () => this.#lease.stop());
    // The store may be away: the lease then runs out by itself.
    await step('leave', async () => {
      await ports.agents.leave(this.id, this.#instance.id, 'stopped');
      emitter.emit('agent.left', { agent: this.id, instance: this.#instance.id, reason: 'stopped' });
    });
    await step('close', () => this.#instance.close());
    await this.#closePorts();
  }
}
