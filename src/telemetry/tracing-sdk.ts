// Exporting spans: registers the OpenTelemetry SDK with OTLP, Jaeger or both. Loaded, and loads the SDK (0.3 s), only when asked.
// Best effort by design: a collector that is away costs no error, no log line and no waiting; what it lost is counted.
import http from 'node:http';
import type { Duplex } from 'node:stream';
import type { SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace-base';
import { systemClock } from '../clock.js';
import { Closed } from '../errors.js';
import type { Clock } from '../ports.js';
import { isTracing } from './tracing.js';

export const JAEGER_ENDPOINT = 'http://localhost:14268/api/traces';
const SHUTDOWN_MS = 3000;

export interface TracingOptions {
  /**
   * otlp: to OTEL_EXPORTER_OTLP_ENDPOINT (default http://localhost:4318), as JSON over HTTP unless OTEL_EXPORTER_OTLP_PROTOCOL
   * says otherwise. jaeger: Jaeger's own Thrift over HTTP. The other OTEL_* variables of the SDK are honoured too.
   */
  readonly mode: 'otlp' | 'jaeger' | 'both' | 'none';
  /** OTEL_SERVICE_NAME, where set, is stronger. */
  readonly serviceName: string;
  /** Default JAEGER_ENDPOINT. */
  readonly jaegerEndpoint?: string;
  /** Share of traces recorded, 0 to 1, default 1. Decided by the trace id: processes with the same ratio keep the same traces. */
  readonly sampleRatio?: number;
  /** Added to what every span says of its process. */
  readonly attributes?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
}

export interface Tracing {
  /** Sends what is left, for at most 3 s, and takes the SDK away. Never rejects; twice is fine. */
  shutdown(): Promise<void>;
  /** Spans that an exporter could not deliver; in mode both, one that neither could counts twice. */
  lost(): number;
}

const NO_TRACING: Tracing = { shutdown: async () => {}, lost: () => 0 };

/** Registers the SDK for this process. A host program that registered its own gets our spans there, and nothing is started. */
export async function startTracing(options: TracingOptions): Promise<Tracing> {
  if (options.mode === 'none' || isTracing()) return NO_TRACING;
  const { NodeSDK } = require('@opentelemetry/sdk-node') as typeof import('@opentelemetry/sdk-node');
  const { BatchSpanProcessor } =
    require('@opentelemetry/sdk-trace-base') as typeof import('@opentelemetry/sdk-trace-base');
  const agents: http.Agent[] = [];
  const losses: Losses = { failed: 0, unanswered: 0 };
  const exporters: SpanExporter[] = [];
  if (options.mode !== 'jaeger') exporters.push(counted(otlpExporter(agents), losses));
  if (options.mode !== 'otlp') exporters.push(counted(jaegerExporter(options.jaegerEndpoint), losses));
  const processors = exporters.map((exporter): SpanProcessor => new BatchSpanProcessor(exporter));
  const { envDetector } = require('@opentelemetry/resources') as typeof import('@opentelemetry/resources');
  const sdk = new NodeSDK({
    resource: resource(options),
    // Not the process detector: it would send the command line, which may hold secrets, with every span.
    resourceDetectors: [envDetector],
    sampler: sampler(options.sampleRatio ?? 1),
    spanProcessors: processors,
    // Empty, or the SDK would begin to export metrics and logs of its own.
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [],
  });
  sdk.start();
  let stopping: Promise<void> | undefined;
  const clock = options.clock ?? systemClock;
  return {
    shutdown: () => {
      stopping ??= stop(processors, exporters, agents, clock);
      return stopping;
    },
    lost: () => losses.failed + (stopping === undefined ? 0 : losses.unanswered),
  };
}

async function stop(
  processors: readonly SpanProcessor[],
  exporters: readonly SpanExporter[],
  agents: readonly http.Agent[],
  clock: Clock,
): Promise<void> {
  // Each for itself: the SDK's own shutdown ends with the first that fails, and the others' last spans would be cut off.
  await within(SHUTDOWN_MS, clock, Promise.allSettled(processors.map((processor) => processor.shutdown())));
  // What is still under way is given up: its sockets would keep the process alive. The exporters close without being waited for.
  for (const agent of agents) agent.destroy();
  for (const exporter of exporters) void exporter.shutdown();
  const { context, propagation, trace } = require('@opentelemetry/api') as typeof import('@opentelemetry/api');
  trace.disable();
  context.disable();
  propagation.disable();
}

function within(ms: number, clock: Clock, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, resolve);
    const done = (): void => {
      cancel();
      resolve();
    };
    work.then(done, done);
  });
}

function resource(options: TracingOptions): import('@opentelemetry/resources').Resource {
  const { defaultResource, resourceFromAttributes } =
    require('@opentelemetry/resources') as typeof import('@opentelemetry/resources');
  return defaultResource().merge(
    resourceFromAttributes({ 'service.name': options.serviceName, ...options.attributes }),
  );
}

