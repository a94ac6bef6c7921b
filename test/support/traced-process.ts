// One process of a traced fleet, for the export tests: makes spans as a client or as an agent does, exports them and ends by itself.
// Prints one JSON line: the traceparents it made, and how many spans were lost.
import { setImmediate as tick } from 'node:timers/promises';
import { systemRandom } from '../../src/clock.js';
import { Throttled } from '../../src/errors.js';
import type { Clock } from '../../src/ports.js';
import { dispatchSpan, processSpan, requestSpan, serveSpan, submitSpan } from '../../src/telemetry/spans.js';
import { currentTraceparent, noteOnSpan, withSpan } from '../../src/telemetry/tracing.js';
import { startTracing, type TracingOptions } from '../../src/telemetry/tracing-sdk.js';

export interface TracedProcess {
  readonly role: 'client' | 'agent' | 'hurried';
  readonly tracing: TracingOptions;
  readonly traceparent?: string;
}

const agent = { id: 'scribe-1', name: 'scribe' };
const about = { run: 'run1', tasks: 1, exchange: 'muster.task', capability: 'summarise' } as const;

async function client(): Promise<object> {
  const submitted = await submitSpan(
    { ...about, priority: 'P1', workflowType: 'review' },
    systemRandom,
    async (own) => {
      await tick();
      return { own, active: currentTraceparent() };
    },
  );
  const task = { id: 'run1', capability: 'summarise', priority: 1, attempt: 1, traceparent: submitted.own } as const;
  await dispatchSpan(task, 'muster.task', 'summarise.p1', () => tick());
  return submitted;
}

async function handle(traceparent: string | undefined): Promise<object> {
  const task = { id: 'run1', capability: 'summarise', priority: 1, traceparent } as const;
  const place = { exchange: 'muster.task', routingKey: 'summarise.p1', queue: 'muster.task.summarise.p1' };
  await processSpan({ ...task, attempt: 1 }, place, agent, async () => {
    throw Throttled('amqp://scribe:hunter2@broker:5672 is full');
  }).catch(() => {});
  return processSpan({ ...task, attempt: 2 }, place, agent, async () => {
    noteOnSpan('task.progressed', { 'muster.progress': 0.5 });
    await tick();
    const nested = await withSpan('internal', 'think', undefined, {}, async () => {
      await tick();
      return submitSpan({ ...about, run: 'run2' }, systemRandom, (own) => own);
    });
    const request = { id: 'req1', action: 'review', target: 'critic', exchange: 'muster.agent' };
    await requestSpan(request, undefined, systemRandom, async (own) => serveSpan(request, own, agent, () => tick()));
    return { nested };
  });
}

async function main(): Promise<void> {
  const settings = JSON.parse(process.argv[2]!) as TracedProcess;
  const hurried: Clock = {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after(ms, callback) {
      // Shutdown's limit, passed at once.
      if (ms === 3000) setImmediate(callback);
      return () => {};
    },
  };
  const tracing = await startTracing({
    ...settings.tracing,
    ...(settings.role === 'hurried' ? { clock: hurried } : {}),
  });
  const made = settings.role === 'agent' ? await handle(settings.traceparent) : await client();
  await tracing.shutdown();
  await tracing.shutdown();
  process.stdout.write(`${JSON.stringify({ ...made, lost: tracing.lost() })}\n`);
}

void main();
