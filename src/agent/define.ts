// agent(): the definition of an agent, and its start.
import { name as nameSchema } from '../contracts/names.js';
import { errorRecord } from '../errors.js';
import { validate } from '../tasks/prepare.js';
import { RunningAgent } from './agent.js';
import type { AgentOptions } from './agent-options.js';
import type { Offer } from './capability.js';
import type { Client } from './client.js';
import { type ConnectOptions, configOf, openPorts } from './connect.js';
import { Instance } from './instance.js';

export interface AgentDefinition {
  readonly id: string;
  readonly offers: readonly Offer[];
  /**
   * Joins and takes tasks until stopped. Given a client, it shares that client's connections; otherwise it makes its own, as
   * connect() would.
   */
  start(over?: Client | ConnectOptions): Promise<RunningAgent>;
}

/** Defines an agent by its id and what it offers. */
export function agent(id: string, offers: Offer | readonly Offer[], options: AgentOptions = {}): AgentDefinition {
  const list: readonly Offer[] = Array.isArray(offers) ? offers : [offers as Offer];
  const startOn = async (instance: Instance, closePorts: () => Promise<void>): Promise<RunningAgent> => {
    try {
      return await RunningAgent.start(id, list, options, instance, closePorts);
    } catch (error) {
      // Its mailbox and its timers would outlive the failure.
      await instance.close();
      throw error;
    }
  };
  return {
    id,
    offers: list,
    async start(over = {}) {
      // Before the id becomes part of a queue's, a key's or a connection's name.
      validate(nameSchema, id, 'The agent id');
      if ('instance' in over) {
        const { ports, config } = over.instance;
        const instance = await Instance.open(ports, config, id);
        return startOn(instance, async () => undefined);
      }
      const config = configOf(over);
      const ports = await openPorts(config, id, over.memory);
      try {
        const instance = await Instance.open(ports, config, id);
        const running = await startOn(instance, () => ports.close());
        await serveMetrics(running, config.MUSTER_METRICS_PORT);
        return running;
      } catch (error) {
        await ports.close();
        throw error;
      }
    },
  };
}

/** /metrics of an agent that is a process of its own: its tasks, requests and utilisation. The server does not keep it alive. */
async function serveMetrics(running: RunningAgent, port: number): Promise<void> {
  if (port === 0) return;
  const { startMetrics } = await import('./metrics-of.js');
  try {
    await startMetrics(running.instance, port, [running]);
  } catch (error) {
    // Taken by another process of this machine: the agent works without.
    running.instance.emitter.emit('loop.failed', {
      loop: `metrics on port ${port}`,
      error: errorRecord(error).message,
    });
  }
}
