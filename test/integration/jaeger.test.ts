// What leaves the process: the real Jaeger and OTLP exporters post to a collector of ours, and an independent Thrift reader
// decodes it. Client and agent are processes of their own, joined by nothing but the traceparent string.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { isTracing, withSpan } from '../../src/telemetry/tracing.js';
import { startTracing } from '../../src/telemetry/tracing-sdk.js';
import type { TracedProcess } from '../support/traced-process.js';

interface Span {
  readonly trace: string;
  readonly id: string;
  readonly parent: string;
  readonly name: string;
  readonly tags: Record<string, unknown>;
  readonly service: string;
  readonly logs: readonly string[];
}

const root = path.resolve(__dirname, '../..');
const idl = path.join(
  path.dirname(require.resolve('jaeger-client/package.json')),
  'dist/src/jaeger-idl/thrift/jaeger.thrift',
);
// biome-ignore lint/suspicious/noExplicitAny: thriftrw has no types.
const { Thrift } = require('thriftrw') as any;
const thrift = new Thrift({ source: readFileSync(idl, 'utf8'), allowOptionalArguments: true });

let posts: { path: string; type: string | undefined; body: Buffer }[] = [];
let answer = true;
const collector = http.createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  posts.push({ path: request.url!, type: request.headers['content-type'], body: Buffer.concat(chunks) });
  if (answer)
    response.writeHead(request.url === '/broken' ? 500 : 200, { 'content-type': 'application/json' }).end('{}');
});
let base = '';

beforeAll(async () => {
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
});
afterAll(() => {
  collector.closeAllConnections();
  collector.close();
});
beforeEach(() => {
  posts = [];
  answer = true;
});

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
  readonly said: { own?: string; active?: string; nested?: string; lost: number };
}

function run(settings: TracedProcess, env: Record<string, string> = {}): Promise<Ended> {
  const entry = path.join(root, 'test/support/traced-process.ts');
  const child = spawn(
    process.execPath,
    ['-r', path.join(root, 'test/support/register.cjs'), entry, JSON.stringify(settings)],
    { env: { PATH: process.env.PATH, OTEL_EXPORTER_OTLP_ENDPOINT: base, ...env } },
  );
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (stdout === '') reject(new Error(`The process said nothing (code ${code}): ${stderr}`));
      else resolve({ code, stderr, said: JSON.parse(stdout) });
    });
  });
}

// biome-ignore lint/suspicious/noExplicitAny: decoded Thrift.
type Decoded = any;

function jaegerSpans(): Span[] {
  const value = (tag: Decoded): unknown =>
    ({ STRING: tag.vStr, DOUBLE: tag.vDouble, BOOL: tag.vBool })[tag.vType as 'STRING'];
  const tags = (list: Decoded[]): Record<string, unknown> =>
    Object.fromEntries((list ?? []).map((tag) => [tag.key, value(tag)]));
  return posts
    .filter((post) => post.path === '/api/traces')
    .flatMap((post) => {
      expect(post.type).toBe('application/x-thrift');
      const batch = thrift.Batch.rw.readFrom(post.body, 0).value;
      return batch.spans.map((span: Decoded) => ({
        trace: span.traceIdHigh.toString('hex') + span.traceIdLow.toString('hex'),
        id: span.spanId.toString('hex'),
        parent: span.parentSpanId.toString('hex'),
        name: span.operationName,
        tags: tags(span.tags),
        service: batch.process.serviceName,
        logs: span.logs.map((log: Decoded) => tags(log.fields).event),
      }));
    });
}

function otlpSpans(): Span[] {
  const tags = (list: Decoded[]): Record<string, unknown> =>
    Object.fromEntries(list.map((tag) => [tag.key, Object.values(tag.value)[0]]));
  return posts
    .filter((post) => post.path === '/v1/traces')
    .flatMap((post) => JSON.parse(post.body.toString()).resourceSpans)
    .flatMap((resource: Decoded) =>
      resource.scopeSpans.flatMap((scope: Decoded) =>
        scope.spans.map((span: Decoded) => ({
          trace: span.traceId,
          id: span.spanId,
          parent: span.parentSpanId ?? '0000000000000000',
          name: span.name,
          tags: tags(span.attributes),
          service: tags(resource.resource.attributes)['service.name'] as string,
          logs: span.events.map((event: Decoded) => event.name),
        })),
      ),
    );
}

