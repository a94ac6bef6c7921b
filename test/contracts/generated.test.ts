// The generated files are those the sources give, and say the same as zod: samples and mistakes are judged alike by both.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Ajv2020 from 'ajv/dist/2020';
import addFormats from 'ajv-formats';
import * as topology from '../../src/bus/topology.js';
import * as events from '../../src/contracts/events.js';
import * as contracts from '../../src/contracts/registry.js';

const root = path.resolve(__dirname, '../..');
const { documents } = require('../../scripts/generate.cjs') as {
  documents(parts: object): Record<string, string>;
};
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
const files = documents({ contracts, topology, events, version });
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

it.each(Object.keys(files))('%s is current (else: npm run generate)', (file) => {
  expect(read(file)).toBe(files[file]);
});

it('schemas/ holds nothing else', () => {
  const there = readdirSync(path.join(root, 'schemas')).map((file) => `schemas/${file}`);
  expect(there.sort()).toEqual(
    Object.keys(files)
      .filter((file) => file.startsWith('schemas/'))
      .sort(),
  );
});

const ajv = new Ajv2020({ strict: true, strictTypes: false, allErrors: true });
addFormats(ajv);
const validators = Object.fromEntries(
  Object.keys(contracts.CONTRACTS).map((name) => [name, ajv.compile(JSON.parse(files[`schemas/${name}.json`]!))]),
);
const both = (name: string, value: unknown) => {
  const { schema, io } = contracts.CONTRACTS[name]!;
  const parsed = schema.safeParse(value);
  // What Muster sends has its defaults filled in: a value that zod had to complete is not one Muster would send.
  const zod =
    parsed.success && (io === 'input' || JSON.stringify(sorted(parsed.data)) === JSON.stringify(sorted(value)));
  return { zod, ajv: validators[name]!(value) };
};

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const samples = Object.entries(contracts.CONTRACTS).flatMap(([name, { examples }]) =>
  examples.map((example, i) => [name, i, example] as const),
);
describe.each(samples)('%s, sample %i', (name, _, example) => {
  it('is valid by zod and by the schema', () => {
    expect(both(name, example)).toEqual({ zod: true, ajv: true });
  });

  // Every field of the sample in turn: without it, and with a value of another kind. Whether that is allowed, both must agree.
  const sample = example as Record<string, unknown>;
  const mistakes = Object.keys(sample).flatMap((field) => {
    const { [field]: __, ...without } = sample;
    return [without, { ...sample, [field]: 1.5 }, { ...sample, [field]: null }, { ...sample, [field]: { x: ['#'] } }];
  });
  it('is judged alike by both with one field missing or wrong', () => {
    const wrong = [...mistakes, { ...sample, unknown_field: true }, [], null, 'text', 7];
    for (const value of wrong) {
      const { zod, ajv: schema } = both(name, value);
      expect({ value, verdict: schema }).toEqual({ value, verdict: zod });
    }
  });
});

const planted: readonly (readonly [string, string, unknown])[] = [
  ['task', 'a hostile name', { capability: 'a.b' }],
  ['task', 'a capability of 300 characters', { capability: 'a'.repeat(300) }],
  ['task', 'a priority out of range', { capability: 'x', priority: 11 }],
  ['task', 'a date that is none', { capability: 'x', deadline_at: 'tomorrow' }],
  ['task', 'a traceparent that is none', { capability: 'x', traceparent: '00-1-2-3' }],
  ['run', 'no tasks', { tasks: [] }],
  ['run', 'a typo', { tasks: [{ capability: 'x', afterr: ['y'] }] }],
  ['run', 'an unknown failure rule', { tasks: [{ capability: 'x', on_failure: 'ignore' }] }],
  ['agent', 'capacity 0', { agent_id: 'a', agent_name: 'A', capabilities: [], capacity: 0 }],
  ['agent', 'an id with a dot', { agent_id: 'a.b', agent_name: 'A', capabilities: [] }],
  ['report', 'an unknown type', { type: 'task.done', task_id: 'a', agent_id: 'b' }],
  ['report', 'more than whole', { type: 'task.progressed', task_id: 'a', agent_id: 'b', fraction: 1.1 }],
  ['request', 'another event type', { event_type: 'agent_response' }],
  ['event', 'an upper-case topic', { event: 'Task.Done', at: '2026-01-02T03:04:05Z', source: 'x' }],
];
it.each(planted)('%s: %s is refused by zod and by the schema', (name, _, value) => {
  expect(both(name, value)).toEqual({ zod: false, ajv: false });
});

describe('every schema', () => {
  it.each(Object.keys(contracts.CONTRACTS))('%s has an id, a title, a description and examples', (name) => {
    const schema = JSON.parse(files[`schemas/${name}.json`]!) as Record<string, unknown>;
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(schema.$id).toBe(`${contracts.SCHEMA_BASE}${name}.json`);
    expect(schema.title).toEqual(expect.any(String));
    expect(schema.description).toMatch(/\.$/);
    expect((schema.examples as unknown[]).length).toBeGreaterThan(0);
  });
});

describe('docs/asyncapi.json', () => {
  const document = JSON.parse(files['docs/asyncapi.json']!) as Record<string, never>;
  const at = (pointer: string): unknown =>
    pointer
      .slice(2)
      .split('/')
      .reduce<unknown>((node, step) => (node as Record<string, unknown> | undefined)?.[step], document);

  it('refers to nothing that is not in it', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1]!);
    expect(references.length).toBeGreaterThan(20);
    expect(references.filter((reference) => !reference.startsWith('#/') || at(reference) === undefined)).toEqual([]);
  });

  it('names only exchanges of the topology, with their types', () => {
    const known = new Map(topology.baseTopology('muster').exchanges.map(({ name, type }) => [name, type]));
    for (const channel of Object.values(document.channels!) as {
      bindings: { amqp: { exchange?: { name: string; type: string } } };
    }[]) {
      const { exchange } = channel.bindings.amqp;
      if (exchange !== undefined) expect(known.get(exchange.name)).toBe(exchange.type);
    }
  });

  it('declares every parameter of an address, and has a channel for every operation', () => {
    for (const channel of Object.values(document.channels!) as { address: string; parameters?: object }[]) {
      const used = [...channel.address.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      expect(Object.keys(channel.parameters ?? {}).sort()).toEqual(used.sort());
    }
    for (const operation of Object.values(document.operations!) as { action: string; channel: { $ref: string } }[]) {
      expect(['send', 'receive']).toContain(operation.action);
      expect(at(operation.channel.$ref)).toBeDefined();
    }
  });
});
