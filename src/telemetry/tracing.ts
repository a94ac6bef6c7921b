// Spans of the task's road, on the OpenTelemetry API alone: whoever registers an SDK (tracing-sdk.ts, or the host program) gets them.
// Without one, every function here is a check and a call: nothing is allocated, and traceparents pass through unchanged.
import {
  type Attributes,
  type Context,
  context,
  type Link,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import type { Random } from '../ports.js';
import { redactText } from './redact.js';

const KINDS = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;
export type Kind = keyof typeof KINDS;

let knownProvider: TracerProvider | undefined;
let knownTracer: Tracer | undefined;

/** The tracer of the registered SDK; undefined when there is none. */
function activeTracer(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  const proxied = provider instanceof ProxyTracerProvider;
  const actual = proxied ? provider.getDelegate() : provider;
  if (actual !== knownProvider) {
    knownProvider = actual;
    const { version } = require('../../package.json') as { version: string };
    knownTracer = proxied ? provider.getDelegateTracer('muster', version) : provider.getTracer('muster', version);
  }
  return knownTracer;
}

/** True once an SDK is registered. Hot paths ask first, so that they need not even make a closure. */
export function isTracing(): boolean {
  return activeTracer() !== undefined;
}

/** The active span as a W3C traceparent; undefined outside of any span, or without an SDK. */
export function currentTraceparent(): string | undefined {
  if (activeTracer() === undefined) return undefined;
  const span = trace.getActiveSpan();
  return span === undefined ? undefined : formatTraceparent(span.spanContext());
}

/** A traceparent of a new trace. `sampled` permits recording to those downstream; each has its own sample ratio besides. */
export function newTraceparent(random: Random, sampled: boolean): string {
  // The last digit may not leave an id all zeros, which the format forbids.
  const traceId = hex8(random) + hex8(random) + hex8(random) + hex8(random);
  const spanId = hex8(random) + hex8(random);
  return `00-${nonZero(traceId)}-${nonZero(spanId)}-${sampled ? '01' : '00'}`;
}

/** Two digits per byte, looked up: a traceparent is made for every submission, and number formatting showed in its profile. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function hex8(random: Random): string {
  const bits = Math.floor(random() * 0x1_0000_0000);
  return HEX[bits >>> 24]! + HEX[(bits >>> 16) & 255]! + HEX[(bits >>> 8) & 255]! + HEX[bits & 255]!;
}

function nonZero(id: string): string {
  return id.charCodeAt(0) === 48 && /^0+$/.test(id) ? `${id.slice(1)}1` : id;
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/;

/** What a traceparent says, if it is one. Versions to come may append fields; those are ignored. */
export function parseTraceparent(text: string | undefined): SpanContext | undefined {
  const parts = text === undefined ? null : TRACEPARENT.exec(text);
  if (parts === null) return undefined;
  return { traceId: parts[1]!, spanId: parts[2]!, traceFlags: Number.parseInt(parts[3]!, 16), isRemote: true };
}

function formatTraceparent(span: SpanContext): string | undefined {
  if (!trace.isSpanContextValid(span)) return undefined;
  return `00-${span.traceId}-${span.spanId}-${(span.traceFlags & 0xff).toString(16).padStart(2, '0')}`;
}

/** The trace a traceparent belongs to: 32 hexadecimal digits. */
export function traceIdOf(traceparent: string | undefined): string | undefined {
  return parseTraceparent(traceparent)?.traceId;
}

export interface SpanOptions {
  /** Traceparents this span has to do with but does not descend from: a redriven dead letter, an approval, a batch. */
  readonly links?: readonly string[];
  /** true: without a traceparent a new trace begins, whatever span happens to be active (a consumer's callback). */
  readonly detached?: boolean;
}

/**
 * Runs `run` inside a new span, which continues `traceparent`; without one, the active span. `run` gets the new span's own
 * traceparent, to be sent on. The span ends when `run` returns, or when its promise settles; a throw or rejection is recorded
 * and passes through. Without an SDK: `run(traceparent)`.
 */
export function withSpan<T>(
  kind: Kind,
  name: string,
  traceparent: string | undefined,
  attributes: Attributes,
  run: (traceparent: string | undefined) => T,
  options: SpanOptions = {},
): T {
  const tracer = activeTracer();
  if (tracer === undefined) return run(traceparent);
  const parent = parentContext(traceparent, options.detached === true);
  const span = tracer.startSpan(name, { kind: KINDS[kind], attributes, links: toLinks(options.links) }, parent);
  const own = formatTraceparent(span.spanContext()) ?? traceparent;
  let result: T;
  try {
    result = context.with(trace.setSpan(parent, span), run, undefined, own);
  } catch (error) {
    fail(span, error);
    span.end();
    throw error;
  }
  if (!(result instanceof Promise)) {
    span.end();
    return result;
  }
  return result.then(
    (value) => {
      span.end();
      return value;
    },
    (error) => {
      fail(span, error);
      span.end();
      throw error;
    },
  ) as T;
}

function parentContext(traceparent: string | undefined, detached: boolean): Context {
  const remote = parseTraceparent(traceparent);
  const base = detached ? ROOT_CONTEXT : context.active();
  return remote === undefined ? base : trace.setSpanContext(base, remote);
}

function toLinks(links: readonly string[] = []): Link[] {
  return links.flatMap((link) => {
    const target = parseTraceparent(link);
    return target === undefined ? [] : [{ context: target }];
  });
}

/**
 * Marks the active span as failed, where an error is handled rather than thrown: an attempt that will be retried. `type` is for
 * `error.type` where the error is only a text.
 */
export function failSpan(error: unknown, type?: string): void {
  if (activeTracer() === undefined) return;
  const span = trace.getActiveSpan();
  if (span !== undefined) fail(span, error, type);
}

/** Notes a moment on the active span. */
export function noteOnSpan(name: string, attributes: Attributes): void {
  if (activeTracer() === undefined) return;
  trace.getActiveSpan()?.addEvent(name, attributes);
}

function fail(span: Span, error: unknown, type: string = typeOf(error)): void {
  const message = redactText(error instanceof Error ? error.message : String(error)).slice(0, 2000);
  const stack = error instanceof Error ? error.stack : undefined;
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.recordException({
    name: type,
    message,
    ...(stack === undefined ? {} : { stack: redactText(stack).slice(0, 4000) }),
  });
}

function typeOf(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}
