import http from 'node:http';
import { EVENT_NAMES, type EventRecord } from '../../src/contracts/events.js';
import type { Clock } from '../../src/ports.js';
import { createMetrics, type GaugeSources } from '../../src/telemetry/metrics.js';
import { servePrometheus } from '../../src/telemetry/prometheus.js';
import { createSlotMeter } from '../../src/telemetry/slots.js';

function manualClock(): Clock & { advance(ms: number): void } {
  let now = 0;
  let timers: { due: number; callback: () => void }[] = [];
  return {
    now: () => now,
    monotonic: () => now,
    after(ms, callback) {
      const timer = { due: now + ms, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      now += ms;
      for (const timer of timers.filter(({ due }) => due <= now)) timer.callback();
      timers = timers.filter(({ due }) => due > now);
    },
  };
}

function setUp(gauges: GaugeSources = {}) {
  const clock = manualClock();
  const { registry, listener } = createMetrics({ clock, gauges, processMetrics: false });
  return {
    clock,
    tell: (event: string, data: object = {}) => listener({ event, at: '', source: 'x', ...data } as EventRecord),
    /** The samples of a metric, without its buckets, as Prometheus reads them. */
    samples: async (name: string) =>
      (await registry.metrics())
        .split('\n')
        .filter((line) => line.startsWith(name) && !line.includes('_bucket{'))
        .sort(),
  };
}

const task = { task: 'r1', capability: 'summarise', priority: 'P1', attempt: 1, agent: 'a1', error: 'x' };

it('counts a task along its road', async () => {
  const { tell, samples } = setUp();
  tell('task.submitted', task);
  tell('task.dispatched', task);
  tell('task.started', { ...task, waited_ms: 250 });
  tell('task.retrying', task);
  tell('task.started', { ...task, waited_ms: 750, attempt: 2 });
  tell('task.completed', { ...task, duration_ms: 1500 });
  tell('task.dead', { ...task, reason: 'deadline' });
  tell('task.cancelled', { ...task, reason: 'what someone typed' });
  tell('task.rescued', { ...task, cause: 'agent_gone' });
  tell('task.stale', task);
  tell('task.duplicate', task);
  expect(await samples('muster_task')).toEqual([
    'muster_task_duration_seconds_count{capability="summarise"} 1',
    'muster_task_duration_seconds_sum{capability="summarise"} 1.5',
    'muster_task_wait_seconds_count{capability="summarise",priority="P1"} 2',
    'muster_task_wait_seconds_sum{capability="summarise",priority="P1"} 1',
    'muster_tasks_cancelled_total{capability="summarise",reason="other"} 1',
    'muster_tasks_completed_total{capability="summarise"} 1',
    'muster_tasks_dead_total{capability="summarise",reason="deadline"} 1',
    'muster_tasks_dispatched_total{capability="summarise"} 1',
    'muster_tasks_duplicate_total{capability="summarise"} 1',
    'muster_tasks_rescued_total{capability="summarise",cause="agent_gone"} 1',
    'muster_tasks_retried_total{capability="summarise"} 1',
    'muster_tasks_stale_total{capability="summarise"} 1',
    'muster_tasks_started_total{capability="summarise",priority="P1"} 2',
    'muster_tasks_submitted_total{capability="summarise",priority="P1"} 1',
  ]);
});

it('counts requests as they are sent, and errors and timeouts as they come back', async () => {
  const { tell, samples } = setUp();
  const request = { target: 'a1', action: 'review' };
  for (const status of ['success', 'error', 'timeout']) {
    tell('request.sent', request);
    tell('request.answered', { ...request, status, duration_ms: 100 });
  }
  tell('registry.lookup', { duration_ms: 2, found: 3 });
  tell('registry.lookup', { duration_ms: 2, found: 0 });
  expect(await samples('agent_')).toEqual([
    'agent_registry_lookup_duration_seconds_count 2',
    'agent_registry_lookup_duration_seconds_sum 0.004',
    'agent_registry_lookups_total{outcome="found"} 1',
    'agent_registry_lookups_total{outcome="none"} 1',
    'agent_request_duration_seconds_count{action="review",status="error"} 1',
    'agent_request_duration_seconds_count{action="review",status="success"} 1',
    'agent_request_duration_seconds_count{action="review",status="timeout"} 1',
    'agent_request_duration_seconds_sum{action="review",status="error"} 0.1',
    'agent_request_duration_seconds_sum{action="review",status="success"} 0.1',
    'agent_request_duration_seconds_sum{action="review",status="timeout"} 0.1',
    'agent_request_errors_total{action="review"} 1',
    'agent_request_timeouts_total{action="review"} 1',
    'agent_requests_total{action="review"} 3',
  ]);
});

it('follows the state of broker and store, and says nothing of a store nobody spoke of', async () => {
  const { tell, samples } = setUp();
  expect(await samples('muster_store_ready')).toEqual([]);
  tell('store.state', { state: 'ready' });
  tell('bus.state', { role: 'publisher', state: 'ready' });
  tell('bus.state', { role: 'publisher', state: 'blocked' });
  tell('loop.failed', { loop: 'rescuer', error: 'x' });
  expect(await samples('muster_store_ready')).toEqual(['muster_store_ready 1']);
  expect(await samples('muster_bus')).toEqual([
    'muster_bus_blocked{role="publisher"} 1',
    'muster_bus_ready{role="publisher"} 0',
    'muster_bus_state_changes_total{role="publisher",state="blocked"} 1',
    'muster_bus_state_changes_total{role="publisher",state="ready"} 1',
  ]);
  expect(await samples('muster_loop')).toEqual(['muster_loop_failures_total{loop="rescuer"} 1']);
});

it('takes any event without complaint', () => {
  const { tell } = setUp();
  const whole = { ...task, waited_ms: 1, duration_ms: 1, status: 'success', action: 'x', state: 'ready', role: 'x' };
  for (const event of EVENT_NAMES)
    tell(event, { ...whole, loop: 'x', cause: 'agent_gone', reason: 'stopped', found: 1, messages: 1 });
});

it('tells 500 capabilities apart, everywhere the same ones, and calls the rest other', async () => {
  const { tell, samples } = setUp();
  for (let i = 0; i < 700; i++) tell('task.completed', { ...task, capability: `c${i}`, duration_ms: 1 });
  for (let i = 699; i >= 0; i--) tell('task.dispatched', { ...task, capability: `c${i}` });
  for (const name of ['muster_tasks_completed_total', 'muster_tasks_dispatched_total']) {
    const lines = await samples(name);
    expect(lines).toHaveLength(501);
    expect(lines).toContain(`${name}{capability="other"} 200`);
    expect(lines).toContain(`${name}{capability="c499"} 1`);
  }
});

it('asks each source once per scrape for all the gauges it feeds', async () => {
  const counts = jest.fn(async () => ({ ready: [1, 2, 3, 4], timers: 5, running: 6 }));
  const { samples } = setUp({
    counts,
    registrySize: () => ({ active: 2, busy: 1, offline: 0 }),
    deadLetters: () => 7,
    lostSpans: () => 8,
  });
  expect([...(await samples('muster_queue')), ...(await samples('muster_tasks_'))]).toEqual([
    'muster_queue_ready{priority="P0"} 1',
    'muster_queue_ready{priority="P1"} 2',
    'muster_queue_ready{priority="P2"} 3',
    'muster_queue_ready{priority="P3"} 4',
    'muster_tasks_running 6',
    'muster_tasks_timed 5',
  ]);
  expect(counts).toHaveBeenCalledTimes(2);
  expect(await samples('agent_registry_size')).toEqual([
    'agent_registry_size{status="active"} 2',
    'agent_registry_size{status="busy"} 1',
    'agent_registry_size{status="offline"} 0',
  ]);
  expect(await samples('muster_dead_letters')).toEqual(['muster_dead_letters 7']);
  expect(await samples('muster_spans_lost_total')).toEqual(['muster_spans_lost_total 8']);
  expect(await samples('muster_spans_lost_total')).toEqual(['muster_spans_lost_total 8']);
});

it('has no gauges without a source for them', async () => {
  const { samples } = setUp();
  expect(await samples('# TYPE muster_queue')).toEqual([]);
  expect(await samples('# TYPE muster_agent_slots')).toEqual([]);
});

it('serves the rest of a scrape when a source fails or hangs, and counts it', async () => {
  let broken = true;
  const { clock, samples } = setUp({
    deadLetters: () => {
      if (broken) throw new Error('no broker');
      return 1;
    },
    counts: () => (broken ? new Promise<never>(() => {}) : { ready: [0, 0, 0, 0], timers: 0, running: 1 }),
    lostSpans: () => 2,
  });
  const first = samples('muster_');
  await new Promise(setImmediate);
  clock.advance(2000);
  const lines = await first;
  expect(lines).toContain('muster_spans_lost_total 2');
  expect(lines.filter((line) => /^muster_(dead_letters|queue_ready|tasks_running)/.test(line))).toEqual([]);
  broken = false;
  expect(await samples('muster_dead_letters')).toEqual(['muster_dead_letters 1']);
  expect(await samples('muster_tasks_running')).toEqual(['muster_tasks_running 1']);
  expect(await samples('muster_scrape')).toEqual([
    'muster_scrape_failures_total{source="counts"} 1',
    'muster_scrape_failures_total{source="deadLetters"} 1',
  ]);
});

it('shows the 500 agents that are silent the longest, and forgets those that left', async () => {
  let lags = new Map(Array.from({ length: 600 }, (_, i) => [`a${i}`, i]));
  const { samples } = setUp({ heartbeatLag: () => lags });
  const lines = await samples('agent_heartbeat_lag_seconds');
  expect(lines).toHaveLength(501);
  expect(lines).toContain('agent_heartbeat_lag_seconds{agent="a599"} 599');
  expect(lines).toContain('agent_heartbeat_lag_seconds{agent="other"} 99');
  lags = new Map([['a7', 1]]);
  expect(await samples('agent_heartbeat_lag_seconds')).toEqual(['agent_heartbeat_lag_seconds{agent="a7"} 1']);
});

it('measures utilisation in slot-seconds, over the last minute', async () => {
  const clock = manualClock();
  const meter = createSlotMeter(clock);
  expect(meter.read().utilisation).toBe(0);
  meter.set(4, 0);
  clock.advance(10_000);
  meter.set(4, 2);
  clock.advance(10_000);
  expect(meter.read()).toEqual({ slots: 4, busy: 2, slotSeconds: 80, busySeconds: 20, utilisation: 0.25 });
  const { samples } = setUp({ slots: () => new Map([['a1', meter.read()]]) });
  expect(await samples('muster_agent_')).toEqual([
    'muster_agent_busy_slot_seconds_total{agent="a1"} 20',
    'muster_agent_busy_slots{agent="a1"} 2',
    'muster_agent_slot_seconds_total{agent="a1"} 80',
    'muster_agent_slots{agent="a1"} 4',
    'muster_agent_stalls_total 0',
    'muster_agent_utilisation{agent="a1"} 0.25',
  ]);
  clock.advance(60_000);
  expect(meter.read().utilisation).toBe(0.5);
});

it('answers /metrics, and nothing else', async () => {
  const { registry } = createMetrics({ clock: manualClock() });
  const server = await servePrometheus(registry, { port: 0 });
  const ask = (path: string, method = 'GET') =>
    new Promise<{ status: number; type: string | undefined; body: string }>((resolve, reject) => {
      const request = http.request({ port: server.port, host: '127.0.0.1', path, method }, async (response) => {
        let body = '';
        for await (const chunk of response) body += chunk;
        resolve({ status: response.statusCode!, type: response.headers['content-type'], body });
      });
      request.on('error', reject).end();
    });
  const scraped = await ask('/metrics?x=1');
  expect(scraped).toMatchObject({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
  expect(scraped.body).toContain('# TYPE muster_tasks_submitted_total counter');
  expect(scraped.body).toContain('nodejs_eventloop_lag_seconds');
  expect(scraped.body).not.toMatch(/nodejs_active_(handles|requests|resources)_total/);
  expect(await ask('/')).toMatchObject({ status: 404 });
  expect(await ask('/metrics', 'POST')).toMatchObject({ status: 405 });
  expect(await ask('/metrics', 'HEAD')).toMatchObject({ status: 200, body: '' });
  await expect(servePrometheus(registry, { port: server.port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await server.close();
  await expect(ask('/metrics')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

it('answers 500 without details when the registry itself fails', async () => {
  const metrics = () => Promise.reject(new Error('secret'));
  const server = await servePrometheus({ contentType: 'text/plain', metrics }, { port: 0 });
  const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
  expect([response.status, await response.text()]).toEqual([500, 'The metrics cannot be collected.\n']);
  await server.close();
});
