// `muster doctor`: looks at settings, broker, store and fleet, and says what is wrong, what it does and what mends it.
// Looks only: nothing is declared, and no message is taken. What cannot be reached does not hide what can.
import type { Redis } from 'ioredis';
import { openBus } from '../../bus/bus.js';
import { deadLetterQueue, malformedQueue, taskQueue, unroutedQueue } from '../../bus/topology.js';
import { type Config, loadConfig } from '../../config.js';
import { PRIORITIES, type PriorityClass } from '../../contracts/priority.js';
import { errorRecord } from '../../errors.js';
import type { Bus } from '../../ports.js';
import { openRedis, redactUrl } from '../../redis/client.js';
import { keysFor } from '../../redis/keys.js';
import { RedisAgentStore } from '../../registry/store.js';
import { RedisTaskStore } from '../../tasks/store.js';
import { EXITS } from '../exits.js';
import { brokerFindings, type CapabilitySeen, type Finding, fleetFindings, storeFindings } from '../findings.js';
import { type Output, paint } from '../output.js';
import { checkBroker, checkStore } from '../session.js';

const PATIENCE_MS = 4000;
const MOST_READY = 100_000;

export async function doctor(output: Output): Promise<number> {
  const config = loadConfig();
  const findings: Finding[] = [settingsFinding(config)];
  const { AMQP_URL, REDIS_URL } = config;
  if (AMQP_URL !== undefined && REDIS_URL !== undefined) {
    const [bus, redis] = await Promise.all([
      lookAtBroker(AMQP_URL, config, findings),
      lookAtStore(REDIS_URL, findings),
    ]);
    try {
      if (redis !== undefined) findings.push(...(await lookAtFleet(config, redis, bus)));
    } finally {
      redis?.disconnect();
      await bus?.close();
    }
  }
  const status = findings.some(({ level }) => level === 'unreachable')
    ? 'unreachable'
    : findings.some(({ level }) => level === 'warning')
      ? 'warnings'
      : 'ok';
  output.answer({ status, findings }, () => doctorText(status, findings));
  return (status === 'unreachable' ? EXITS.unreachable : status === 'warnings' ? EXITS.failed : EXITS.ok).code;
}

function settingsFinding(config: ReturnType<typeof loadConfig>): Finding {
  if (config.source === 'none') {
    return {
      check: 'settings',
      level: 'unreachable',
      cause: 'AMQP_URL and REDIS_URL are not set, and no .muster/env.json is here or above',
      effect: 'programs run in memory, alone, and commands have nothing to reach',
      next: 'muster up, or set both',
    };
  }
  const from = config.source === 'file' ? config.file : 'the environment';
  const node = `Node ${process.versions.node}`;
  return { check: 'settings', level: 'ok', cause: `from ${from}, prefix '${config.MUSTER_PREFIX}', ${node}` };
}

async function lookAtBroker(urls: string, config: Config, findings: Finding[]): Promise<Bus | undefined> {
  const where = urls.split(',').map(redactUrl).join(', ');
  try {
    await checkBroker(urls);
    const bus = await openBus({ urls: urls.split(','), name: 'muster doctor', openTimeoutMs: PATIENCE_MS });
    const version = await brokerVersion(urls.split(',')[0]!);
    findings.push(...brokerFindings({ where, version, maxPayload: config.MUSTER_MAX_PAYLOAD }));
    return bus;
  } catch (error) {
    findings.push(unreachable('broker', error, 'check AMQP_URL: host, port, user, password, virtual host'));
    return undefined;
  }
}

async function brokerVersion(url: string): Promise<string> {
  const { connect } = await import('amqplib');
  const model = await connect(url, { timeout: PATIENCE_MS });
  model.on('error', () => undefined);
  const { version } = model.connection.serverProperties as { version?: unknown };
  await model.close();
  return String(version ?? 'of unknown version');
}

