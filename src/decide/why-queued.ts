// Why a ready task does not run yet: who could run it and why they do not, and how many go first. Part of decide/why.ts.
import type { AgentRecord } from '../contracts/agent.js';
import { PRIORITIES } from '../contracts/priority.js';
import { count, lasting, list, type Seen, since, type Why, type WhyReason } from './why-snapshot.js';

type Answer = Omit<Why, 'id'>;
/** How long a ready task may go without the broker's confirm before that is what it waits for. */
const DISPATCH_GRACE_MS = 3000;

interface Fleet {
  readonly offline: readonly AgentRecord[];
  readonly unhealthy: readonly AgentRecord[];
  readonly draining: readonly AgentRecord[];
  readonly full: readonly AgentRecord[];
  readonly free: readonly AgentRecord[];
}

export function queued(seen: Seen): Answer {
  const { task, nowMs } = seen;
  const fleet = sorted(seen.agents.filter((agent) => offers(agent, task.capability)));
  const from = task.ready_at ?? task.submitted_at;
  const [reason, text, more] = verdict(seen, fleet);
  return {
    reason,
    sentence: `${opening(reason)} for ${lasting(from, nowMs)}: ${text}${lost(seen)}`,
    facts: { ...factsOf(seen, fleet, since(from, nowMs)), ...more },
  };
}

type Verdict = readonly [reason: WhyReason, text: string, facts?: Readonly<Record<string, unknown>>];

function verdict(seen: Seen, fleet: Fleet): Verdict {
  return (
    unreachable(seen) ??
    (seen.task.assigned_to === undefined ? undefined : assigned(seen, seen.task.assigned_to)) ??
    paused(seen) ??
    nobody(seen, fleet) ??
    undispatched(seen) ??
    inLine(seen, fleet)
  );
}

function unreachable({ broker, task }: Seen): Verdict | undefined {
  if (broker === 'ready') return undefined;
  if (broker === 'blocked' && task.status === 'dispatched') return undefined;
  const state =
    broker === 'blocked' ? 'takes no messages now (its memory or disk alarm is on)' : 'cannot be reached from here';
  return ['broker_unreachable', `RabbitMQ ${state}; the task is stored, and goes out once it is back`];
}

function assigned(seen: Seen, id: string): Verdict | undefined {
  const { task, agents, nowMs } = seen;
  const agent = agents.find((record) => record.agent_id === id);
  if (agent === undefined)
    return ['assigned_agent_unknown', `only agent '${id}' may run it, and no agent of that name is registered`];
  if (agent.status === 'offline') {
    const heard = `last heard of ${lasting(agent.last_heartbeat, nowMs)} ago`;
    return ['assigned_agent_away', `only agent '${id}' may run it, and it is offline, ${heard}`];
  }
  if (agent.draining)
    return [
      'assigned_agent_draining',
      `only agent '${id}' may run it, and it is draining: 'muster agent drain ${id} --undo' lets it go on`,
    ];
  if (seen.paused) return undefined;
  if (agent.in_flight >= agent.capacity) {
    return [
      'assigned_agent_busy',
      `only agent '${id}' may run it, and it is at capacity (${agent.in_flight} of ${agent.capacity})`,
    ];
  }
  const late = undispatched(seen);
  if (late !== undefined) return late;
  const free = `it has ${count(agent.capacity - agent.in_flight, 'free slot')} of ${agent.capacity}`;
  return [
    'assigned_agent_next',
    `its message is on the way to agent '${id}', the only one that may run it; ${free}`,
    { attempt: task.attempt + 1 },
  ];
}

function paused({ paused: isPaused, task }: Seen): Verdict | undefined {
  if (!isPaused) return undefined;
  return [
    'capability_paused',
    `capability '${task.capability}' is paused: 'muster queue resume ${task.capability}' lets it go on`,
  ];
}

function nobody({ task, agents }: Seen, fleet: Fleet): Verdict | undefined {
  const { offline, unhealthy, draining, full, free } = fleet;
  const all = offline.length + unhealthy.length + draining.length + full.length + free.length;
  const capability = `'${task.capability}'`;
  if (all === 0) {
    const known = agents.filter((agent) => agent.status !== 'offline').length;
    return [
      'no_agent_offers',
      `no agent offers ${capability}, and ${count(known, 'agent')} ${known === 1 ? 'is' : 'are'} online; the task waits until one joins that does`,
    ];
  }
  if (free.length > 0 || full.length > 0) return undefined;
  const who = `${count(all, 'agent')} offer${all === 1 ? 's' : ''} ${capability}`;
  if (offline.length === all)
    return ['agents_offline', `${who}, ${all === 1 ? 'and it is' : `and all ${all} are`} offline (${names(offline)})`];
  if (draining.length === all)
    return [
      'agents_draining',
      `${who}, ${all === 1 ? 'and it is' : `and all ${all} are`} draining (${names(draining)})`,
    ];
  if (unhealthy.length === all)
    return [
      'agents_unhealthy',
      `${who}, ${all === 1 ? 'and it is' : `and all ${all} are`} unhealthy (${names(unhealthy)})`,
    ];
  return ['agents_unavailable', `${who}, and none takes work: ${parts(fleet)}`];
}

