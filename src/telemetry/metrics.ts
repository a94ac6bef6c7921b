// Event -> metric: the one subscriber that counts, and the gauges that are asked for their value at each scrape.
// prom-client (20 ms) is loaded with the first createMetrics: a process without metrics never pays for it.
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { EventName, EventRecord } from '../contracts/events.js';
import { PRIORITIES } from '../contracts/priority.js';
import { TimedOut } from '../errors.js';
import type { Clock } from '../ports.js';
import type { EventListener } from './emitter.js';
import { type LabelValues, METRICS, type MetricName, type MetricSpec, OTHER } from './metric-list.js';
import type { SlotReading } from './slots.js';

type Now<T> = T | Promise<T>;

/** Where gauges get their values, asked at each scrape. A gauge whose source is not given does not exist. */
export interface GaugeSources {
  registrySize?(): Now<Readonly<Record<'active' | 'busy' | 'offline', number>>>;
  /** Seconds since each agent's last heartbeat. */
  heartbeatLag?(): Now<ReadonlyMap<string, number>>;
  /** TaskStore.counts: ready by class P0 to P3. */
  counts?(): Now<{ readonly ready: readonly number[]; readonly timers: number; readonly running: number }>;
  deadLetters?(): Now<number>;
  /** By agent of this process. */
  slots?(): Now<ReadonlyMap<string, SlotReading>>;
  lostSpans?(): Now<number>;
}

export interface MetricsOptions {
  readonly clock: Clock;
  readonly gauges?: GaugeSources;
  /** Memory, CPU, garbage collection and event-loop lag of this process. Default true. */
  readonly processMetrics?: boolean;
}

export interface Metrics {
  readonly registry: Registry;
  /** For `Emitter.on`. */
  readonly listener: EventListener;
}

type Labels = Record<string, string>;
interface Meter {
  add(name: MetricName, labels?: Labels, by?: number): void;
  set(name: MetricName, labels: Labels, value: number): void;
  observeMs(name: MetricName, labels: Labels, ms: number): void;
}
type Rules = { readonly [N in EventName]?: (event: EventRecord<N>, meter: Meter) => void };

const RULES: Rules = {
  'task.submitted': (e, m) => m.add('muster_tasks_submitted_total', { capability: e.capability, priority: e.priority }),
  'task.dispatched': (e, m) => m.add('muster_tasks_dispatched_total', { capability: e.capability }),
  'task.started': (e, m) => {
    const labels = { capability: e.capability, priority: e.priority };
    m.add('muster_tasks_started_total', labels);
    m.observeMs('muster_task_wait_seconds', labels, e.waited_ms);
  },
  'task.completed': (e, m) => {
    m.add('muster_tasks_completed_total', { capability: e.capability });
    m.observeMs('muster_task_duration_seconds', { capability: e.capability }, e.duration_ms);
  },
  'task.retrying': (e, m) => m.add('muster_tasks_retried_total', { capability: e.capability }),
  'task.dead': (e, m) => m.add('muster_tasks_dead_total', { capability: e.capability, reason: e.reason }),
  'task.cancelled': (e, m) => m.add('muster_tasks_cancelled_total', { capability: e.capability, reason: e.reason }),
  'task.rescued': (e, m) => m.add('muster_tasks_rescued_total', { capability: e.capability, cause: e.cause }),
  'task.stale': (e, m) => m.add('muster_tasks_stale_total', { capability: e.capability }),
  'task.duplicate': (e, m) => m.add('muster_tasks_duplicate_total', { capability: e.capability }),
  'run.submitted': (_, m) => m.add('muster_runs_submitted_total'),
  'run.finished': (e, m) => {
    m.add('muster_runs_finished_total', { status: e.status });
    m.observeMs('muster_run_duration_seconds', { status: e.status }, e.duration_ms);
  },
  'message.malformed': (_, m) => m.add('muster_messages_malformed_total'),
  'message.parked': (_, m) => m.add('muster_messages_parked_total'),
  'message.forwarded': (e, m) => m.add('muster_messages_forwarded_total', {}, e.messages),
  'agent.joined': (_, m) => m.add('muster_agents_joined_total'),
  'agent.left': (e, m) => m.add('muster_agents_left_total', { reason: e.reason }),
  'agent.stale': (_, m) => m.add('muster_agents_stale_total'),
  'agent.stalled': (_, m) => m.add('muster_agent_stalls_total'),
  'request.sent': (e, m) => m.add('agent_requests_total', { action: e.action }),
  'request.answered': (e, m) => {
    m.observeMs('agent_request_duration_seconds', { action: e.action, status: e.status }, e.duration_ms);
    if (e.status === 'error') m.add('agent_request_errors_total', { action: e.action });
    if (e.status === 'timeout') m.add('agent_request_timeouts_total', { action: e.action });
  },
  'request.served': (e, m) => {
    m.add('muster_requests_served_total', { action: e.action, status: e.status });
    m.observeMs('muster_request_serve_seconds', { action: e.action }, e.duration_ms);
  },
  'registry.lookup': (e, m) => {
    m.add('agent_registry_lookups_total', { outcome: e.found > 0 ? 'found' : 'none' });
    m.observeMs('agent_registry_lookup_duration_seconds', {}, e.duration_ms);
  },
  'bus.state': (e, m) => {
    m.set('muster_bus_ready', { role: e.role }, e.state === 'ready' ? 1 : 0);
    m.set('muster_bus_blocked', { role: e.role }, e.state === 'blocked' ? 1 : 0);
    m.add('muster_bus_state_changes_total', { role: e.role, state: e.state });
  },
  'store.state': (e, m) => m.set('muster_store_ready', {}, e.state === 'ready' ? 1 : 0),
  'loop.failed': (e, m) => m.add('muster_loop_failures_total', { loop: e.loop }),
};

