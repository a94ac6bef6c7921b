// The answering side of a request: the same handler as a task's, without a record. Full or failing, the caller is told.
import { exchangeName } from '../bus/topology.js';
import { newRunId } from '../clock.js';
import type { RequestEvent, ResponseEvent } from '../contracts/messages.js';
import { type Priority, toPriority } from '../contracts/priority.js';
import { errorRecord, NotSupported, TimedOut } from '../errors.js';
import type { Bus, Cancel, Clock, IncomingMessage, Random } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';
import { serveSpan } from '../telemetry/spans.js';
import { newTraceparent } from '../telemetry/tracing.js';
import type { Offer } from './capability.js';
import type { Client } from './client.js';
import { type Context, type Log, Workspace } from './context.js';
import { BUSY } from './requests.js';

export interface ResponderParts {
  readonly agentId: string;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly prefix: string;
  readonly emitter: Emitter;
  readonly offers: ReadonlyMap<string, Offer>;
  /** Requests answered at once. */
  readonly most: number;
  readonly workspaceRoot: string;
  readonly log: Log;
  readonly random: Random;
  readonly client: Client;
}

type Outcome = Pick<ResponseEvent, 'status' | 'result' | 'error'>;

/** As for tasks: how long a handler may ignore its signal before its slot is given away. */
const LINGER_MS = 5000;

export class Responder {
  readonly #parts: ResponderParts;
  #running = 0;
  #stopped = false;

  constructor(parts: ResponderParts) {
    this.#parts = parts;
  }

  answer(event: RequestEvent, message: IncomingMessage): void {
    const { agentId, offers, most, prefix } = this.#parts;
    const broadcast = event.target_agent === '*';
    if (broadcast && Array.isArray(event.exclude) && event.exclude.includes(agentId)) return;
    const offer = offers.get(event.action);
    // A broadcast is for whoever has use for it.
    if (broadcast && offer === undefined) return;
    if (this.#stopped || this.#running >= most) {
      const why = this.#stopped ? 'it is stopping' : `it answers ${most} requests already`;
      this.#reply(
        event,
        message,
        { status: 'error', error: { code: BUSY, message: `Agent '${agentId}' takes no request: ${why}.` } },
        0,
      );
      return;
    }
    if (offer === undefined) {
      const error = NotSupported(
        `Agent '${agentId}' does not offer '${event.action}'`,
        `It offers: ${[...offers.keys()].join(', ')}`,
      );
      this.#reply(event, message, { status: 'error', error: { code: error.code, message: error.message } }, 0);
      return;
    }
    const traceparent = message.headers.traceparent;
    const about = {
      id: event.event_id,
      action: event.action,
      target: agentId,
      exchange: exchangeName(prefix, 'agent'),
      correlationId: event.correlation_id ?? undefined,
    };
    void serveSpan(
      about,
      typeof traceparent === 'string' ? traceparent : undefined,
      { id: agentId, name: agentId },
      () => this.#serve(event, message, offer),
    );
  }

  /** Never rejects: whatever happens is the reply. */
  async #serve(event: RequestEvent, message: IncomingMessage, offer: Offer): Promise<void> {
    const { clock, emitter, agentId } = this.#parts;
    const started = clock.monotonic();
    this.#running += 1;
    const timeoutMs = event.timeout_seconds * 1000;
    const context = new RequestContext(this.#parts, event, message);
    const handler = this.#invoke(offer, event, context);
    let cancel: Cancel = () => undefined;
    const reply = await new Promise<Outcome>((resolve) => {
      cancel = clock.after(timeoutMs, () => {
        const error = TimedOut(`Request '${event.action}'`, timeoutMs);
        context.abort(error);
        resolve({ status: 'timeout', error: { code: error.code, message: error.message } });
      });
      void handler.then(resolve);
    });
    cancel();
    void this.#freed(handler, context);
    const durationMs = clock.monotonic() - started;
    emitter.emit('request.served', {
      agent: agentId,
      action: event.action,
      status: reply.status,
      duration_ms: durationMs,
    });
    this.#reply(event, message, reply, durationMs);
  }

  async #invoke(offer: Offer, event: RequestEvent, context: RequestContext): Promise<Outcome> {
    try {
      const result = (await offer.invoke(event.parameters, context)) ?? null;
      return { status: 'success', result: result as ResponseEvent['result'] };
    } catch (error) {
      const { code, message: text } = errorRecord(error);
      return { status: context.aborted ? 'timeout' : 'error', error: { code, message: text } };
    }
  }

  /** A handler that ignores its signal keeps its slot a little longer, not for ever. */
  async #freed(handler: Promise<Outcome>, context: RequestContext): Promise<void> {
    if (context.aborted) {
      await new Promise<void>((resolve) => {
        const cancel = this.#parts.clock.after(LINGER_MS, resolve);
        void handler.then(() => {
          cancel();
          resolve();
        });
      });
    }
    this.#running -= 1;
    context.dispose();
  }

  #reply(event: RequestEvent, message: IncomingMessage, reply: Outcome, durationMs: number): void {
    const { bus, clock, prefix, agentId, emitter } = this.#parts;
    if (message.replyTo === undefined) return;
    const response: ResponseEvent = {
      event_type: 'agent_response',
      event_id: newRunId(),
      request_id: event.event_id,
      source_agent: agentId,
      target_agent: event.source_agent,
      ...reply,
      duration_ms: Math.round(durationMs * 1000) / 1000,
      created_at: new Date(clock.now()).toISOString(),
    };
    try {
      bus.send({
        exchange: exchangeName(prefix, 'reply'),
        routingKey: message.replyTo,
        body: Buffer.from(JSON.stringify(response)),
        persistent: false,
        type: 'agent_response',
        correlationId: event.event_id,
      });
    } catch (error) {
      const { code, message: text } = errorRecord(error);
      emitter.emit('loop.failed', { loop: 'reply', error: text });
      // Too large, or not JSON: the caller is told that, rather than left to its timeout.
      if (reply.status === 'success')
        this.#reply(event, message, { status: 'error', error: { code, message: text } }, durationMs);
    }
  }

  stop(): void {
    this.#stopped = true;
  }
}

