// The AgentStore in memory: what registry/*.lua does, as plain TypeScript. Several stores over one MemoryRegistryWorld are to each
// other what processes over one Redis are. Runs the same conformance suite as the live one.
import type { AgentCard, AgentRecord } from '../contracts/agent.js';
import type { AgentStore, Cancel, Clock, InstanceBeat, Random, RegistryChange } from '../ports.js';
import { storedCard } from '../registry/card.js';
import { Links } from '../registry/links.js';

type SilentCause = 'lease_expired' | 'agent_gone';

interface Entry {
  readonly card: AgentCard;
  readonly instance: string;
  readonly kind: AgentRecord['kind'];
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** What Redis would hold, shared by all stores of one test or simulation. */
export class MemoryRegistryWorld {
  readonly entries = new Map<string, Entry>();
  readonly leases = new Map<string, { endsAt: number; condemned?: SilentCause }>();
  readonly owners = new Map<string, string>();
  readonly beats = new Map<string, number>();
  readonly draining = new Set<string>();
  readonly health = new Map<string, AgentRecord['health_status']>();
  readonly paused = new Set<string>();
  readonly reserved = new Map<string, Set<string>>();
  readonly listeners = new Set<(change: RegistryChange) => void>();
  readonly cutOff = new Set<string>();
  readonly clock: Clock;
  /** Tasks an instance runs. */
  readonly heldBy: (instance: string) => number;

  constructor(clock: Clock, heldBy: (instance: string) => number = () => 0) {
    this.clock = clock;
    this.heldBy = heldBy;
  }

  /** The process of an instance is gone, or its link to the store is cut: nobody is on its channel any more. */
  cut(instance: string): void {
    this.cutOff.add(instance);
  }

  restore(instance: string): void {
    this.cutOff.delete(instance);
  }

  /** A claim or the end of a task gives its reserved slot back. */
  releaseReserved(taskId: string): void {
    for (const tasks of this.reserved.values()) tasks.delete(taskId);
  }

  load(agent: string, instance: string): number {
    return this.heldBy(instance) + (this.reserved.get(agent)?.size ?? 0);
  }

  alive(instance: string): boolean {
    const lease = this.leases.get(instance);
    return lease !== undefined && lease.condemned === undefined && lease.endsAt > this.clock.now();
  }

  record(agent: string, entry: Entry): AgentRecord {
    const inFlight = this.load(agent, entry.instance);
    return {
      status: !this.alive(entry.instance) ? 'offline' : inFlight >= entry.card.capacity ? 'busy' : 'active',
      health_status: this.health.get(agent) ?? 'unknown',
      draining: this.draining.has(agent),
      in_flight: inFlight,
      last_heartbeat: new Date(this.beats.get(agent) ?? entry.updatedAt).toISOString(),
      instance: entry.instance,
      kind: entry.kind,
      created_at: new Date(entry.createdAt).toISOString(),
      updated_at: new Date(entry.updatedAt).toISOString(),
      ...structuredClone(entry.card),
    };
  }

  announce(change: RegistryChange): void {
    // As from a socket: after the call that caused it, and to each listener its own copy.
    for (const listener of this.listeners) queueMicrotask(() => listener(structuredClone(change)));
  }
}

export class MemoryAgentStore implements AgentStore {
  readonly #world: MemoryRegistryWorld;
  readonly #random: Random;
  readonly #links = new Links();