type Reading = readonly (readonly [labels: Labels, value: number])[];
interface GaugeRule<S extends keyof GaugeSources = keyof GaugeSources> {
  readonly source: S;
  readonly read: (value: Awaited<ReturnType<NonNullable<GaugeSources[S]>>>) => Reading;
}
const from = <S extends keyof GaugeSources>(source: S, read: GaugeRule<S>['read']): GaugeRule => ({
  source,
  read: read as GaugeRule['read'],
});
const ofSlots = (pick: (slots: SlotReading) => number): GaugeRule =>
  from('slots', (agents) => [...agents].map(([agent, slots]) => [{ agent }, pick(slots)] as const));

const GAUGES: { readonly [N in MetricName]?: GaugeRule } = {
  agent_registry_size: from('registrySize', (sizes) => Object.entries(sizes).map(([status, n]) => [{ status }, n])),
  // The worst first: where agents are too many to tell apart, those are the ones to see.
  agent_heartbeat_lag_seconds: from('heartbeatLag', (lags) =>
    [...lags].sort((a, b) => b[1] - a[1]).map(([agent, seconds]) => [{ agent }, seconds] as const),
  ),
  muster_queue_ready: from('counts', ({ ready }) => ready.map((n, i) => [{ priority: PRIORITIES[i]! }, n] as const)),
  muster_tasks_running: from('counts', ({ running }) => [[{}, running]]),
  muster_tasks_timed: from('counts', ({ timers }) => [[{}, timers]]),
  muster_dead_letters: from('deadLetters', (n) => [[{}, n]]),
  muster_agent_slots: ofSlots((reading) => reading.slots),
  muster_agent_busy_slots: ofSlots((reading) => reading.busy),
  muster_agent_utilisation: ofSlots((reading) => reading.utilisation),
  muster_agent_slot_seconds_total: ofSlots((reading) => reading.slotSeconds),
  muster_agent_busy_slot_seconds_total: ofSlots((reading) => reading.busySeconds),
  muster_spans_lost_total: from('lostSpans', (n) => [[{}, n]]),
};
// How long a scrape waits for a source: Prometheus itself gives up after 10 s.
const SOURCE_MS = 2000;

type AnyMetric = Counter | Gauge | Histogram;