const jaegerEndpoint = (): string => `${base}/api/traces`;
const find = (spans: readonly Span[], name: string, attempt?: number): Span =>
  spans.find((span) => span.name === name && (attempt === undefined || span.tags['muster.task.attempt'] === attempt))!;

async function fleet(mode: 'jaeger' | 'otlp' | 'both'): Promise<{ own: string; nested: string }> {
  const tracing = { mode, jaegerEndpoint: jaegerEndpoint() };
  const client = await run({ role: 'client', tracing: { ...tracing, serviceName: 'client' } });
  expect(client).toMatchObject({ code: 0, stderr: '', said: { active: client.said.own, lost: 0 } });
  const own = client.said.own!;
  const agent = await run({ role: 'agent', tracing: { ...tracing, serviceName: 'scribe' }, traceparent: own });
  expect(agent).toMatchObject({ code: 0, stderr: '', said: { lost: 0 } });
  return { own, nested: agent.said.nested! };
}

function expectOneTrace(spans: readonly Span[], { own, nested }: { own: string; nested: string }): void {
  const [, trace, id] = own.split('-');
  expect(trace).toMatch(/^[0-9a-f]{32}$/);
  expect(spans.map((span) => span.trace)).toEqual(spans.map(() => trace));
  const named = spans.map((span) => span.name).sort();
  expect(named).toEqual(
    [
      'submit muster.task',
      'send muster.task',
      'process muster.task.summarise.p1',
      'process muster.task.summarise.p1',
      'think',
      'submit muster.task',
      'invoke_agent critic',
      'process muster.agent',
    ].sort(),
  );
  const submit = spans.find((span) => span.id === id)!;
  const attempt = find(spans, 'process muster.task.summarise.p1', 2);
  expect(submit).toMatchObject({ name: 'submit muster.task', parent: '0000000000000000', service: 'client' });
  expect(find(spans, 'send muster.task')).toMatchObject({ parent: id, service: 'client' });
  expect(find(spans, 'process muster.task.summarise.p1', 1)).toMatchObject({ parent: id, service: 'scribe' });
  expect(attempt).toMatchObject({ parent: id, service: 'scribe', logs: ['task.progressed'] });
  expect(find(spans, 'think').parent).toBe(attempt.id);
  const inner = spans.find((span) => span.id === nested.split('-')[2])!;
  expect(inner).toMatchObject({ name: 'submit muster.task', parent: find(spans, 'think').id });
  expect(find(spans, 'invoke_agent critic').parent).toBe(attempt.id);
  expect(find(spans, 'process muster.agent').parent).toBe(find(spans, 'invoke_agent critic').id);
}

it('sends Jaeger one trace of 128 bits, from the submit through the agent to what its handler submits', async () => {
  const made = await fleet('jaeger');
  const spans = jaegerSpans();
  expectOneTrace(spans, made);
  expect(otlpSpans()).toEqual([]);
  expect(spans.find((span) => span.id === made.own.split('-')[2])!.tags).toMatchObject({
    'span.kind': 'producer',
    'messaging.system': 'rabbitmq',
    'messaging.operation.name': 'submit',
    'messaging.operation.type': 'create',
    'messaging.message.conversation_id': 'run1',
    'muster.run.id': 'run1',
    'muster.capability': 'summarise',
    'muster.priority': 'P1',
    workflow_type: 'review',
  });
  expect(find(spans, 'send muster.task').tags).toMatchObject({
    'span.kind': 'producer',
    'messaging.destination.name': 'muster.task:summarise.p1',
  });
  expect(find(spans, 'process muster.task.summarise.p1', 2).tags).toMatchObject({
    'span.kind': 'consumer',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.name': 'muster.task:summarise.p1:muster.task.summarise.p1',
    'messaging.message.id': 'run1',
    'muster.task.id': 'run1',
    'muster.priority': 'P1',
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.id': 'scribe-1',
    'gen_ai.agent.name': 'scribe',
  });
});

