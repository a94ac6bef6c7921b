// /metrics of one process: its events counted, and gauges asked of the store at each scrape.
import { createMetrics } from '../telemetry/metrics.js';
import { servePrometheus } from '../telemetry/prometheus.js';
import { createSlotMeter, type SlotReading } from '../telemetry/slots.js';
import type { Instance } from './instance.js';

/** An agent of this process, as far as its slots are concerned. */
export interface SlotsOf {
  readonly id: string;
  readonly capacity: number;
  onBusy(listener: (busy: number) => void): void;
}

export interface MetricsEndpoint {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves /metrics on 127.0.0.1. `agents`: those of this process; without any, the fleet's gauges are given (a manager). */
export async function startMetrics(
  instance: Instance,
  port: number,
  agents: readonly SlotsOf[] = [],
): Promise<MetricsEndpoint> {
  const { ports, emitter } = instance;
  const meters = new Map(
    agents.map((agent) => {
      const meter = createSlotMeter(ports.clock);
      meter.set(agent.capacity, 0);
      agent.onBusy((busy) => meter.set(agent.capacity, busy));
      return [agent.id, meter] as const;
    }),
  );
  const slots = (): Map<string, SlotReading> => new Map([...meters].map(([id, meter]) => [id, meter.read()]));
  const registry = agents.length === 0 ? await instance.agents() : undefined;
  const fleet =
    registry === undefined
      ? {}
      : {
          registrySize: () => {
            const sizes = { active: 0, busy: 0, offline: 0 };
            for (const agent of registry.all()) sizes[agent.status] += 1;
            return sizes;
          },
          heartbeatLag: () =>
            new Map(
              registry
                .all()
                .map((agent) => [agent.agent_id, (ports.clock.now() - Date.parse(agent.last_heartbeat)) / 1000]),
            ),
          counts: () => ports.tasks.counts(),
        };
  const metrics = createMetrics({ clock: ports.clock, gauges: meters.size > 0 ? { slots } : fleet });
  emitter.on(metrics.listener);
  const server = await servePrometheus(metrics.registry, { port });
  return { url: `http://127.0.0.1:${server.port}/metrics`, close: () => server.close() };
}