/** All metrics in a registry of their own, so that two in one process do not meet. */
export function createMetrics(options: MetricsOptions): Metrics {
  const prom = require('prom-client') as typeof import('prom-client');
  const registry = new prom.Registry();
  const metrics = new Map<MetricName, AnyMetric>();
  const admit = createLimits();
  const ask = createAsk(options, (source) => meter.add('muster_scrape_failures_total', { source }));

  for (const spec of METRICS) {
    const rule = GAUGES[spec.name];
    if (rule !== undefined && options.gauges?.[rule.source] === undefined) continue;
    const collect = rule === undefined ? {} : { collect: () => fill(spec, metrics.get(spec.name)!, rule, ask) };
    const settings = { name: spec.name, help: spec.help, labelNames: Object.keys(spec.labels), registers: [registry] };
    if (spec.type === 'histogram') {
      metrics.set(spec.name, new prom.Histogram({ ...settings, buckets: [...spec.buckets] }));
    } else {
      const metric = new prom[spec.type === 'counter' ? 'Counter' : 'Gauge']({ ...settings, ...collect });
      // Nobody has said anything yet: absent, not 0.
      if (spec.type === 'gauge') metric.remove({});
      metrics.set(spec.name, metric);
    }
  }

  const meter: Meter = {
    add: (name, labels = {}, by = 1) => (metrics.get(name) as Counter).inc(admit(name, labels), by),
    set: (name, labels, value) => (metrics.get(name) as Gauge).set(admit(name, labels), value),
    observeMs: (name, labels, ms) => (metrics.get(name) as Histogram).observe(admit(name, labels), ms / 1000),
  };
  if (options.processMetrics !== false) addProcessMetrics(prom, registry);
  return {
    registry,
    listener: function metrics(record) {
      (RULES[record.event] as ((record: EventRecord, meter: Meter) => void) | undefined)?.(record, meter);
    },
  };
}

// These three end in _total and are gauges, against the naming rules that monitoring relies on.
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

function addProcessMetrics(prom: typeof import('prom-client'), register: Registry): void {
  prom.collectDefaultMetrics({ register });
  for (const name of MISNAMED) register.removeSingleMetric(name);
}

/** Keeps label values within their sets: what is outside a closed set, or past a cap, becomes 'other'. */
function createLimits(): (name: MetricName, labels: Labels) => Labels {
  const sets = new Map<string, readonly (readonly [label: string, admits: (value: string) => boolean])[]>();
  // One memory for all metrics with a label: the same 500 capabilities are told apart everywhere.
  const seen = new Map<string, Set<string>>();
  for (const spec of METRICS) {
    sets.set(
      spec.name,
      Object.entries(spec.labels).map(([label, values]) => [label, limit(label, values, seen)] as const),
    );
  }
  return (name, labels) => {
    for (const [label, admits] of sets.get(name)!) {
      if (!admits(labels[label]!)) labels[label] = OTHER;
    }
    return labels;
  };
}

function limit(label: string, values: LabelValues, seen: Map<string, Set<string>>): (value: string) => boolean {
  if (!('cap' in values)) {
    const known = new Set(values);
    return (value) => known.has(value);
  }
  const known = seen.get(label) ?? new Set();
  seen.set(label, known);
  return (value) => {
    if (known.has(value)) return true;
    if (known.size >= values.cap) return false;
    known.add(value);
    return true;
  };
}

type Ask = (source: keyof GaugeSources) => Promise<unknown>;

/** Asks a source once per scrape, however many gauges it feeds; undefined if it fails or takes too long. */
function createAsk(options: MetricsOptions, failed: (source: string) => void): Ask {
  const asked = new Map<string, Promise<unknown>>();
  return (source) => {
    let answer = asked.get(source);
    if (answer === undefined) {
      answer = inTime(options.clock, async () => options.gauges![source]!())
        .catch(() => {
          failed(source);
        })
        .finally(() => asked.delete(source));
      asked.set(source, answer);
    }
    return answer;
  };
}

function inTime<T>(clock: Clock, ask: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(SOURCE_MS, () => reject(TimedOut('A source of gauges', SOURCE_MS)));
    ask().then(resolve, reject).finally(cancel);
  });
}

async function fill(spec: MetricSpec, metric: AnyMetric, rule: GaugeRule, ask: Ask): Promise<void> {
  const value = await ask(rule.source);
  metric.reset();
  metric.remove({});
  if (value === undefined) return;
  for (const [labels, n] of capped(rule.read(value as never), spec)) {
    if (spec.type === 'counter') (metric as Counter).inc(labels, n);
    else (metric as Gauge).set(labels, n);
  }
}

/** The first rows up to the cap; the rest as one row, 'other', with the largest value among them. */
function capped(rows: Reading, spec: MetricSpec): Reading {
  const [label, values] = Object.entries(spec.labels)[0] ?? [];
  if (label === undefined || values === undefined || !('cap' in values) || rows.length <= values.cap) return rows;
  const rest = Math.max(...rows.slice(values.cap).map(([, n]) => n));
  return [...rows.slice(0, values.cap), [{ [label]: OTHER }, rest]];
}
