// What `doctor` makes of what it saw: each finding with cause, effect and the command that mends it. Pure.
// ok and note need nothing done; a warning gives exit code 1, unreachable 4.
import type { AgentRecord } from '../contracts/agent.js';
import { formatDuration } from '../decide/waterfall.js';
import { count, list, since } from '../decide/why-snapshot.js';

export type Level = 'ok' | 'note' | 'warning' | 'unreachable';
export interface Finding {
  readonly check: string;
  readonly level: Level;
  readonly cause: string;
  readonly effect?: string;
  readonly next?: string;
}

export interface BrokerSeen {
  readonly where: string;
  readonly version: string;
  readonly maxPayload: number;
}
export interface StoreSeen {
  readonly where: string;
  /** Fields of INFO. */
  readonly info: Readonly<Record<string, string>>;
  /** This machine's clock minus the store's, ms. */
  readonly skewMs: number;
}
export interface FleetSeen {
  readonly nowMs: number;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly prefix: string;
  readonly managers: number;
  readonly agents: readonly AgentRecord[];
  readonly paused: readonly string[];
  /** undefined: the broker was not asked. */
  readonly parked: number | undefined;
  readonly deadLetters: Readonly<Record<string, number>>;
  readonly capabilities: readonly CapabilitySeen[];
}
export interface CapabilitySeen {
  readonly name: string;
  readonly online: number;
  readonly ready: number;
  readonly consumers: number;
  /** Queues it should have and has not. */
  readonly missing: readonly string[];
}

const OLDEST_BROKER = [3, 10] as const;
const BIGGEST_MESSAGE_4 = 16 * 1024 * 1024;
const SKEW_MS = 2000;

export function brokerFindings({ where, version, maxPayload }: BrokerSeen): Finding[] {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const found: Finding[] = [];
  const warn = (cause: string, effect: string, next: string): void =>
    void found.push({ check: 'broker version', level: 'warning', cause, effect, next });
  if (major < OLDEST_BROKER[0] || (major === OLDEST_BROKER[0] && minor < OLDEST_BROKER[1])) {
    warn(
      `RabbitMQ ${version} is older than 3.10`,
      'its quorum queues may lose dead letters',
      'install RabbitMQ 3.10 or newer, best 4.x',
    );
  }
  if (major >= 4 && maxPayload > BIGGEST_MESSAGE_4) {
    warn(
      `MUSTER_MAX_PAYLOAD is ${maxPayload}, and RabbitMQ ${version} takes messages of 16 MiB by default`,
      'larger tasks are accepted here and then refused by the broker',
      `set max_message_size = ${maxPayload} in rabbitmq.conf, or lower MUSTER_MAX_PAYLOAD`,
    );
  }
  const row =
    major >= 4
      ? 'attempts of hours need its consumer_timeout raised (default 30 min)'
      : 'supported; attempts of over 30 min need its consumer_timeout raised, and upstream maintains 4.x only';
  return [
    { check: 'broker', level: 'ok', cause: `RabbitMQ ${version} at ${where} takes the login` },
    ...found,
    { check: 'broker version', level: 'note', cause: `RabbitMQ ${version}: ${row}` },
  ];
}

export function storeFindings({ where, info, skewMs }: StoreSeen): Finding[] {
  const version = info.redis_version ?? '0';
  const found: Finding[] = [{ check: 'store', level: 'ok', cause: `Redis ${version} at ${where} takes the login` }];
  const warn = (check: string, cause: string, effect: string, next: string): void =>
    void found.push({ check, level: 'warning', cause, effect, next });
  if (Number.parseInt(version, 10) < 7) {
    warn(
      'store version',
      `Redis ${version} is older than 7`,
      'the scripts that move tasks fail',
      'install Redis 7 or newer, or Valkey',
    );
  }
  if (info.redis_mode === 'cluster') {
    warn(
      'store mode',
      'this Redis is a cluster',
      'scripts over several keys are refused',
      'use a single Redis, with replicas if you like',
    );
  }
  if (info.role === 'slave') {
    warn('store role', 'this Redis is a replica', 'nothing can be stored', 'name its primary in REDIS_URL');
  }
  const policy = info.maxmemory_policy ?? 'noeviction';
  if (policy !== 'noeviction') {
    warn(
      'store eviction',
      `maxmemory-policy is ${policy}`,
      'when memory is short Redis deletes tasks',
      'redis-cli config set maxmemory-policy noeviction',
    );
  }
  if (info.aof_enabled === '0') {
    warn(
      'store durability',
      'the append-only file is off',
      'a crash of Redis loses what was accepted since its last snapshot',
      'redis-cli config set appendonly yes',
    );
  }
  if (info.rdb_last_bgsave_status === 'err' || info.aof_last_write_status === 'err') {
    warn(
      'store disk',
      'Redis could not write to its disk',
      'it may refuse changes, and a restart loses what is not on disk',
      'redis-cli info persistence',
    );
  }
  if (Math.abs(skewMs) > SKEW_MS) {
    const by = `${formatDuration(Math.abs(skewMs))} ${skewMs > 0 ? 'ahead of' : 'behind'}`;
    warn(
      'clock',
      `this machine's clock is ${by} Redis'`,
      'delays and deadlines given here are off by as much',
      'timedatectl set-ntp true',
    );
  }
  return found;
}