class RequestContext implements Context {
  readonly kind = 'request';
  readonly id: string;
  readonly run = '';
  readonly key = '';
  readonly attempt = 1;
  readonly token = 0;
  readonly agent: string;
  readonly priority: Priority;
  readonly traceparent: string;
  readonly log: Log;
  readonly #parts: ResponderParts;
  #abort: AbortController | undefined;
  #why: Error | undefined;
  #workspace: Workspace | undefined;

  constructor(parts: ResponderParts, event: RequestEvent, message: IncomingMessage) {
    this.#parts = parts;
    this.id = event.event_id;
    this.agent = parts.agentId;
    this.priority = toPriority(event.priority);
    this.log = parts.log;
    const given = message.headers.traceparent;
    this.traceparent = typeof given === 'string' ? given : newTraceparent(parts.random, true);
  }

  /** Made when asked for: most handlers never do. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#why !== undefined) this.#abort.abort(this.#why);
    }
    return this.#abort.signal;
  }

  get aborted(): boolean {
    return this.#why !== undefined;
  }

  abort(why: Error): void {
    this.#why = why;
    this.#abort?.abort(why);
  }

  get workspace(): string {
    // The event id is a stranger's text: it names no directory.
    this.#workspace ??= new Workspace(this.#parts.workspaceRoot, `request-${newRunId()}`);
    return this.#workspace.path;
  }

  get client(): Client {
    return this.#parts.client.onBehalfOf({ traceparent: this.traceparent });
  }

  async dependencies(): Promise<Record<string, unknown>> {
    return {};
  }

  async progress(): Promise<void> {
    // A request has no record to note it in; its caller waits for the reply alone.
  }

  dispose(): void {
    this.#workspace?.remove();
  }
}
