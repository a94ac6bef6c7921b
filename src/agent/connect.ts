// connect(): where the SDK meets the world. RabbitMQ and Redis where the settings name them, otherwise memory: the same code, in
// this process only, gone with it.
import { openBus } from '../bus/bus.js';
import { systemClock, systemRandom } from '../clock.js';
import { type Config, loadConfig } from '../config.js';
import { errorRecord } from '../errors.js';
import { openRedis } from '../redis/client.js';
import { keysFor } from '../redis/keys.js';
import { RedisAgentStore } from '../registry/store.js';
import { RedisTaskStore } from '../tasks/store.js';
import type { Emitter } from '../telemetry/emitter.js';
import { createLog, type LogLevel, logged } from '../telemetry/log.js';
import { traceEvents } from '../telemetry/spans.js';
import { startTracing } from '../telemetry/tracing-sdk.js';
import { Client } from './client.js';
import { Instance, type Ports } from './instance.js';
import { startManager } from './manage.js';

export interface ConnectOptions {
  /** Settings that win over the environment, by the names docs/settings.md gives. */
  readonly settings?: Partial<Record<keyof Config, string | number>>;
  /** true: memory, whatever the settings say. */
  readonly memory?: boolean;
  /** First part of the instance's name. Default 'client'. */
  readonly name?: string;
}

/**
 * Connects to the bus. Rejects with BROKER_REFUSED / STORE_REFUSED (login), BROKER_UNAVAILABLE / STORE_UNAVAILABLE, or
 * INVALID_CONFIG.
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const config = configOf(options);
  const ports = await openPorts(config, options.name ?? 'client', options.memory);
  try {
    const instance = await Instance.open(ports, config, options.name ?? 'client');
    return new Client(instance, async () => {
      await instance.close();
      await ports.close();
    });
  } catch (error) {
    await ports.close();
    throw error;
  }
}

export function configOf(options: ConnectOptions): Config {
  const given = Object.entries(options.settings ?? {}).map(([name, value]) => [name, String(value)]);
  return loadConfig({ ...process.env, ...Object.fromEntries(given) });
}

/** The ports the settings ask for. */
export async function openPorts(config: Config, name: string, memory = false): Promise<Ports> {
  const mode = traceMode(config);
  const jaegerEndpoint = config.MUSTER_JAEGER_ENDPOINT;
  const tracing = await startTracing({
    mode,
    serviceName: `muster-${name}`,
    jaegerEndpoint,
    sampleRatio: config.MUSTER_TRACE_SAMPLE,
  });
  const level = config.MUSTER_LOG_LEVEL === 'trace' ? 'debug' : (config.MUSTER_LOG_LEVEL as LogLevel);
  const log = createLog({ level });
  const wanted = logged(level);
  const observe = (emitter: Emitter): void => {
    if (level !== 'silent') emitter.on(log, wanted);
    if (mode !== 'none') emitter.on(traceEvents);
  };
  const ports =
    memory || config.AMQP_URL === undefined || config.REDIS_URL === undefined
      ? await openMemoryPorts(config, observe)
      : await openLivePorts({ ...config, AMQP_URL: config.AMQP_URL, REDIS_URL: config.REDIS_URL }, name, observe);
  return {
    ...ports,
    async close() {
      await ports.close();
      await tracing.shutdown();
    },
  };
}

/** otlp is the default, but only of use where a collector is named: nobody's localhost is tried unasked. */
function traceMode(config: Config): Config['MUSTER_TRACES'] {
  const collector = config.OTEL_EXPORTER_OTLP_ENDPOINT ?? config.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
  return config.MUSTER_TRACES === 'otlp' && collector === undefined ? 'none' : config.MUSTER_TRACES;
}

/** A world in memory has a manager of its own, as a fleet has: without one nothing would be retried, scheduled or rescued. */
async function openMemoryPorts(config: Config, observe: (emitter: Emitter) => void): Promise<Ports> {
  // Loaded only where it is used: a live process has no need of it.
  const { memoryPorts, portsOf } = await import('../testing/memory-ports.js');
  const ports = memoryPorts(config.MUSTER_PREFIX, { retentionMs: config.MUSTER_RETENTION_MS, observe });
  const { world } = ports;
  world.manager ??= startManager(portsOf(world, observe), config, 0, async () => world.broker.close());
  await world.manager;
  return {
    ...ports,
    async close() {
      await ports.close();
      // The manager is the last one left.
      if (world.users > 1 || world.manager === undefined) return;
      const manager = world.manager;
      world.manager = undefined;
      await (await manager).stop();
    },
  };
}

type LiveConfig = Config & { readonly AMQP_URL: string; readonly REDIS_URL: string };

async function openLivePorts(config: LiveConfig, name: string, observe: (emitter: Emitter) => void): Promise<Ports> {
  const connection = `muster ${name}`;
  // What happens to the connections is announced by every instance that uses them.
  const emitters = new Set<Emitter>();
  const tell: Emitter['emit'] = (event, data) => {
    for (const emitter of emitters) emitter.emit(event, data);
  };
  const onStore = (state: string, why?: string): void =>
    tell('store.state', { state, ...(why === undefined ? {} : { why }) });
  const opening = [
    openBus({
      urls: config.AMQP_URL.split(','),
      name: connection,
      maxPayloadBytes: config.MUSTER_MAX_PAYLOAD + 65_536,
      onProblem: (where, error) => tell('loop.failed', { loop: `bus ${where}`, error: errorRecord(error).message }),
    }),
    openRedis({ url: config.REDIS_URL, name: connection.replaceAll(' ', '-'), onState: onStore }),
    openRedis({ url: config.REDIS_URL, name: `${connection}-notices`.replaceAll(' ', '-') }),
  ] as const;
  const [bus, redis, subscriber] = await Promise.all(opening).catch(async (error) => {
    // One of them failed: what did open must not keep the process alive.
    for (const result of await Promise.allSettled(opening)) {
      if (result.status !== 'fulfilled') continue;
      if ('disconnect' in result.value) result.value.disconnect();
      else await result.value.close();
    }
    throw error;
  });
  const offState = bus.onState((state, why) =>
    tell('bus.state', { role: 'broker', state, ...(why === undefined ? {} : { why }) }),
  );
  const keys = keysFor(config.MUSTER_PREFIX);
  return {
    bus,
    tasks: new RedisTaskStore(redis, subscriber, keys, { retentionMs: config.MUSTER_RETENTION_MS }),
    agents: new RedisAgentStore(redis, subscriber, keys),
    clock: systemClock,
    random: systemRandom,
    redisUrl: config.REDIS_URL,
    observe(emitter) {
      observe(emitter);
      emitters.add(emitter);
    },
    async close() {
      offState();
      await bus.close();
      redis.disconnect();
      subscriber.disconnect();
    },
  };
}