// A parent that says "not sampled" is obeyed. One that says "sampled" still meets the ratio: senders without an SDK always say so.
function sampler(ratio: number): import('@opentelemetry/sdk-trace-base').Sampler {
  const { ParentBasedSampler, TraceIdRatioBasedSampler } =
    require('@opentelemetry/sdk-trace-base') as typeof import('@opentelemetry/sdk-trace-base');
  const byRatio = new TraceIdRatioBasedSampler(ratio);
  return new ParentBasedSampler({ root: byRatio, remoteParentSampled: byRatio });
}

function jaegerExporter(endpoint: string = JAEGER_ENDPOINT): SpanExporter {
  const { JaegerExporter } =
    require('@opentelemetry/exporter-jaeger') as typeof import('@opentelemetry/exporter-jaeger');
  // Its shutdown leaves this timer running; by then the processor has flushed, and nothing is left to wait for.
  return new JaegerExporter({ endpoint, flushTimeout: 1 });
}

function otlpExporter(agents: http.Agent[]): SpanExporter {
  const setting = otlpSetting('PROTOCOL');
  if (setting === 'grpc') return sdkExporter('@opentelemetry/exporter-trace-otlp-grpc', {});
  // With https, the exporter's own agent is the one that knows the OTEL_*_CERTIFICATE variables.
  const options = otlpSetting('ENDPOINT')?.startsWith('https:')
    ? {}
    : {
        httpAgentOptions: (): http.Agent => {
          const agent = new ImpatientAgent({ keepAlive: true });
          agents.push(agent);
          return agent;
        },
      };
  if (setting === 'http/protobuf') return sdkExporter('@opentelemetry/exporter-trace-otlp-proto', options);
  const { OTLPTraceExporter } =
    require('@opentelemetry/exporter-trace-otlp-http') as typeof import('@opentelemetry/exporter-trace-otlp-http');
  return new OTLPTraceExporter(options);
}

function otlpSetting(name: 'PROTOCOL' | 'ENDPOINT'): string | undefined {
  const { getStringFromEnv } = require('@opentelemetry/core') as typeof import('@opentelemetry/core');
  return getStringFromEnv(`OTEL_EXPORTER_OTLP_TRACES_${name}`) ?? getStringFromEnv(`OTEL_EXPORTER_OTLP_${name}`);
}

/** One of the exporters that sdk-node itself depends on, found from there: they need not be our dependencies too. */
function sdkExporter(name: string, options: object): SpanExporter {
  const found = require.resolve(name, { paths: [require.resolve('@opentelemetry/sdk-node')] });
  const { OTLPTraceExporter } = require(found) as { OTLPTraceExporter: new (options: object) => SpanExporter };
  return new OTLPTraceExporter(options);
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT']);

/**
 * The exporter retries a refused connection for up to 10 s, with timers that keep the process alive: every short command would
 * hang at its end where no collector runs. Under a code it does not know it gives up at once; the next batch is the retry.
 */
class ImpatientAgent extends http.Agent {
  private closed = false;

  override createConnection(...args: Parameters<http.Agent['createConnection']>): Duplex | null | undefined {
    if (this.closed) throw Closed('The span exporter');
    const socket = super.createConnection(...args);
    socket?.once('error', (error: NodeJS.ErrnoException) => {
      if (UNREACHABLE.has(error.code ?? '')) error.code = `NOT_RETRIED_${error.code}`;
    });
    return socket;
  }

  override destroy(): void {
    this.closed = true;
    for (const sockets of Object.values(this.sockets)) {
      for (const socket of sockets ?? []) socket.destroy(Closed('The span exporter'));
    }
    super.destroy();
  }
}

interface Losses {
  failed: number;
  /** Under way; lost too, once the exporter is stopped. */
  unanswered: number;
}

/** Counts what could not be delivered, and answers every export exactly once, come what may. */
function counted(inner: SpanExporter, losses: Losses): SpanExporter {
  let stopped: Promise<void> | undefined;
  return {
    export(spans, done) {
      let answered = false;
      losses.unanswered += spans.length;
      const answer: typeof done = (result) => {
        if (answered) return;
        answered = true;
        losses.unanswered -= spans.length;
        if (result.code !== 0) losses.failed += spans.length;
        done(result);
      };
      try {
        inner.export(spans, answer);
      } catch (error) {
        answer({ code: 1, error: error instanceof Error ? error : new Error(String(error)) });
      }
    },
    shutdown: () => {
      stopped ??= inner.shutdown().catch(() => {});
      return stopped;
    },
    forceFlush: async () => inner.forceFlush?.().catch(() => {}),
  };
}
