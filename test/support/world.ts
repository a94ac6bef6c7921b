/**
 * A small installation on real brokers, under a prefix of its own: clients, agents in this process and in processes that can be
 * killed, managers. Remembers every event anyone in it announced. close() leaves no process, queue or key behind.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join as joinPath } from 'node:path';
import { type ChannelModel, connect as connectAmqp } from 'amqplib';
import type { Redis } from 'ioredis';
import type { RunningAgent } from '../../src/agent/agent.js';
import type { AgentOptions } from '../../src/agent/agent-options.js';
import type { Offer } from '../../src/agent/capability.js';
import { Client } from '../../src/agent/client.js';
import { configOf, openPorts } from '../../src/agent/connect.js';
import { agent } from '../../src/agent/define.js';
import { Instance } from '../../src/agent/instance.js';
import { serve } from '../../src/agent/serve.js';
import { baseTopology, capabilityTopology, inboxTopology, taskQueue } from '../../src/bus/topology.js';
import type { Config } from '../../src/config.js';
import type { EventName, EventRecord } from '../../src/contracts/events.js';
import { openRedis } from '../../src/redis/client.js';
import type { TaskStep } from './fleet-process.js';

type Manager = Awaited<ReturnType<typeof serve>>;
export type Settings = Partial<Record<keyof Config, string | number>>;
export interface WorldOptions {
  readonly settings?: Settings;
  /** Brokers of the test's own. Default: those of the test run. */
  readonly amqpUrl?: string | undefined;
  readonly redisUrl?: string | undefined;
}

/** A member of the fleet in a process of its own. */
export interface Spawned {
  readonly id: string;
  readonly pid: number;
  signal(name: NodeJS.Signals): void;
  /** SIGKILL; resolves once the process is gone. */
  kill(): Promise<void>;
}

export interface SpawnOptions {
  readonly can?: readonly string[];
  readonly options?: AgentOptions;
}

type Match<N extends EventName> = Partial<EventRecord<N>> | ((record: EventRecord<N>) => boolean);

const PROCESS = joinPath(__dirname, 'fleet-process.ts');
const REGISTER = joinPath(__dirname, 'register.cjs');
const DEADLINE_MS = 10_000;

export class World {
  readonly prefix: string;
  readonly settings: Settings;
  readonly amqpUrl: string;
  readonly events: EventRecord[] = [];
  readonly #hearing = new Set<(record: EventRecord) => void>();
  readonly #agents = new Set<RunningAgent>();
  readonly #clients = new Set<Client>();
  readonly #managers = new Set<Manager>();
  readonly #children = new Set<ChildProcess>();
  readonly #capabilities = new Set<string>();
  readonly #names = new Set<string>();
  readonly #durable = new Set<string>();
  #amqp: ChannelModel | undefined;
  #client: Client | undefined;
  #redis: Redis | undefined;

