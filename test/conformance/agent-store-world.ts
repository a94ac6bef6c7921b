// What the AgentStore suites run on: one registry with its own manual clock, and cards to join it with.
import type { AgentCard, AgentRecord } from '../../src/contracts/agent.js';
import type { AgentStore } from '../../src/ports.js';

export const LEASE = 15_000;

export interface AgentStoreWorld {
  readonly store: AgentStore;
  /** Another process over the same registry. */
  another(): Promise<AgentStore>;
  /** Moves the store's time and every process's clock. */
  pass(ms: number): void;
  /** The instance runs these tasks now. */
  hold(instance: string, tasks: readonly string[]): Promise<void>;
  /** The process of an instance is on its channel. */
  connect(instance: string): Promise<void>;
  cut(instance: string): Promise<void>;
  close(): Promise<void>;
}

export function aCard(agent: string, over: Partial<AgentCard> = {}): AgentCard {
  return {
    agent_id: agent,
    agent_name: `Agent ${agent}`,
    capabilities: [aCapability('code-review')],
    capacity: 2,
    tags: [],
    metadata: {},
    ...over,
  };
}

export function aCapability(name: string): AgentCard['capabilities'][number] {
  return { name, description: '', parameters: {}, tags: [] };
}

/** A world per test, and the short ways to act on it. */
export function eachWorld(make: () => Promise<AgentStoreWorld>) {
  let world: AgentStoreWorld;
  beforeEach(async () => {
    world = await make();
  });
  afterEach(() => world.close());
  return {
    world: () => world,
    join: (agent: string, over: Partial<AgentCard> = {}, instance = `${agent}-aaaaaa`): Promise<AgentRecord> =>
      world.store.join(aCard(agent, over), instance, 'full', LEASE),
    recordOf: async (agent: string): Promise<AgentRecord | undefined> =>
      (await world.store.all()).find((record) => record.agent_id === agent),
  };
}