function undispatched({ task, nowMs, managers }: Seen): Verdict | undefined {
  if (task.status !== 'ready' || since(task.ready_at, nowMs) < DISPATCH_GRACE_MS) return undefined;
  if (managers === 0) {
    return [
      'no_manager',
      "its message was never confirmed by the broker, and no manager is alive to send it again: start one with 'muster manager'",
    ];
  }
  return [
    'dispatch_pending',
    `its message is not confirmed by the broker yet; ${count(managers, 'manager')} ${managers === 1 ? 'tries' : 'try'} again every 0.3 s`,
  ];
}

function inLine(seen: Seen, fleet: Fleet): Verdict {
  const { task, ahead } = seen;
  const total = ahead.byClass.reduce((sum, n) => sum + n, 0);
  const all = Object.values(fleet).reduce((sum: number, group: readonly AgentRecord[]) => sum + group.length, 0);
  const who = `${count(all, 'agent')} offer${all === 1 ? 's' : ''} '${task.capability}', ${parts(fleet)}`;
  const classes = ahead.byClass.map((n, i) => (n === 0 ? '' : `${n.toLocaleString('en-US')} ${PRIORITIES[i]}`));
  const line =
    total === 0
      ? 'no task is ahead of it'
      : `${ahead.atLeast ? 'at least ' : ''}${count(total, 'task')} ${total === 1 ? 'is' : 'are'} ahead (${classes.filter((text) => text !== '').join(', ')})`;
  const reason = fleet.free.length === 0 ? 'agents_full' : task.lost_attempts > 0 ? 'rescued' : 'queued';
  return [reason, `${who}; ${line}`];
}

/** '2 are at capacity (4 of 4) and 1 is draining' */
function parts({ offline, unhealthy, draining, full, free }: Fleet): string {
  const slots = (agents: readonly AgentRecord[]): string => {
    const used = agents.reduce((sum, agent) => sum + agent.in_flight, 0);
    return `${used} of ${agents.reduce((sum, agent) => sum + agent.capacity, 0)}`;
  };
  const groups = [
    [full, full.length === 0 ? '' : `at capacity (${slots(full)})`],
    [draining, 'draining'],
    [unhealthy, 'unhealthy'],
    [offline, 'offline'],
    [free, free.length === 0 ? '' : `free (${slots(free)} slots in use)`],
  ] as const;
  const present = groups.filter(([agents]) => agents.length > 0);
  return list(
    present.map(([agents, text]) => `${agents.length} ${agents.length === 1 ? 'is' : 'are'} ${text}`),
    5,
  );
}

function lost({ task }: Seen): string {
  if (task.lost_attempts === 0) return '';
  const last = task.agent === undefined ? '' : `, the last on ${task.agent}`;
  return `; ${count(task.lost_attempts, 'earlier attempt')} ${task.lost_attempts === 1 ? 'was' : 'were'} lost with ${task.lost_attempts === 1 ? 'its agent' : 'their agents'}${last}`;
}

function opening(reason: WhyReason): string {
  if (reason === 'rescued') return 'Rescued, and queued again';
  return reason === 'dispatch_pending' || reason === 'no_manager' || reason === 'broker_unreachable'
    ? 'Ready'
    : 'Queued';
}

function factsOf(
  { task, ahead, managers, broker, paused: isPaused }: Seen,
  fleet: Fleet,
  waitedMs: number,
): Record<string, unknown> {
  return {
    waited_ms: waitedMs,
    capability: task.capability,
    priority: task.priority,
    ahead: { P0: ahead.byClass[0], P1: ahead.byClass[1], P2: ahead.byClass[2], P3: ahead.byClass[3] },
    ahead_total: ahead.byClass.reduce((sum, n) => sum + n, 0),
    ahead_is_lower_bound: ahead.atLeast,
    agents: Object.fromEntries(
      Object.entries(fleet).map(([kind, agents]) => [
        kind,
        (agents as readonly AgentRecord[]).map((agent) => agent.agent_id),
      ]),
    ),
    paused: isPaused,
    managers,
    broker,
    lost_attempts: task.lost_attempts,
    failed_attempts: task.failed_attempts,
    ...(task.assigned_to === undefined ? {} : { assigned_to: task.assigned_to }),
  };
}

function sorted(agents: readonly AgentRecord[]): Fleet {
  const groups: Record<keyof Fleet, AgentRecord[]> = { offline: [], unhealthy: [], draining: [], full: [], free: [] };
  for (const agent of agents) groups[kindOf(agent)].push(agent);
  return groups;
}

function kindOf(agent: AgentRecord): keyof Fleet {
  if (agent.status === 'offline') return 'offline';
  if (agent.health_status === 'unhealthy') return 'unhealthy';
  if (agent.draining) return 'draining';
  return agent.in_flight >= agent.capacity ? 'full' : 'free';
}

function offers(agent: AgentRecord, capability: string): boolean {
  return agent.capabilities.some((offered) => offered.name === capability);
}

function names(agents: readonly AgentRecord[]): string {
  return list(agents.map((agent) => agent.agent_id));
}
