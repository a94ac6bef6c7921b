// The in-memory AgentStore keeps the promises of the port.
import { ManualClock } from '../../src/testing/manual-clock.js';
import { MemoryAgentStore, MemoryRegistryWorld } from '../../src/testing/memory-agent-store.js';
import { testAgentStore } from './agent-store.suite.js';
import { testReserving } from './agent-store-reserving.suite.js';
import type { AgentStoreWorld } from './agent-store-world.js';

async function memoryWorld(): Promise<AgentStoreWorld> {
  const clock = new ManualClock();
  const held = new Map<string, number>();
  const world = new MemoryRegistryWorld(clock, (instance) => held.get(instance) ?? 0);
  return {
    store: new MemoryAgentStore(world, Math.random),
    another: async () => new MemoryAgentStore(world, Math.random),
    pass: (ms) => clock.advance(ms),
    hold: async (instance, tasks) => void held.set(instance, tasks.length),
    connect: async (instance) => world.restore(instance),
    cut: async (instance) => world.cut(instance),
    close: async () => undefined,
  };
}

testAgentStore(memoryWorld);
testReserving(memoryWorld);
