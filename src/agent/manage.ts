// What a manager process runs: the gateway for foreign clients, the duties, its own lease, and /metrics.
import type { Config } from '../config.js';
import { errorRecord } from '../errors.js';
import { Gateway } from '../tasks/gateway.js';
import { startDuties } from './duties.js';
import { Instance, type Ports } from './instance.js';

export interface Manager {
  readonly instance: Instance;
  /** Where /metrics is served, if it is. */
  readonly metricsUrl: string | undefined;
  stop(): Promise<void>;
}

/** Starts a manager on these ports. `metricsPort` 0: no metrics. */
export async function startManager(
  ports: Ports,
  config: Config,
  metricsPort: number,
  closePorts: () => Promise<void>,
): Promise<Manager> {
  const instance = await Instance.open(ports, config, 'manager');
  const { emitter, manager } = instance;
  const beat = startBeat(instance);
  const duties = await startDuties(instance);
  const gateway = new Gateway({
    bus: ports.bus,
    tasks: ports.tasks,
    agents: ports.agents,
    clock: ports.clock,
    random: ports.random,
    prefix: config.MUSTER_PREFIX,
    emitter,
    manager,
    heartbeatMs: config.MUSTER_HEARTBEAT_MS,
    limits: { maxPayload: config.MUSTER_MAX_PAYLOAD },
    instance: instance.id,
  });
  await gateway.start();
  const metrics = metricsPort === 0 ? undefined : await serveMetrics(instance, metricsPort);
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await gateway.stop();
    await duties.stop();
    beat();
    await metrics?.close();
    await instance.close();
    await closePorts();
  };
  return {
    instance,
    metricsUrl: metrics?.url,
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}

/** A manager holds a lease like an agent: doctor and `why` can tell whether one is alive. */
function startBeat(instance: Instance): () => void {
  const { ports, config, id, emitter } = instance;
  let stopped = false;
  let cancel: (() => void) | undefined;
  const turn = async (): Promise<void> => {
    try {
      await ports.agents.beat(id, config.MUSTER_LEASE_MS);
      // The first by name: an event too many while two think so is better than none.
      instance.announces = [...(await ports.agents.managers())].sort()[0] === id;
    } catch (error) {
      emitter.emit('loop.failed', { loop: 'beat', error: errorRecord(error).message });
    }
    if (!stopped) cancel = ports.clock.after(config.MUSTER_LEASE_MS / 3, () => void turn());
  };
  void turn();
  return () => {
    stopped = true;
    cancel?.();
  };
}

async function serveMetrics(instance: Instance, port: number): Promise<{ url: string; close(): Promise<void> }> {
  // prom-client is loaded only where metrics are served.
  const { startMetrics } = await import('./metrics-of.js');
  return startMetrics(instance, port);
}
