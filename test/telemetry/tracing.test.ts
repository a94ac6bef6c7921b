import { context, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { EventRecord } from '../../src/contracts/events.js';
import {
  dispatchSpan,
  processSpan,
  requestSpan,
  serveSpan,
  submitSpan,
  traceEvents,
} from '../../src/telemetry/spans.js';
import {
  currentTraceparent,
  failSpan,
  isTracing,
  newTraceparent,
  noteOnSpan,
  parseTraceparent,
  traceIdOf,
  withSpan,
} from '../../src/telemetry/tracing.js';
import { startTracing } from '../../src/telemetry/tracing-sdk.js';

const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const traceId = '0af7651916cd43dd8448eb211c80319c';
const random = () => 0.5;
const about = { run: 'r1', tasks: 2, exchange: 'muster.task' };
const task = { id: 'r1.a', capability: 'summarise', priority: 0, attempt: 1, traceparent: parent } as const;
const place = { exchange: 'muster.task', routingKey: 'summarise.p0', queue: 'muster.task.summarise.p0' };
const agent = { id: 'a1', name: 'scribe' };
const request = { id: 'q1', action: 'review', target: 'critic', exchange: 'muster.agent' };

describe('a traceparent', () => {
  it('is made of the given randomness, and never of zeros', () => {
    expect(newTraceparent(random, true)).toBe('00-80000000800000008000000080000000-8000000080000000-01');
    expect(newTraceparent(() => 0, false)).toBe('00-00000000000000000000000000000001-0000000000000001-00');
  });

  it.each([
    [undefined],
    [''],
    ['nonsense'],
    ['ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
    ['00-00000000000000000000000000000000-b7ad6b7169203331-01'],
    ['00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01'],
    ['00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01'],
  ])('is not %s', (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
    expect(traceIdOf(text)).toBeUndefined();
  });

  it('is read in versions to come as well', () => {
    expect(parseTraceparent(`${parent.replace(/^00/, '42')}-more`)).toMatchObject({ traceId, traceFlags: 1 });
    expect(traceIdOf(parent)).toBe(traceId);
  });
});

describe('without an SDK', () => {
  it('only calls, and passes traceparents through unchanged', async () => {
    expect(isTracing()).toBe(false);
    expect(currentTraceparent()).toBeUndefined();
    expect(withSpan('internal', 'x', parent, {}, (own) => own)).toBe(parent);
    expect(submitSpan({ ...about, parent }, random, (own) => own)).toBe(parent);
    expect(requestSpan(request, parent, random, (own) => own)).toBe(parent);
    expect(dispatchSpan(task, 'muster.task', 'k', () => 'sent')).toBe('sent');
    expect(await processSpan(task, place, agent, async () => 'done')).toBe('done');
    expect(serveSpan(request, parent, agent, () => 'served')).toBe('served');
    expect(() =>
      processSpan(task, place, agent, () => {
        throw new Error('x');
      }),
    ).toThrow('x');
    failSpan(new Error('x'));
    noteOnSpan('x', {});
    traceEvents({ event: 'task.ready', at: '', source: '', task: 'r1', capability: 'c' });
  });

  it('begins a trace at each submit and request, for those downstream that do trace', () => {
    const made = newTraceparent(random, true);
    expect(submitSpan(about, random, (own) => own)).toBe(made);
    expect(requestSpan(request, undefined, random, (own) => own)).toBe(made);
  });

  it('shuts down what was never started', async () => {
    const tracing = await startTracing({ mode: 'none', serviceName: 'x' });
    await tracing.shutdown();
    expect(tracing.lost()).toBe(0);
  });
});

describe('with the SDK of a host program', () => {
  const exporter = new InMemorySpanExporter();
  let sdk: NodeSDK;
  beforeAll(() => {
    sdk = new NodeSDK({
      spanProcessors: [new SimpleSpanProcessor(exporter)],
      autoDetectResources: false,
      metricReaders: [],
      logRecordProcessors: [],
    });
    sdk.start();
  });
  beforeEach(() => exporter.reset());
  afterAll(async () => {
    await sdk.shutdown();
    trace.disable();
    context.disable();
    expect(isTracing()).toBe(false);
  });
  const spans = (): ReadableSpan[] => exporter.getFinishedSpans();
  const only = (): ReadableSpan => {
    expect(spans()).toHaveLength(1);
    return spans()[0]!;
  };

  it('starts no second one', async () => {
    const tracing = await startTracing({ mode: 'otlp', serviceName: 'x' });
    await tracing.shutdown();
    expect(isTracing()).toBe(true);
  });

  it('continues the traceparent, and gives its own to be sent on', () => {
    const own = withSpan('client', 'ask', parent, { 'muster.x': 1 }, (given) => {
      expect(currentTraceparent()).toBe(given);
      return given;
    });
    expect(only().spanContext().traceId).toBe(traceId);
    expect(only().parentSpanContext?.spanId).toBe('b7ad6b7169203331');
    expect(own).toBe(`00-${traceId}-${only().spanContext().spanId}-01`);
    expect(currentTraceparent()).toBeUndefined();
  });

  it('keeps traces of tasks handled at once apart, across awaits', async () => {
    const other = newTraceparent(random, true);
    const handle = (traceparent: string) =>
      processSpan({ ...task, traceparent }, place, agent, async () => {
        await new Promise(setImmediate);
        return submitSpan(about, random, (own) => own);
      });
    const [first, second] = await Promise.all([handle(parent), handle(other)]);
    expect([traceIdOf(first), traceIdOf(second)]).toEqual([traceId, traceIdOf(other)]);
  });

  it('follows the message, not the span that happened to be active when its consumer was started', () => {
    withSpan('internal', 'connect', undefined, {}, () => {
      processSpan(task, place, agent, () => {});
      processSpan({ ...task, traceparent: undefined }, place, agent, () => {});
    });
    const [followed, detached, connect] = spans();
    expect(followed!.spanContext().traceId).toBe(traceId);
    expect(detached!.parentSpanContext).toBeUndefined();
    expect(detached!.spanContext().traceId).not.toBe(connect!.spanContext().traceId);
  });

  it('prefers the active span to the parent a submit was given', () => {
    const own = withSpan('internal', 'handler', undefined, {}, () =>
      submitSpan({ ...about, parent }, random, (given) => given),
    );
    expect(traceIdOf(own)).toBe(spans()[1]!.spanContext().traceId);
    submitSpan({ ...about, parent }, random, (given) => expect(traceIdOf(given)).toBe(traceId));
  });

  it('links a redriven dead letter to the trace it died in', () => {
    submitSpan({ ...about, links: [parent, 'nonsense'] }, random, () => {});
    expect(only().links.map((link) => link.context.traceId)).toEqual([traceId]);
    expect(only().spanContext().traceId).not.toBe(traceId);
  });

  it('names an inbox by its template, so that span names stay few', () => {
    processSpan(task, { ...place, queue: 'muster.agent.a1-x7', template: 'muster.agent.{agent}' }, agent, () => {});
    expect(only().name).toBe('process muster.agent.{agent}');
    expect(only().attributes).toMatchObject({ 'messaging.destination.template': 'muster.agent.{agent}' });
  });

  it('records what was thrown, at once or later, without its secrets', async () => {
    const error = Object.assign(new Error('amqp://u:hunter2@h refused'), { code: 'BROKER_REFUSED' });
    const boom = () => {
      throw error;
    };
    expect(() => dispatchSpan(task, 'muster.task', 'k', boom)).toThrow(error);
    await expect(processSpan(task, place, agent, async () => boom())).rejects.toBe(error);
    for (const span of spans()) {
      expect(span.attributes['error.type']).toBe('BROKER_REFUSED');
      expect(span.status).toEqual({ code: 2, message: 'amqp://[redacted]@h refused' });
      expect(JSON.stringify(span.events)).not.toContain('hunter2');
    }
    expect(spans()).toHaveLength(2);
  });

  it('marks a failure that was handled', () => {
    processSpan(task, place, agent, () => failSpan('not even an error'));
    expect(only().status).toEqual({ code: 2, message: 'not even an error' });
  });

  it('notes the transitions of the task on the span they happen in', () => {
    const retrying = { event: 'task.retrying', at: '', source: 'a1', task: 'r1.a', capability: 'c', attempt: 1 };
    processSpan(task, place, agent, () => {
      traceEvents({ ...retrying, after_ms: 5, error: 'token=hunter2' } as EventRecord);
      traceEvents({ event: 'queue.paused', at: '', source: '', capability: 'c' });
    });
    expect(only().events).toMatchObject([
      { name: 'task.retrying', attributes: { 'muster.attempt': 1, 'muster.error': 'token=[redacted]' } },
      { name: 'exception' },
    ]);
    expect(only().status).toEqual({ code: 2, message: 'token=[redacted]' });
    expect(only().attributes['error.type']).toBe('attempt_failed');
  });

  it('does not blame a span for the tasks that die of another one', () => {
    const dead = { event: 'task.dead', at: '', source: 'a1', task: 'r1.b', capability: 'c', attempt: 0, error: 'x' };
    processSpan(task, place, agent, () => traceEvents({ ...dead, reason: 'dependency_failed' } as EventRecord));
    expect(only().status.code).toBe(0);
    exporter.reset();
    processSpan(task, place, agent, () => traceEvents({ ...dead, reason: 'deadline' } as EventRecord));
    expect(only().attributes['error.type']).toBe('deadline');
  });
});
