// AgentStore on Redis: who is there, how busy, and whose lease ran out. One method per script; the scripts are beside this file.
import type { Redis } from 'ioredis';
import { batched } from '../batch.js';
import { systemClock, systemRandom } from '../clock.js';
import type { AgentCard, AgentRecord } from '../contracts/agent.js';
import { StoreUnavailable } from '../errors.js';
import type { AgentStore, Cancel, Clock, InstanceBeat, Random, RegistryChange } from '../ports.js';
import type { Keys } from '../redis/keys.js';
import { type Argument, loadScript, type Reply, runScript } from '../redis/script.js';
import { storedCard } from './card.js';
import { Links } from './links.js';

const script = (name: string) => loadScript(__dirname, name, ['common']);
const scripts = {
  join: script('join'),
  leave: script('leave'),
  beat: script('beat'),
  load: script('load'),
  reserve: script('reserve'),
  silent: script('silent'),
  mark: script('mark'),
  forget: script('forget'),
};

/** Small enough that a script over so many agents or tasks stays far below a millisecond or two. */
const AGENTS_PER_LOOK = 250;
const TASKS_PER_RESERVE = 100;
const CHANNELS_PER_LOOK = 1000;
const MANAGER = /^manager-[a-z0-9]+$/;

export interface AgentStoreOptions {
  readonly clock?: Clock;
  readonly random?: Random;
  /** Tests only: the time scripts see, ms, instead of Redis TIME. */
  readonly now?: () => number;
}

/** A record without what changes by the second. */
interface StoredRecord extends AgentCard {
  readonly instance: string;
  readonly kind: AgentRecord['kind'];
  readonly created_at: string;
  readonly updated_at: string;
}
interface Known {
  readonly json: string;
  readonly stored: StoredRecord;
  /** As last answered; given out again while nothing in it changes. */
  record?: AgentRecord;
}
type Choice = Awaited<ReturnType<AgentStore['reserve']>>;

export class RedisAgentStore implements AgentStore {
  readonly reserve: AgentStore['reserve'];
  readonly #redis: Redis;
  readonly #subscriber: Redis;
  readonly #keys: Keys;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #now: (() => number) | undefined;
  readonly #links = new Links();
  readonly #listeners = new Set<(change: RegistryChange) => void>();
  /** Records as last read: making 10,000 of them anew every second would block the process for tens of ms. */
  #known = new Map<string, Known>();

