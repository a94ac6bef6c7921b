// The thread that renews a lease (see lease.ts): nothing but a connection, a timer and one script.
import { parentPort, workerData } from 'node:worker_threads';
import { openRedis } from '../redis/client.js';
import { keysFor } from '../redis/keys.js';
import { RedisAgentStore } from '../registry/store.js';
import type { LeaseMessage } from './lease.js';

interface Given {
  readonly redisUrl: string;
  readonly prefix: string;
  readonly instance: string;
  readonly agentId: string;
  readonly leaseMs: number;
  readonly pulse: SharedArrayBuffer;
}

/** A loop that has not turned for this long is reported. */
const STALLED_MS = 3000;

async function renew(given: Given): Promise<void> {
  const { redisUrl, prefix, instance, leaseMs } = given;
  const redis = await openRedis({
    url: redisUrl,
    name: `muster-lease-${instance}`,
    commandTimeoutMs: Math.max(500, leaseMs / 3),
  });
  const store = new RedisAgentStore(redis, redis, keysFor(prefix));
  let renewed = performance.now();
  const turn = async (): Promise<void> => {
    try {
      if ((await store.beat(instance, leaseMs)) === 'lost')
        tell({ kind: 'lost', why: 'it ran out before it was renewed' });
      renewed = performance.now();
    } catch {
      // Told to the main thread only once it matters: a store that blinks costs nothing.
      if (performance.now() - renewed > leaseMs) {
        tell({ kind: 'lost', why: 'the store could not be reached' });
        renewed = performance.now();
      }
    }
    setTimeout(() => void turn(), leaseMs / 3);
  };
  setTimeout(() => void turn(), leaseMs / 3);
}

function watchLoop(pulse: SharedArrayBuffer): void {
  const beats = new Int32Array(pulse);
  let last = Atomics.load(beats, 0);
  let since = performance.now();
  let told = false;
  setInterval(() => {
    const now = Atomics.load(beats, 0);
    if (now !== last) {
      last = now;
      since = performance.now();
      told = false;
    } else if (!told && performance.now() - since > STALLED_MS) {
      told = true;
      tell({ kind: 'stalled', ms: Math.round(performance.now() - since) });
    }
  }, 1000);
}

function tell(message: LeaseMessage): void {
  parentPort?.postMessage(message);
}

const given = workerData as Given;
watchLoop(given.pulse);
renew(given).catch((error: unknown) => {
  // Surfaces as the worker's 'error' event: lease.ts then renews from the loop.
  throw error;
});
