// Every metric Muster exports, in one list: metrics.ts makes them from it, docs/metrics.md is checked against it.
// Label values come from closed sets, or are capped: past so many distinct ones, the rest is 'other'. Never a task id.
import { PRIORITIES } from '../contracts/priority.js';
import { TASK_REASONS } from '../contracts/task.js';

/** The closed set of a label's values, or how many distinct ones are told apart. */
export type LabelValues = readonly string[] | { readonly cap: number };

type LabelSets = Readonly<Record<string, LabelValues>>;

export interface MetricSpec {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: LabelSets;
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
}

export const OTHER = 'other';
const many = { cap: 500 };
const few = { cap: 20 };
const capability = many;
const priority = PRIORITIES;
const status = ['success', 'error', 'timeout'] as const;
const QUICK = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const USUAL = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const LONG = [0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400];

const counter = define('counter');
const gauge = define('gauge');

function define(type: 'counter' | 'gauge') {
  return <const N extends string>(name: N, help: string, labels: LabelSets = {}) => ({ name, type, help, labels });
}

function histogram<const N extends string>(name: N, help: string, buckets: readonly number[], labels: LabelSets = {}) {
  return { name, type: 'histogram' as const, help, labels, buckets };
}

export const METRICS = [
  // The registry.
  gauge('agent_registry_size', 'Agents known to the registry.', { status: ['active', 'busy', 'offline'] }),
  counter('agent_registry_lookups_total', 'Searches for agents.', { outcome: ['found', 'none'] }),
  histogram('agent_registry_lookup_duration_seconds', 'Time a search for agents took.', QUICK),
  gauge(
    'agent_heartbeat_lag_seconds',
    "Time since an agent's last heartbeat; under 'other', the longest of the rest.",
    { agent: many },
  ),
  counter('muster_agents_joined_total', 'Agents that joined, again after a restart too.'),
  counter('muster_agents_left_total', 'Agents that left.', { reason: ['stopped', 'lease_expired', 'replaced'] }),
  counter('muster_agents_stale_total', 'Times an agent was found silent for too long.'),
  counter('muster_agent_stalls_total', 'Times an agent blocked its event loop.'),

  // Requests between agents.
  counter('agent_requests_total', 'Requests sent.', { action: many }),
  histogram('agent_request_duration_seconds', 'Time from a request to its reply, error or timeout.', USUAL, {
    action: many,
    status,
  }),
  counter('agent_request_errors_total', 'Requests answered with an error.', { action: many }),
  counter('agent_request_timeouts_total', 'Requests without a reply in time.', { action: many }),
  counter('muster_requests_served_total', 'Requests this process answered.', { action: many, status }),
  histogram('muster_request_serve_seconds', 'Time this process took to answer a request.', USUAL, { action: many }),

  // The road of a task.
  counter('muster_tasks_submitted_total', 'Tasks accepted.', { capability, priority }),
  counter('muster_tasks_dispatched_total', 'Tasks whose message the broker confirmed.', { capability }),
  counter('muster_tasks_started_total', 'Attempts started.', { capability, priority }),
  counter('muster_tasks_completed_total', 'Tasks completed.', { capability }),
  counter('muster_tasks_retried_total', 'Attempts that failed and will be followed by another.', { capability }),
  counter('muster_tasks_dead_total', 'Tasks given up.', { capability, reason: TASK_REASONS }),
  counter('muster_tasks_cancelled_total', 'Tasks cancelled.', { capability, reason: TASK_REASONS }),
  counter('muster_tasks_rescued_total', 'Tasks taken back from an agent that vanished or gave them up.', {
    capability,
    cause: ['lease_expired', 'agent_gone', 'handed_back'],
  }),
  counter('muster_tasks_stale_total', 'Reports of attempts that had lost their lease; they changed nothing.', {
    capability,
  }),
  counter('muster_tasks_duplicate_total', 'Messages of tasks that were already done or under way; dropped.', {
    capability,
  }),
  histogram('muster_task_wait_seconds', 'Time from ready to started.', USUAL, { capability, priority }),
  histogram('muster_task_duration_seconds', 'Time of the attempt that completed a task.', USUAL, { capability }),
  gauge('muster_queue_ready', 'Tasks ready or dispatched, waiting for an agent.', { priority }),
  gauge('muster_tasks_running', 'Tasks an agent holds now.'),
  gauge('muster_tasks_timed', 'Tasks that wait for a moment: scheduled or retrying.'),
  gauge('muster_dead_letters', 'Messages in the dead-letter queue.'),

  // Runs.
  counter('muster_runs_submitted_total', 'Runs accepted.'),
  counter('muster_runs_finished_total', 'Runs whose every task has ended.', { status: ['completed', 'failed'] }),
  histogram('muster_run_duration_seconds', 'Time from the submission of a run to its end.', LONG, {
    status: ['completed', 'failed'],
  }),

  // Agents at work in this process.
  gauge('muster_agent_slots', 'Tasks an agent may handle at once.', { agent: many }),
  gauge('muster_agent_busy_slots', 'Tasks an agent handles now.', { agent: many }),
  gauge('muster_agent_utilisation', 'Busy slot-seconds by slot-seconds over the last minute, 0 to 1.', { agent: many }),
  counter('muster_agent_slot_seconds_total', 'Slot-seconds an agent offered.', { agent: many }),
  counter('muster_agent_busy_slot_seconds_total', 'Slot-seconds an agent was busy.', { agent: many }),

  // Messages, broker and store.
  counter('muster_messages_malformed_total', 'Messages that could not be read, put aside whole.'),
  counter('muster_messages_parked_total', 'Messages for a capability that nobody offers, parked.'),
  counter('muster_messages_forwarded_total', 'Parked messages sent on when somebody offered their capability.'),
  gauge('muster_bus_ready', '1 while a connection to the broker can be used.', { role: few }),
  gauge('muster_bus_blocked', '1 while the broker takes no messages on a connection (alarm).', { role: few }),
  counter('muster_bus_state_changes_total', 'Changes of a connection to the broker, by the state it came to.', {
    role: few,
    state: ['connecting', 'ready', 'blocked', 'closed'],
  }),
  gauge('muster_store_ready', '1 while Redis can be used.'),

  // This process.
  counter('muster_loop_failures_total', 'Failures of background loops and listeners, which go on.', { loop: few }),
  counter('muster_spans_lost_total', 'Spans that could not be delivered to a collector.'),
  counter('muster_scrape_failures_total', 'Gauges without a value in a scrape, because their source failed.', {
    source: few,
  }),
] satisfies readonly MetricSpec[];

export type MetricName = (typeof METRICS)[number]['name'];