  /** `redis` runs commands, `subscriber` is a second connection in subscribe mode. */
  constructor(redis: Redis, subscriber: Redis, keys: Keys, options: AgentStoreOptions = {}) {
    this.#redis = redis;
    this.#subscriber = subscriber;
    this.#keys = keys;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#now = options.now;
    const reserve = batched<{ capability: string; taskId: string }, Choice>(TASKS_PER_RESERVE, (items) =>
      this.#reserveBatch(items),
    );
    this.reserve = (capability, taskId) => reserve({ capability, taskId });
    redis.on('close', () => this.#links.reset());
    subscriber.on('message', (channel: string, text: string) => {
      if (channel !== keys.registryChannel) return;
      const change = JSON.parse(text) as RegistryChange;
      for (const listener of this.#listeners) listener(change);
    });
  }

  #run(name: keyof typeof scripts, args: readonly Argument[]): Promise<Reply> {
    const now = this.#now === undefined ? '' : this.#now();
    return runScript(this.#redis, scripts[name], [this.#keys.prefix, now, ...args]);
  }

  async join(card: AgentCard, instance: string, kind: 'full' | 'bus', leaseMs: number): Promise<AgentRecord> {
    const stored = storedCard(card);
    const names = stored.capabilities.map((capability) => capability.name);
    const tail = JSON.stringify(stored).slice(1);
    const reply = await this.#run('join', [stored.agent_id, instance, kind, leaseMs, stored.capacity, tail, ...names]);
    return JSON.parse(reply as string) as AgentRecord;
  }

  async leave(agentId: string, instance: string, reason: 'stopped' | 'lease_expired'): Promise<boolean> {
    return (await this.#run('leave', [agentId, instance, reason])) === 1;
  }

  async beat(instance: string, leaseMs: number): Promise<InstanceBeat['outcome']> {
    return (await this.#run('beat', [instance, leaseMs])) as InstanceBeat['outcome'];
  }

  async forget(instance: string): Promise<void> {
    await this.#run('forget', [instance]);
  }

  async #reserveBatch(items: readonly { capability: string; taskId: string }[]): Promise<Choice[]> {
    const args: Argument[] = [Math.floor(this.#random() * 2 ** 31)];
    for (const { capability, taskId } of items) args.push(capability, taskId, this.#keys.task(taskId));
    const replies = (await this.#run('reserve', args)) as [string, string][];
    return replies.map(([outcome, what]) =>
      outcome === 'agent' ? { agent: what } : { none: what as 'no_agent' | 'all_full' },
    );
  }

  async silent(): ReturnType<AgentStore['silent']> {
    const keys = this.#keys;
    const now = await this.#time();
    const leases = await this.#ask(() => this.#redis.zrangebyscore(keys.instances, `(${now}`, '+inf', 'WITHSCORES'));
    const live: { instance: string; subscribers: number; lease: string }[] = [];
    for (let i = 0; i < leases.length; i += 2) {
      // A bus-only agent has no link to Redis: only its lease counts.
      if (!leases[i]!.startsWith('bus:')) live.push({ instance: leases[i]!, subscribers: 0, lease: leases[i + 1]! });
    }
    for (let from = 0; from < live.length; from += CHANNELS_PER_LOOK) {
      const some = live.slice(from, from + CHANNELS_PER_LOOK);
      const channels = some.map(({ instance }) => keys.instanceChannel(instance));
      const counts = (await this.#ask(() => this.#redis.call('PUBSUB', 'NUMSUB', ...channels))) as (string | number)[];
      some.forEach((entry, i) => {
        entry.subscribers = Number(counts[2 * i + 1]);
      });
    }
    const gone = this.#links.look(live, this.#clock.monotonic());
    const pairs = live.filter(({ instance }) => gone.has(instance)).flatMap(({ instance, lease }) => [instance, lease]);
    const replies = (await this.#run('silent', pairs)) as [string, string, 'lease_expired' | 'agent_gone'][];
    return replies.map(([instance, agent, cause]) => ({ instance, cause, ...(agent === '' ? {} : { agent }) }));
  }

  async managers(): Promise<readonly string[]> {
    const now = await this.#time();
    const alive = await this.#ask(() => this.#redis.zrangebyscore(this.#keys.instances, `(${now}`, '+inf'));
    return alive.filter((instance) => MANAGER.test(instance));
  }

  async all(): Promise<readonly AgentRecord[]> {
    const keys = this.#keys;
    const [now, json, leases, health, draining] = await this.#ask(() =>
      Promise.all([
        this.#time(),
        this.#redis.hgetall(keys.agents),
        this.#redis.zrange(keys.instances, '0', '-1', 'WITHSCORES'),
        this.#redis.hgetall(keys.health),
        this.#redis.smembers(keys.draining),
      ]),
    );
    const alive = new Set<string>();
    for (let i = 0; i < leases.length; i += 2) if (Number(leases[i + 1]) > now) alive.add(leases[i]!);
    const drained = new Set(draining);
    const known = this.#parse(json);
    const records: AgentRecord[] = [];
    for (let from = 0; from < known.length; from += AGENTS_PER_LOOK) {
      const some = known.slice(from, from + AGENTS_PER_LOOK);
      const args = some.flatMap(({ stored }) => [stored.agent_id, stored.instance]);
      const loads = (await this.#run('load', args)) as (string | number)[];
      some.forEach((agent, i) => {
        const { agent_id, instance, capacity, updated_at } = agent.stored;
        const inFlight = Number(loads[2 * i]);
        const beatAt = loads[2 * i + 1];
        agent.record = upToDate(agent, {
          status: !alive.has(instance) ? 'offline' : inFlight >= capacity ? 'busy' : 'active',
          health_status: (health[agent_id] ?? 'unknown') as AgentRecord['health_status'],
          draining: drained.has(agent_id),
          in_flight: inFlight,
          // Silent for longer than its heartbeat is kept: it was there when it last joined, and nothing says later.
          last_heartbeat: beatAt === '' ? updated_at : new Date(Number(beatAt)).toISOString(),
        });
        records.push(agent.record);
      });
    }
    return records;
  }

  #parse(json: Readonly<Record<string, string>>): Known[] {
    const known = new Map<string, Known>();
    for (const [agent, text] of Object.entries(json)) {
      const before = this.#known.get(agent);
      known.set(agent, before?.json === text ? before : { json: text, stored: JSON.parse(text) as StoredRecord });
    }
    this.#known = known;
    return [...known.values()];
  }

  async setDraining(agentId: string, draining: boolean): Promise<boolean> {
    return (await this.#run('mark', [agentId, 'draining', draining ? 1 : 0])) === 1;
  }

  async setHealth(agentId: string, health: AgentRecord['health_status']): Promise<boolean> {
    return (await this.#run('mark', [agentId, 'health', health])) === 1;
  }

  async setPaused(capability: string, paused: boolean): Promise<void> {
    const change: RegistryChange = { kind: paused ? 'paused' : 'resumed', capability };
    await this.#ask(() => {
      const both = this.#redis.multi();
      if (paused) both.sadd(this.#keys.paused, capability);
      else both.srem(this.#keys.paused, capability);
      return both.publish(this.#keys.registryChannel, JSON.stringify(change)).exec();
    });
  }

  paused(): Promise<readonly string[]> {
    return this.#ask(() => this.#redis.smembers(this.#keys.paused));
  }

  async onChange(listener: (change: RegistryChange) => void): Promise<Cancel> {
    // Wrapped, so that the same function given twice is two listeners with a Cancel each.
    const entry = (change: RegistryChange): void => listener(change);
    this.#listeners.add(entry);
    try {
      await this.#ask(() => this.#subscriber.subscribe(this.#keys.registryChannel));
    } catch (error) {
      this.#listeners.delete(entry);
      throw error;
    }
    return () => {
      if (!this.#listeners.delete(entry) || this.#listeners.size > 0) return;
      // A connection that is already gone has nothing to unsubscribe.
      this.#subscriber.unsubscribe(this.#keys.registryChannel).catch(() => undefined);
    };
  }

  async #time(): Promise<number> {
    if (this.#now !== undefined) return this.#now();
    const [seconds, micros] = await this.#ask(() => this.#redis.time());
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  async #ask<T>(commands: () => Promise<T>): Promise<T> {
    try {
      return await commands();
    } catch (error) {
      throw StoreUnavailable(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }
}

type Momentary = Pick<AgentRecord, 'status' | 'health_status' | 'draining' | 'in_flight' | 'last_heartbeat'>;

function upToDate({ stored, record }: Known, fields: Momentary): AgentRecord {
  const same =
    record !== undefined &&
    record.in_flight === fields.in_flight &&
    record.last_heartbeat === fields.last_heartbeat &&
    record.status === fields.status &&
    record.health_status === fields.health_status &&
    record.draining === fields.draining;
  return same ? record : { ...stored, ...fields };
}