  private constructor(options: WorldOptions) {
    this.prefix = `t-${randomBytes(6).toString('hex')}`;
    this.amqpUrl = options.amqpUrl ?? process.env.MUSTER_TEST_AMQP_URL ?? '';
    this.settings = {
      AMQP_URL: this.amqpUrl,
      REDIS_URL: options.redisUrl ?? process.env.MUSTER_TEST_REDIS_URL ?? '',
      MUSTER_PREFIX: this.prefix,
      MUSTER_LOG_LEVEL: 'silent',
      MUSTER_TRACES: 'none',
      ...options.settings,
    };
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    const made = new World(options);
    [made.#client, made.#redis] = await Promise.all([
      made.connect('client'),
      openRedis({ url: String(made.settings.REDIS_URL), name: made.prefix }),
    ]);
    return made;
  }

  get client(): Client {
    return this.#client!;
  }

  get redis(): Redis {
    return this.#redis!;
  }

  /** Another client, on connections of its own, as in another process. */
  async connect(name = 'client', settings: Settings = {}): Promise<Client> {
    const config = configOf({ settings: { ...this.settings, ...settings } });
    const ports = await openPorts(config, name);
    const observe = (emitter: Instance['emitter']): void => {
      ports.observe(emitter);
      emitter.on((record) => this.#hear(record));
    };
    const instance = await Instance.open({ ...ports, observe }, config, name);
    const client = new Client(instance, async () => {
      this.#clients.delete(client);
      await instance.close();
      await ports.close();
    });
    this.#clients.add(client);
    return client;
  }

  /** An agent in this process, on connections of its own. */
  async join(id: string, offers: Offer | readonly Offer[], options: AgentOptions = {}): Promise<RunningAgent> {
    const client = await this.connect(id);
    const definition = agent(id, offers, options);
    this.#note(
      id,
      definition.offers.map((offer) => offer.name),
    );
    const running = await definition.start(client);
    this.#agents.add(running);
    return running;
  }

  /** An agent in a process of its own; what its tasks do stands in their parameters (TaskStep). */
  spawnAgent(id: string, { can = ['work'], options = {} }: SpawnOptions = {}): Promise<Spawned> {
    this.#note(id, can);
    return this.#spawn({ role: 'agent', id, can, options });
  }

  spawnManager(): Promise<Spawned> {
    return this.#spawn({ role: 'manager', id: `manager-${this.#children.size}` });
  }

  async manager(): Promise<Manager> {
    const started = await serve({ settings: this.settings });
    started.instance.emitter.on((record) => this.#hear(record));
    this.#managers.add(started);
    return started;
  }

  /** A connection for what a stranger would do. */
  async amqp(): Promise<ChannelModel> {
    this.#amqp ??= await connectAmqp(this.amqpUrl);
    return this.#amqp;
  }

  /** Waits for an event, also one that has happened already. */
  until<N extends EventName>(name: N, match: Match<N> = {}, withinMs = DEADLINE_MS): Promise<EventRecord<N>> {
    const known = this.seen(name, match)[0];
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      const hear = (record: EventRecord): void => {
        if (!fits(record, name, match)) return;
        clearTimeout(timer);
        this.#hearing.delete(hear);
        resolve(record as unknown as EventRecord<N>);
      };
      const timer = setTimeout(() => {
        this.#hearing.delete(hear);
        const last = this.events.slice(-12).map((record) => JSON.stringify(record).slice(0, 300));
        const wanted = typeof match === 'function' ? String(match) : JSON.stringify(match);
        reject(new Error(`No ${name} ${wanted} within ${withinMs} ms. The last events:\n${last.join('\n')}`));
      }, withinMs);
      this.#hearing.add(hear);
    });
  }

  seen<N extends EventName>(name: N, match: Match<N> = {}): EventRecord<N>[] {
    return this.events.filter((record) => fits(record, name, match)) as unknown as EventRecord<N>[];
  }

  /** Every key there is but the registry's own. */
  async storedKeys(): Promise<string[]> {
    const own = new Set([`${this.prefix}:instances`, `${this.prefix}:epoch`]);
    return (await this.redis.keys(`${this.prefix}:*`)).filter((key) => !own.has(key)).sort();
  }

  queueOf(capability: string, priority: 0 | 1 | 2 | 3 = 2): string {
    return taskQueue(this.prefix, capability, priority);
  }

  /** A durable subscription's queue is nobody's but its subscriber's: it is removed with the world. */
  noteDurable(name: string): void {
    this.#durable.add(`${this.prefix}.sub.${name}`);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#children].map(killed));
    await Promise.all([...this.#agents].map((running) => running.stop()));
    await Promise.all([...this.#managers].map((running) => running.stop()));
    const { bus } = this.client.instance.ports;
    const queues = [
      baseTopology(this.prefix),
      ...[...this.#capabilities].map((name) => capabilityTopology(this.prefix, name)),
      ...[...this.#names].map((name) => inboxTopology(this.prefix, name)),
    ].flatMap((topology) => topology.queues.map((queue) => queue.name));
    for (const queue of [...queues, ...this.#durable]) await bus.removeQueue(queue);
    await Promise.all([...this.#clients].map((client) => client.close()));
    await this.#amqp?.close();
    const keys = await this.redis.keys(`${this.prefix}:*`);
    for (let from = 0; from < keys.length; from += 1000) await this.redis.unlink(...keys.slice(from, from + 1000));
    this.redis.disconnect();
  }

  #note(id: string, capabilities: readonly string[]): void {
    this.#names.add(id);
    for (const name of capabilities) this.#capabilities.add(name);
  }

  #hear(record: EventRecord): void {
    this.events.push(record);
    for (const hear of this.#hearing) hear(record);
  }

  #spawn(member: {
    role: 'agent' | 'manager';
    id: string;
    can?: readonly string[];
    options?: AgentOptions;
  }): Promise<Spawned> {
    const child = fork(PROCESS, [JSON.stringify({ ...member, settings: this.settings })], {
      execArgv: ['-r', REGISTER],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#children.add(child);
    return new Promise((resolve, reject) => {
      child.once('exit', (code) =>
        reject(new Error(`${member.role} '${member.id}' ended with ${code} while starting`)),
      );
      child.on('message', (message) => {
        if (message !== 'ready') return this.#hear(message as EventRecord);
        resolve({
          id: member.id,
          pid: child.pid!,
          signal: (name) => void child.kill(name),
          kill: () => killed(child),
        });
      });
    });
  }
}

export const world = (options?: WorldOptions): Promise<World> => World.open(options);

/** What a task in a spawned agent does, as its parameters. */
export const step = (does: TaskStep): TaskStep => does;

function fits<N extends EventName>(record: EventRecord, name: N, match: Match<N>): boolean {
  if (record.event !== name) return false;
  if (typeof match === 'function') return match(record as unknown as EventRecord<N>);
  return Object.entries(match).every(
    ([field, value]) => (record as unknown as Record<string, unknown>)[field] === value,
  );
}

function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}
