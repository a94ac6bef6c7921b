// The lease of an instance: renewed from a thread of its own, so that a handler that blocks the event loop is told apart from a
// process that is dead or stopped. Tasks run under it: when it is lost, they are someone else's.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { errorRecord } from '../errors.js';
import type { AgentStore, Cancel, Clock } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';

export interface LeaseParts {
  readonly agents: AgentStore;
  readonly clock: Clock;
  readonly emitter: Emitter;
  readonly instance: string;
  readonly agentId: string;
  readonly leaseMs: number;
  readonly prefix: string;
  /** Where the thread connects. Without it (in memory) the event loop renews. */
  readonly redisUrl: string | undefined;
  /** The lease ran out: tasks were given away, the registry forgot us. */
  readonly onLost: (why: string) => void;
}

/** From the thread to us. */
export type LeaseMessage =
  | { readonly kind: 'lost'; readonly why: string }
  | { readonly kind: 'stalled'; readonly ms: number };

export class Lease {
  readonly #parts: LeaseParts;
  #thread: Worker | undefined;
  #timer: Cancel | undefined;
  #pulse: NodeJS.Timeout | undefined;
  #stopped = false;
  #lastRenewed = 0;

  constructor(parts: LeaseParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#stopped = false;
    this.#lastRenewed = this.#parts.clock.monotonic();
    const file = join(__dirname, 'lease-thread.js');
    if (this.#parts.redisUrl !== undefined && existsSync(file)) this.#startThread(file);
    else this.#renewHere();
  }

  #startThread(file: string): void {
    const { redisUrl, prefix, instance, agentId, leaseMs, emitter, onLost } = this.#parts;
    // The loop counts here; the thread sees whether it still does.
    const pulse = new SharedArrayBuffer(4);
    const beats = new Int32Array(pulse);
    this.#pulse = setInterval(() => Atomics.add(beats, 0, 1), 500);
    this.#pulse.unref();
    this.#thread = new Worker(file, { workerData: { redisUrl, prefix, instance, agentId, leaseMs, pulse } });
    this.#thread.unref();
    this.#thread.on('message', (message: LeaseMessage) => {
      if (this.#stopped) return;
      if (message.kind === 'lost') onLost(message.why);
      else emitter.emit('agent.stalled', { agent: agentId, blocked_ms: message.ms });
    });
    this.#thread.on('error', (error) => {
      emitter.emit('loop.failed', { loop: 'lease', error: errorRecord(error).message });
      this.#thread = undefined;
      // Better renewed from the loop than not at all.
      if (!this.#stopped) this.#renewHere();
    });
  }

  #renewHere(): void {
    const { agents, clock, emitter, instance, leaseMs, onLost } = this.#parts;
    this.#timer = clock.after(leaseMs / 3, () => {
      agents.beat(instance, leaseMs).then(
        (outcome) => {
          this.#lastRenewed = clock.monotonic();
          if (outcome === 'lost' && !this.#stopped) onLost('it ran out before it was renewed');
        },
        (error) => {
          emitter.emit('loop.failed', { loop: 'lease', error: errorRecord(error).message });
          // Cut off from the store for a whole lease: others have our tasks by now, or soon.
          if (clock.monotonic() - this.#lastRenewed > leaseMs && !this.#stopped)
            onLost('the store could not be reached');
        },
      );
      if (!this.#stopped) this.#renewHere();
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.();
    clearInterval(this.#pulse);
    await this.#thread?.terminate();
  }
}
