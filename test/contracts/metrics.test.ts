// The list of metrics keeps the naming rules that `promtool check metrics` knows, and docs/metrics.md says what the list says.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type LabelValues, METRICS, type MetricSpec } from '../../src/telemetry/metric-list.js';

const metrics: readonly MetricSpec[] = METRICS;
const page = path.resolve(__dirname, '../../docs/metrics.md');
const [begin, end] = [/<!-- metrics: begin .*-->\n/, /<!-- metrics: end -->/];

function table(): string {
  const values = (set: LabelValues): string =>
    'cap' in set ? `at most ${set.cap}` : set.map((v) => `\`${v}\``).join(' ');
  const labels = (spec: MetricSpec): string =>
    Object.entries(spec.labels)
      .map(([label, set]) => `\`${label}\`: ${values(set)}`)
      .join('<br>');
  const rows = metrics.map((spec) => `| \`${spec.name}\` | ${spec.type} | ${labels(spec)} | ${spec.help} |`);
  return ['| Name | Type | Labels | What it says |', '|---|---|---|---|', ...rows, ''].join('\n');
}

it('is what docs/metrics.md shows', () => {
  const text = readFileSync(page, 'utf8');
  const from = begin.exec(text)!;
  const start = from.index + from[0].length;
  const stop = end.exec(text)!.index;
  if (process.env.UPDATE_DOCS === '1') writeFileSync(page, text.slice(0, start) + table() + text.slice(stop));
  else expect(text.slice(start, stop)).toBe(table());
});

it('is all that docs/metrics.md speaks of', () => {
  const known = metrics.map((spec) => spec.name);
  const prose = readFileSync(page, 'utf8').replace(table(), '');
  const mentioned = prose.match(/\b(muster|agent|resource|workflow)s?_[a-z_]+\b/g)!;
  const base = (name: string): string => name.replace(/_(bucket|sum|count)$/, '');
  expect(mentioned.filter((name) => !known.includes(name) && !known.includes(base(name)))).toEqual([]);
});

it('has the names that the requirements give', () => {
  const required = [
    'agent_registry_size',
    'agent_registry_lookups_total',
    'agent_registry_lookup_duration_seconds',
    'agent_heartbeat_lag_seconds',
    'agent_requests_total',
    'agent_request_duration_seconds',
    'agent_request_errors_total',
    'agent_request_timeouts_total',
  ];
  expect(metrics.map((spec) => spec.name)).toEqual(expect.arrayContaining(required));
});

it('names each metric once', () => {
  const names = metrics.map((spec) => spec.name);
  expect(names).toEqual([...new Set(names)]);
});

const UNITS =
  /(^|_)(ms|millis|milliseconds?|us|microseconds?|ns|s|sec|minutes?|hours?|days?|kb|mb|kilobytes|percent)(_|$)/;

describe.each(metrics.map((spec) => [spec.name, spec] as const))('%s', (name, spec) => {
  it('keeps the naming rules', () => {
    expect(name).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
    expect(name).not.toMatch(UNITS);
    expect(name).not.toMatch(/(counter|gauge|histogram|summary|metric)/);
    expect(name.endsWith('_total')).toBe(spec.type === 'counter');
    expect(name).not.toMatch(/_(count|sum|bucket|info)$/);
    if (spec.type === 'histogram') expect(name).toMatch(/_seconds$/);
  });

  it('has a sentence of help', () => {
    expect(spec.help).toMatch(/^[A-Z0-9].*\.$|, 0 to 1\.$/);
    expect(spec.help).not.toMatch(/[\n|\\]/);
  });

  it('has labels with bounded values, and no id among them', () => {
    for (const [label, values] of Object.entries(spec.labels)) {
      expect(label).toMatch(/^[a-z]+$/);
      expect(['le', 'quantile', 'task', 'run', 'id', 'message', 'job', 'instance']).not.toContain(label);
      expect('cap' in values ? values.cap : values.length).toBeLessThanOrEqual(500);
    }
  });

  it('has buckets in order, if it has any', () => {
    expect(spec.buckets ?? []).toEqual([...(spec.buckets ?? [])].sort((a, b) => a - b));
    expect(spec.buckets !== undefined).toBe(spec.type === 'histogram');
  });
});