export function fleetFindings(seen: FleetSeen): Finding[] {
  return [managers(seen), ...agents(seen), ...capabilities(seen), ...queues(seen)];
}

function managers({ managers: alive }: FleetSeen): Finding {
  if (alive > 0) return { check: 'managers', level: 'ok', cause: `${count(alive, 'manager')} alive` };
  return {
    check: 'managers',
    level: 'warning',
    cause: 'no manager is alive',
    effect: 'nothing is retried, scheduled or rescued, and runs published by foreign clients wait',
    next: 'muster manager',
  };
}

function agents({ agents: all, nowMs, leaseMs, heartbeatMs }: FleetSeen): Finding[] {
  const offline = all.filter((agent) => agent.status === 'offline');
  const online = all.filter((agent) => agent.status !== 'offline');
  const stale = online.filter(
    (agent) => since(agent.last_heartbeat, nowMs) > (agent.kind === 'bus' ? heartbeatMs * 2 : leaseMs * 0.8),
  );
  const unhealthy = online.filter((agent) => agent.health_status === 'unhealthy');
  const draining = online.filter((agent) => agent.draining);
  const of = (some: readonly AgentRecord[]): string =>
    list(
      some.map((agent) => agent.agent_id),
      5,
    );
  const found: Finding[] = [
    { check: 'agents', level: online.length > 0 ? 'ok' : 'note', cause: `${count(online.length, 'agent')} online` },
  ];
  const add = (some: readonly AgentRecord[], level: Level, what: string, effect: string, next: string): void => {
    if (some.length > 0)
      found.push({
        check: 'agents',
        level,
        cause: `${count(some.length, 'agent')} ${what}: ${of(some)}`,
        effect,
        next,
      });
  };
  const first = (some: readonly AgentRecord[]): string => some[0]?.agent_id ?? '';
  add(
    offline,
    'warning',
    'offline without having left',
    'what they ran was given to others; tasks assigned to them wait',
    `muster agent show ${first(offline)}`,
  );
  add(
    stale,
    'warning',
    'silent',
    'if they stay silent their tasks are given to others',
    `muster agent show ${first(stale)}`,
  );
  add(unhealthy, 'warning', 'unhealthy', 'requests are not sent to them', `muster agent show ${first(unhealthy)}`);
  add(draining, 'note', 'draining', 'they take no new work', `muster agent drain ${first(draining)} --undo`);
  return found;
}

function capabilities({ capabilities: all }: FleetSeen): Finding[] {
  return all.flatMap((capability): Finding[] => {
    const { name, online, ready, consumers, missing } = capability;
    const found: Finding[] = [];
    if (missing.length > 0 && online > 0) {
      found.push({
        check: 'queues',
        level: 'warning',
        cause: `'${name}' has ${count(online, 'agent')} and lacks ${count(missing.length, 'queue')}, such as ${missing[0]}`,
        effect: 'tasks of that class are parked instead of run',
        next: 'restart one of its agents: it declares them',
      });
    }
    if (ready > 0 && online === 0) {
      found.push({
        check: 'capability',
        level: 'warning',
        cause: `${count(ready, 'task')} of '${name}' ${ready === 1 ? 'is' : 'are'} ready, and no agent online offers it`,
        effect: 'they wait until one joins',
        next: `muster task list --capability ${name} --state ready,dispatched`,
      });
    } else {
      found.push({
        check: 'capability',
        level: 'ok',
        cause: `'${name}': ${count(online, 'agent')} online, ${count(consumers, 'consumer')}, ${count(ready, 'task')} ready`,
      });
    }
    return found;
  });
}

function queues({ paused, parked, deadLetters, prefix }: FleetSeen): Finding[] {
  const found: Finding[] = paused.map((capability) => ({
    check: 'paused',
    level: 'warning',
    cause: `'${capability}' is paused`,
    effect: 'its tasks wait',
    next: `muster queue resume ${capability}`,
  }));
  if (parked !== undefined && parked > 0) {
    found.push({
      check: 'parked',
      level: 'warning',
      cause: `${count(parked, 'message')} parked in ${prefix}.unrouted`,
      effect: 'they wait for an agent that offers their capability',
      next: 'muster agent list: does anyone offer it, or is its name misspelt?',
    });
  }
  const dead = Object.entries(deadLetters).filter(([, messages]) => messages > 0);
  for (const [queue, messages] of dead) {
    found.push({
      check: 'dead letters',
      level: 'warning',
      cause: `${count(messages, 'message')} in ${queue}`,
      effect: 'they were given up on: unreadable, or returned too often',
      next: "look at them in RabbitMQ's management UI, or with amqp-get",
    });
  }
  if (parked !== undefined && dead.length === 0) found.push({ check: 'dead letters', level: 'ok', cause: 'none' });
  return found;
}
