// serve(): a manager in a process of its own. Any number run at once, and any of them may die.
import { type ConnectOptions, configOf, openPorts } from './connect.js';
import { type Manager, startManager } from './manage.js';

export type { Manager };

/** Starts a manager and resolves once it does its duties. Rejects as connect() does. */
export async function serve(options: ConnectOptions & { readonly metricsPort?: number } = {}): Promise<Manager> {
  const config = configOf(options);
  const ports = await openPorts(config, 'manager', options.memory);
  try {
    return await startManager(ports, config, options.metricsPort ?? config.MUSTER_METRICS_PORT, () => ports.close());
  } catch (error) {
    await ports.close();
    throw error;
  }
}