  constructor(world: MemoryRegistryWorld, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  async join(card: AgentCard, instance: string, kind: 'full' | 'bus', leaseMs: number): Promise<AgentRecord> {
    const world = this.#world;
    const now = world.clock.now();
    const stored = structuredClone(storedCard(card));
    const agent = stored.agent_id;
    const old = world.entries.get(agent);
    const fresh = old === undefined || old.instance !== instance || !world.alive(instance);
    if (old !== undefined && old.instance !== instance && world.owners.has(old.instance)) {
      world.leases.set(old.instance, { endsAt: 0, condemned: 'agent_gone' });
      world.announce({ kind: 'left', agent_id: agent, instance: old.instance, reason: 'replaced' });
    }
    const same = !fresh && JSON.stringify(old.card) === JSON.stringify(stored);
    const entry = {
      card: stored,
      instance,
      kind,
      createdAt: old?.createdAt ?? now,
      updatedAt: same ? old.updatedAt : now,
    };
    world.entries.set(agent, entry);
    world.owners.set(instance, agent);
    world.leases.set(instance, { endsAt: now + leaseMs });
    world.beats.set(agent, now);
    if (fresh) {
      world.draining.delete(agent);
      world.health.delete(agent);
    }
    const record = world.record(agent, entry);
    if (!same) world.announce({ kind: fresh ? 'joined' : 'changed', agent: record });
    return record;
  }

  async leave(agent: string, instance: string, reason: 'stopped' | 'lease_expired'): Promise<boolean> {
    const world = this.#world;
    if (world.entries.get(agent)?.instance !== instance) return false;
    const owned = world.owners.delete(instance);
    world.reserved.delete(agent);
    world.draining.delete(agent);
    world.health.delete(agent);
    if (reason === 'stopped') {
      world.entries.delete(agent);
      world.beats.delete(agent);
      if (world.heldBy(instance) === 0) world.leases.delete(instance);
    }
    if (world.alive(instance)) world.leases.set(instance, { endsAt: 0, condemned: 'lease_expired' });
    if (owned) world.announce({ kind: 'left', agent_id: agent, instance, reason });
    return owned || reason === 'stopped';
  }

  async beat(instance: string, leaseMs: number): Promise<InstanceBeat['outcome']> {
    const world = this.#world;
    const agent = world.owners.get(instance);
    if (agent !== undefined) {
      const lease = world.leases.get(instance);
      if (lease === undefined || lease.condemned !== undefined) return 'lost';
      world.beats.set(agent, world.clock.now());
    } else if (!/^(manager|client)-[a-z0-9]+$/i.test(instance)) {
      return 'lost';
    }
    world.leases.set(instance, { endsAt: world.clock.now() + leaseMs });
    return 'renewed';
  }

  async all(): Promise<readonly AgentRecord[]> {
    return [...this.#world.entries].map(([agent, entry]) => this.#world.record(agent, entry));
  }

  async setDraining(agent: string, draining: boolean): Promise<boolean> {
    const world = this.#world;
    if (!world.entries.has(agent)) return false;
    if (draining) world.draining.add(agent);
    else world.draining.delete(agent);
    world.announce({ kind: 'draining', agent_id: agent, draining });
    return true;
  }

  async setHealth(agent: string, health: AgentRecord['health_status']): Promise<boolean> {
    const entry = this.#world.entries.get(agent);
    if (entry === undefined) return false;
    this.#world.health.set(agent, health);
    this.#world.announce({ kind: 'changed', agent: this.#world.record(agent, entry) });
    return true;
  }

  async setPaused(capability: string, paused: boolean): Promise<void> {
    if (paused) this.#world.paused.add(capability);
    else this.#world.paused.delete(capability);
    this.#world.announce({ kind: paused ? 'paused' : 'resumed', capability });
  }

  async paused(): Promise<readonly string[]> {
    return [...this.#world.paused];
  }

  async reserve(capability: string, taskId: string): ReturnType<AgentStore['reserve']> {
    const world = this.#world;
    world.releaseReserved(taskId);
    const fit = [...world.entries].filter(
      ([agent, entry]) =>
        entry.card.capabilities.some(({ name }) => name === capability) &&
        world.owners.has(entry.instance) &&
        world.alive(entry.instance) &&
        !world.draining.has(agent) &&
        world.health.get(agent) !== 'unhealthy',
    );
    if (fit.length === 0) return { none: 'no_agent' };
    if (world.paused.has(capability)) return { none: 'all_full' };
    const ranked = fit
      .map(([agent, entry]) => ({
        agent,
        ratio: world.load(agent, entry.instance) / entry.card.capacity,
        tie: this.#random(),
      }))
      .filter(({ ratio }) => ratio < 1)
      .sort((a, b) => a.ratio - b.ratio || a.tie - b.tie);
    const best = ranked[0];
    if (best === undefined) return { none: 'all_full' };
    const tasks = world.reserved.get(best.agent) ?? new Set();
    world.reserved.set(best.agent, tasks.add(taskId));
    return { agent: best.agent };
  }

  async silent(): ReturnType<AgentStore['silent']> {
    const { leases, owners, cutOff, clock } = this.#world;
    const live = [...leases.keys()].filter((instance) => this.#world.alive(instance) && !instance.startsWith('bus:'));
    const looks = live.map((instance) => ({
      instance,
      subscribers: cutOff.has(instance) ? 0 : 1,
      lease: String(leases.get(instance)!.endsAt),
    }));
    for (const instance of this.#links.look(looks, clock.monotonic())) {
      leases.set(instance, { endsAt: 0, condemned: 'agent_gone' });
    }
    const silent: { instance: string; agent?: string; cause: SilentCause }[] = [];
    for (const [instance, lease] of leases) {
      if (lease.endsAt > clock.now()) continue;
      lease.condemned ??= 'lease_expired';
      const agent = owners.get(instance);
      silent.push({ instance, cause: lease.condemned, ...(agent === undefined ? {} : { agent }) });
    }
    return silent;
  }

  async forget(instance: string): Promise<void> {
    if (this.#world.alive(instance)) return;
    this.#world.owners.delete(instance);
    this.#world.leases.delete(instance);
  }

  async managers(): Promise<readonly string[]> {
    return [...this.#world.leases.keys()].filter((name) => /^manager-[a-z0-9]+$/.test(name) && this.#world.alive(name));
  }

  async onChange(listener: (change: RegistryChange) => void): Promise<Cancel> {
    const entry = (change: RegistryChange): void => listener(change);
    this.#world.listeners.add(entry);
    return () => {
      this.#world.listeners.delete(entry);
    };
  }
}
