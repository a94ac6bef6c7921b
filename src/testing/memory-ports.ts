// The ports in memory: one world per prefix and process, shared by everyone who connects there. What hello world runs on before
// there is a broker, and what tests of users' agents run on. It is gone with the process; npm start never uses it.
import { systemClock, systemRandom } from '../clock.js';
import type { AgentStore, Bus, Clock, Random, TaskStore } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';
import { MemoryAgentStore, MemoryRegistryWorld } from './memory-agent-store.js';
import { MemoryBroker } from './memory-bus.js';
import { MemoryTaskWorld } from './memory-task-store.js';

/** What shares tasks, queues and agents. Make one to be alone; memoryWorld() gives the one of this process. */
export class MemoryWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly broker: MemoryBroker;
  readonly tasks: MemoryTaskWorld;
  readonly agents: MemoryRegistryWorld;
  /** Who still uses it; the last one out takes the world along. */
  users = 0;
  /** The world's own manager, once somebody lives in it. */
  manager: Promise<{ stop(): Promise<void> }> | undefined;

  constructor(options: { readonly clock?: Clock; readonly random?: Random; readonly retentionMs?: number } = {}) {
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? systemRandom;
    this.broker = new MemoryBroker({ clock: this.clock });
    this.tasks = new MemoryTaskWorld(
      this.clock,
      options.retentionMs === undefined ? {} : { retentionMs: options.retentionMs },
    );
    this.agents = new MemoryRegistryWorld(this.clock, (instance) => this.tasks.held(instance));
    this.tasks.onClaimedOrEnded((id) => this.agents.releaseReserved(id));
  }
}

const worlds = new Map<string, MemoryWorld>();

export interface MemoryPorts {
  readonly world: MemoryWorld;
  readonly bus: Bus;
  readonly tasks: TaskStore;
  readonly agents: AgentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly observe: (emitter: Emitter) => void;
  close(): Promise<void>;
}

/** Ports of the process's world of that prefix. */
export function memoryPorts(
  prefix: string,
  options: { readonly retentionMs?: number; readonly observe?: (emitter: Emitter) => void } = {},
): MemoryPorts {
  const world =
    worlds.get(prefix) ??
    new MemoryWorld(options.retentionMs === undefined ? {} : { retentionMs: options.retentionMs });
  worlds.set(prefix, world);
  const ports = portsOf(world, options.observe);
  return {
    ...ports,
    async close() {
      await ports.close();
      // What is left is the world's manager: whoever connects next begins anew.
      if (world.users <= 1 && worlds.get(prefix) === world) worlds.delete(prefix);
    },
  };
}

/** Ports of a world of one's own. */
export function portsOf(world: MemoryWorld, observe: (emitter: Emitter) => void = () => undefined): MemoryPorts {
  const bus = world.broker.connect();
  world.users += 1;
  return {
    world,
    bus,
    tasks: world.tasks.store(),
    agents: new MemoryAgentStore(world.agents, world.random),
    clock: world.clock,
    random: world.random,
    observe,
    async close() {
      world.users -= 1;
      await bus.close();
    },
  };
}
