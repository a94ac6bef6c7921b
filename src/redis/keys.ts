// Every Redis key and channel, its type and its life. Keys are built here and nowhere else.
// Keys of one run share the hash tag {run}; the indexes are global, so that one script can move a task between them atomically
// (docs/adr/0001: single Redis or Sentinel, not Cluster).
import { splitTaskId } from '../contracts/names.js';
import type { PriorityClass } from '../contracts/priority.js';

/** Where each kind of key lives; docs/redis-keys.md is checked against this list. */
export const KEY_KINDS = {
  task: 'hash; state, attempt, token, holder and times of one task; until retention ends',
  body: 'string; the task message body, byte for byte as submitted; with the task',
  outcome: 'string; JSON of output or error of a finished task; with the task',
  open: 'set; keys of the dependencies a blocked task still waits for; until it is released',
  after: 'list; rule and key of each dependency as submitted, e.g. "f:build"; with the task',
  dependents: 'list; rule and key of each dependent not yet told, e.g. "f:deploy"; until the task ends',
  run: 'hash; status, counters, digest and labels of a run of several tasks; until retention ends',
  members: 'list; task keys of a run in order of submission; with the run',
  watchers: 'set; instances that want to hear how a task ended; until it ends',
  runs: 'zset; run id -> ms submitted; every run stored',
  ready:
    'zset per class; task id -> ms when to (re)dispatch it, plus 0.5 once the broker confirmed it; ready, not yet claimed. The outbox',
  timers: 'zset; task id -> ms when it becomes ready; scheduled and retrying tasks',
  deadlines: 'zset; task id -> ms when its attempt or its life is over',
  releasing: 'zset; task id -> ms; ended tasks whose dependents are not all told yet',
  retention: 'zset; run id -> ms when to delete it; finished runs, and runs not submitted whole',
  held: 'set per instance; task ids it runs',
  reserved: 'set per agent; tasks sent to its inbox and not yet claimed',
  instances:
    'zset; instance -> ms when its lease ends; 1 or 2: condemned, its tasks are being rescued; agents, managers, clients',
  agents: 'hash; agent id -> JSON of its record without heartbeat and load',
  owners: 'hash; instance -> agent id',
  offers: 'hash per capability; agent id -> "<capacity> <instance>" of each agent that offers it',
  beat: 'string per agent; ms of its last heartbeat; TTL 90 s',
  draining: 'set; agent ids that take no new work',
  health: 'hash; agent id -> health status',
  paused: 'set; capabilities whose queues are paused',
  epoch: 'string; random id of this data set, to notice that Redis was emptied or replaced',
} as const;

export interface Keys {
  readonly prefix: string;
  task(id: string): string;
  body(id: string): string;
  outcome(id: string): string;
  open(id: string): string;
  after(id: string): string;
  dependents(id: string): string;
  watchers(id: string): string;
  run(run: string): string;
  members(run: string): string;
  readonly runs: string;
  ready(priority: PriorityClass): string;
  readonly timers: string;
  readonly deadlines: string;
  readonly releasing: string;
  readonly retention: string;
  held(instance: string): string;
  reserved(agent: string): string;
  readonly instances: string;
  readonly agents: string;
  readonly owners: string;
  offers(capability: string): string;
  beat(agent: string): string;
  readonly draining: string;
  readonly health: string;
  readonly paused: string;
  readonly epoch: string;
  /** Pub/sub channel of one instance: notices and cancels. Its subscriber count tells whether the process lives. */
  instanceChannel(instance: string): string;
  /** Pub/sub channel of registry changes. */
  readonly registryChannel: string;
}

/** `prefix` is MUSTER_PREFIX; names below it come from the name grammar, so no key can be forged from user input. */
export function keysFor(prefix: string): Keys {
  const ofTask = (kind: string) => (id: string) => {
    const { run, key } = splitTaskId(id);
    return `${prefix}:${kind}:{${run}}${key === '' ? '' : `:${key}`}`;
  };
  return {
    prefix,
    task: ofTask('task'),
    body: ofTask('body'),
    outcome: ofTask('outcome'),
    open: ofTask('open'),
    after: ofTask('after'),
    dependents: ofTask('dependents'),
    watchers: ofTask('watchers'),
    run: (run) => `${prefix}:run:{${run}}`,
    members: (run) => `${prefix}:members:{${run}}`,
    runs: `${prefix}:runs`,
    ready: (priority) => `${prefix}:ready:p${priority}`,
    timers: `${prefix}:timers`,
    deadlines: `${prefix}:deadlines`,
    releasing: `${prefix}:releasing`,
    retention: `${prefix}:retention`,
    held: (instance) => `${prefix}:held:${instance}`,
    reserved: (agent) => `${prefix}:reserved:${agent}`,
    instances: `${prefix}:instances`,
    agents: `${prefix}:agents`,
    owners: `${prefix}:owners`,
    offers: (capability) => `${prefix}:offers:${capability}`,
    beat: (agent) => `${prefix}:beat:${agent}`,
    draining: `${prefix}:draining`,
    health: `${prefix}:health`,
    paused: `${prefix}:paused`,
    epoch: `${prefix}:epoch`,
    instanceChannel: (instance) => `${prefix}:instance:${instance}`,
    registryChannel: `${prefix}:registry`,
  };
}