async function lookAtStore(url: string, findings: Finding[]): Promise<Redis | undefined> {
  let redis: Redis | undefined;
  try {
    await checkStore(url);
    redis = await openRedis({ url, name: 'muster-doctor' });
    const text = await redis.info();
    const info = Object.fromEntries(
      text.split(/\r?\n/).flatMap((line) => {
        const colon = line.indexOf(':');
        return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)] as const] : [];
      }),
    );
    const before = Date.now();
    const [seconds, micros] = await redis.time();
    const skewMs = (before + Date.now()) / 2 - (Number(seconds) * 1000 + Number(micros) / 1000);
    findings.push(...storeFindings({ where: redactUrl(url), info, skewMs }));
    return redis;
  } catch (error) {
    redis?.disconnect();
    findings.push(unreachable('store', error, 'check REDIS_URL: host, port, user, password'));
    return undefined;
  }
}

function unreachable(check: string, error: unknown, next: string): Finding {
  const effect =
    check === 'broker' ? 'nothing can be submitted or run' : 'no task, run or agent can be looked at or changed';
  return { check, level: 'unreachable', cause: errorRecord(error).message, effect, next };
}

async function lookAtFleet(config: Config, redis: Redis, bus: Bus | undefined): Promise<Finding[]> {
  const prefix = config.MUSTER_PREFIX;
  const keys = keysFor(prefix);
  const store = new RedisAgentStore(redis, redis, keys);
  const tasks = new RedisTaskStore(redis, redis, keys);
  const [agents, paused, managers, ready, time] = await Promise.all([
    store.all(),
    store.paused(),
    store.managers(),
    tasks.readyTasks(MOST_READY),
    redis.time(),
  ]);
  const counts = new Map<string, { online: number; ready: number }>();
  const countOf = (name: string) => {
    const known = counts.get(name) ?? { online: 0, ready: 0 };
    counts.set(name, known);
    return known;
  };
  for (const agent of agents)
    for (const { name } of agent.capabilities) countOf(name).online += agent.status === 'offline' ? 0 : 1;
  for (const { capability } of ready) countOf(capability).ready += 1;
  const capabilities: CapabilitySeen[] = [];
  const deadLetters: Record<string, number> = {};
  const messagesIn = async (queue: string): Promise<number> => (await bus?.inspect(queue))?.messages ?? 0;
  for (const [name, known] of [...counts].sort()) {
    capabilities.push({ name, ...known, ...(await queuesOf(bus, prefix, name)) });
    deadLetters[deadLetterQueue(prefix, name)] = await messagesIn(deadLetterQueue(prefix, name));
  }
  deadLetters[malformedQueue(prefix)] = await messagesIn(malformedQueue(prefix));
  return fleetFindings({
    nowMs: Number(time[0]) * 1000,
    leaseMs: config.MUSTER_LEASE_MS,
    heartbeatMs: config.MUSTER_HEARTBEAT_MS,
    prefix,
    managers: managers.length,
    agents,
    paused,
    parked: bus === undefined ? undefined : await messagesIn(unroutedQueue(prefix)),
    deadLetters,
    capabilities,
  });
}

async function queuesOf(
  bus: Bus | undefined,
  prefix: string,
  capability: string,
): Promise<{ consumers: number; missing: string[] }> {
  const missing: string[] = [];
  let consumers = 0;
  if (bus === undefined) return { consumers, missing };
  for (const index of PRIORITIES.keys()) {
    const queue = taskQueue(prefix, capability, index as PriorityClass);
    const state = await bus.inspect(queue);
    if (state === undefined) missing.push(queue);
    consumers += state?.consumers ?? 0;
  }
  return { consumers, missing };
}

const MARKS = { ok: '✓', note: '·', warning: '!', unreachable: '✗' } as const;

function doctorText(status: string, findings: readonly Finding[]): string[] {
  const lines = findings.flatMap(({ check, level, cause, effect, next }) => {
    const colour =
      level === 'ok' ? paint.green : level === 'note' ? paint.dim : level === 'warning' ? paint.yellow : paint.red;
    const more = [
      effect === undefined ? [] : [`    so: ${effect}`],
      next === undefined ? [] : [`  next: ${next}`],
    ].flat();
    return [`${colour(MARKS[level])} ${check}: ${cause}`, ...more];
  });
  const warnings = findings.filter(({ level }) => level === 'warning').length;
  const last =
    status === 'ok'
      ? 'All is well.'
      : status === 'warnings'
        ? `${warnings} to look at.`
        : 'Something needed cannot be reached.';
  return [...lines, '', last];
}