it('marks a failed attempt with its error, without the password the message held', async () => {
  await fleet('jaeger');
  const failed = find(jaegerSpans(), 'process muster.task.summarise.p1', 1);
  expect(failed.tags).toMatchObject({ error: true, 'error.type': 'THROTTLED', 'otel.status_code': 'ERROR' });
  expect(failed.logs).toEqual(['exception']);
  expect(posts.map((post) => post.body.toString('latin1')).join()).not.toContain('hunter2');
});

it('sends an OTLP collector the same trace', async () => {
  const made = await fleet('otlp');
  expectOneTrace(otlpSpans(), made);
  expect(posts.map((post) => post.path)).not.toContain('/api/traces');
});

it('sends both, and OTLP as protobuf when the environment says so', async () => {
  const tracing = { mode: 'both', serviceName: 'client', jaegerEndpoint: jaegerEndpoint() } as const;
  await run({ role: 'client', tracing }, { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' });
  expect(jaegerSpans()).toHaveLength(2);
  const otlp = posts.filter((post) => post.path === '/v1/traces');
  expect(otlp.map((post) => post.type)).toEqual(['application/x-protobuf']);
  expect(otlp[0]!.body.includes('submit muster.task')).toBe(true);
});

it('drops the spans and says nothing where no collector listens, and does not keep the process', async () => {
  const refused = 'http://127.0.0.1:9';
  const tracing = { mode: 'both', serviceName: 'client', jaegerEndpoint: `${refused}/api/traces` } as const;
  const ended = await run({ role: 'client', tracing }, { OTEL_EXPORTER_OTLP_ENDPOINT: refused });
  expect(ended).toMatchObject({ code: 0, stderr: '', said: { lost: 4 } });
});

it('survives a gRPC collector that is away', async () => {
  const env = { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' };
  const ended = await run({ role: 'hurried', tracing: { mode: 'otlp', serviceName: 'client' } }, env);
  expect(ended).toMatchObject({ code: 0, stderr: '', said: { lost: 2 } });
});

it('gives up on a collector that never answers, and the process still ends', async () => {
  answer = false;
  const tracing = { mode: 'both', serviceName: 'client', jaegerEndpoint: jaegerEndpoint() } as const;
  expect(await run({ role: 'hurried', tracing })).toMatchObject({ code: 0, stderr: '', said: { lost: 4 } });
});

it('records nothing at ratio 0, and passes on traceparents that say so', async () => {
  const tracing = { mode: 'jaeger', serviceName: 'client', jaegerEndpoint: jaegerEndpoint(), sampleRatio: 0 } as const;
  const { said } = await run({ role: 'client', tracing });
  expect(said.own).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  await run({ role: 'agent', tracing: { ...tracing, sampleRatio: 1 }, traceparent: said.own! });
  expect(posts).toEqual([]);
});

it('starts nothing in mode none', async () => {
  const { said } = await run({ role: 'client', tracing: { mode: 'none', serviceName: 'client' } });
  expect(said.own).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  expect(said.active).toBeUndefined();
  expect(posts).toEqual([]);
});

it('still delivers to the one collector when the other is away', async () => {
  const tracing = { mode: 'both', serviceName: 'client', jaegerEndpoint: jaegerEndpoint() } as const;
  const { said } = await run({ role: 'client', tracing }, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' });
  expect(said.lost).toBe(2);
  expect(jaegerSpans()).toHaveLength(2);
});

it('can be started again in the same process, and leaves nothing registered', async () => {
  for (const serviceName of ['first', 'second']) {
    const tracing = await startTracing({ mode: 'jaeger', serviceName, jaegerEndpoint: jaegerEndpoint() });
    expect(isTracing()).toBe(true);
    withSpan('internal', 'here', undefined, {}, () => {});
    await tracing.shutdown();
    expect(isTracing()).toBe(false);
    expect(tracing.lost()).toBe(0);
  }
  expect(jaegerSpans().map((span) => [span.name, span.service])).toEqual([
    ['here', 'first'],
    ['here', 'second'],
  ]);
});

it('counts what a collector refuses', async () => {
  const tracing = await startTracing({ mode: 'jaeger', serviceName: 'x', jaegerEndpoint: `${base}/broken` });
  withSpan('internal', 'here', undefined, {}, () => {});
  await tracing.shutdown();
  expect(tracing.lost()).toBe(1);
});
