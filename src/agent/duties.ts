// What a manager does beside serving its clients: relay, repair, reap. Every replica does all of it; each step is idempotent.
import { Reaper } from '../registry/reaper.js';
import { Rescuer } from '../tasks/rescuer.js';
import type { Instance } from './instance.js';

export interface Duties {
  stop(): Promise<void>;
}

/** Starts the relay (hop 3), the rescuer and the reaper (hop 8) on an instance. */
export async function startDuties(instance: Instance): Promise<Duties> {
  const { ports, emitter, manager, dispatcher } = instance;
  const registry = await instance.agents();
  const rescuer = new Rescuer({ tasks: ports.tasks, manager, clock: ports.clock, random: ports.random, emitter });
  const reaper = new Reaper({
    store: ports.agents,
    clock: ports.clock,
    emit: emitter.emit,
    rescue: (holder, cause) => rescuer.rescue(holder, cause),
    known: (id) => registry.get(id),
  });
  dispatcher.startRelay();
  rescuer.start();
  reaper.start();
  return {
    async stop() {
      rescuer.stop();
      await reaper.stop();
    },
  };
}
