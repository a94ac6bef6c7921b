// Asking agents now (B3, B4): a request goes to the best agent of the caller's live view; one that is gone comes back at once
// (mandatory return), one that is full says so, and the next-best is asked.
import { exchangeName, replyKey } from '../bus/topology.js';
import { newRunId } from '../clock.js';
import type { RequestEvent, ResponseEvent } from '../contracts/messages.js';
import { type PriorityInput, toPriority, toWord } from '../contracts/priority.js';
import { MusterError, NoAgentAvailable, RequestFailed, RequestTimeout } from '../errors.js';
import type { Bus, Cancel, Clock } from '../ports.js';
import { encodeBody } from '../tasks/prepare.js';
import type { Emitter } from '../telemetry/emitter.js';

export const DEFAULT_REQUEST_TIMEOUT_MS = 300_000;
/** An agent that has no free slot answers with this code; the caller asks the next. */
export const BUSY = 'AGENT_BUSY';

export interface RequestOptions {
  readonly timeoutMs?: number;
  readonly priority?: PriorityInput;
  /** Where the response is POSTed as well; carried to the agent's side. */
  readonly callbackUrl?: string;
  readonly correlationId?: string;
  readonly traceparent?: string;
}

/** Who could take it, best first. `in flight` here is what this caller has under way there. */
export interface Candidate {
  readonly agentId: string;
  readonly instance: string;
}

type Reply = ResponseEvent | 'returned' | 'timeout' | 'lost';
interface Pending {
  readonly instance: string;
  readonly done: (response: Reply | MusterError) => void;
}

export interface RequestsParts {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly prefix: string;
  /** This process, and the queue replies come to. */
  readonly instance: string;
  readonly emitter: Emitter;
}

export class Requests {
  readonly #parts: RequestsParts;
  readonly #pending = new Map<string, Pending>();
  readonly #inFlight = new Map<string, number>();

  constructor(parts: RequestsParts) {
    this.#parts = parts;
  }

  onResponse(response: ResponseEvent): void {
    // A reply after the timeout finds nobody waiting: it is dropped.
    this.#pending.get(response.request_id)?.done(response);
  }

  /** An instance was given up by the registry: what it was asked will not be answered. */
  lost(instance: string): void {
    for (const pending of [...this.#pending.values()]) if (pending.instance === instance) pending.done('lost');
  }

  /** What this caller has under way at an agent: the load it knows first-hand. */
  inFlight(agentId: string): number {
    return this.#inFlight.get(agentId) ?? 0;
  }

  /** Asks the candidates in order until one takes it. Rejects with the agent's own error, REQUEST_TIMEOUT or NO_AGENT_AVAILABLE. */
  async ask(
    target: string,
    action: string,
    parameters: unknown,
    candidates: readonly Candidate[],
    options: RequestOptions,
  ): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS;
    const { clock, emitter } = this.#parts;
    const started = clock.monotonic();
    const finish = (status: 'success' | 'error' | 'timeout') =>
      emitter.emit('request.answered', { target, action, status, duration_ms: clock.monotonic() - started });
    emitter.emit('request.sent', { target, action });
    let busy = 0;
    for (const candidate of candidates) {
      const left = timeoutMs - (clock.monotonic() - started);
      const response = left <= 0 ? 'timeout' : await this.#askOne(candidate, action, parameters, left, options);
      if (response === 'timeout') {
        finish('timeout');
        throw RequestTimeout(target, action, timeoutMs);
      }
      if (response === 'returned') continue;
      if (response === 'lost') {
        finish('error');
        const why = 'it vanished before it replied; whether it did the work is unknown';
        throw RequestFailed(target, action, why, { details: { code: 'AGENT_LOST', agent: candidate.agentId } });
      }
      if (response.status === 'success') {
        finish('success');
        return response.result;
      }
      if (response.error?.code === BUSY) {
        busy += 1;
        continue;
      }
      finish(response.status);
      const { code = 'ERROR', message = 'no message' } = response.error ?? {};
      throw RequestFailed(target, action, message, { details: { code, agent: response.source_agent } });
    }
    finish('error');
    const why =
      candidates.length === 0
        ? 'none is registered that offers it'
        : busy > 0
          ? `all ${busy} that answered are at capacity`
          : `all ${candidates.length} that were registered are gone`;
    throw NoAgentAvailable(target, why);
  }

  #askOne(
    candidate: Candidate,
    action: string,
    parameters: unknown,
    timeoutMs: number,
    options: RequestOptions,
  ): Promise<Reply> {
    const { bus, clock, prefix, instance } = this.#parts;
    const id = newRunId();
    const now = clock.now();
    const event = requestEventOf(id, instance, candidate.agentId, action, parameters, timeoutMs, options, now);
    const body = encodeBody(event, 'The request');
    return new Promise((resolve, reject) => {
      this.#inFlight.set(candidate.agentId, this.inFlight(candidate.agentId) + 1);
      let timer: Cancel | undefined;
      const done = (result: Reply | MusterError): void => {
        if (!this.#pending.delete(id)) return;
        timer?.();
        const rest = this.inFlight(candidate.agentId) - 1;
        if (rest > 0) this.#inFlight.set(candidate.agentId, rest);
        else this.#inFlight.delete(candidate.agentId);
        if (result instanceof MusterError) reject(result);
        else resolve(result);
      };
      this.#pending.set(id, { instance: candidate.instance, done });
      timer = clock.after(timeoutMs, () => done('timeout'));
      try {
        bus.send(
          {
            exchange: exchangeName(prefix, 'agent'),
            routingKey: candidate.instance,
            body,
            persistent: false,
            type: 'agent_request',
            messageId: id,
            replyTo: replyKey(instance),
            ...(options.traceparent === undefined ? {} : { headers: { traceparent: options.traceparent } }),
          },
          () => done('returned'),
        );
      } catch (error) {
        done(error as MusterError);
      }
    });
  }

  /** Asks many at once; says who answered what and who did not by the deadline. */
  async gather(
    action: string,
    parameters: unknown,
    candidates: readonly Candidate[],
    options: RequestOptions,
  ): Promise<{ replies: Record<string, unknown>; errors: Record<string, string>; silent: string[] }> {
    const replies: Record<string, unknown> = Object.create(null);
    const errors: Record<string, string> = Object.create(null);
    const silent: string[] = [];
    const timeoutMs = options.timeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS;
    await Promise.all(
      candidates.map(async (candidate) => {
        const response = await this.#askOne(candidate, action, parameters, timeoutMs, options);
        if (typeof response === 'string') silent.push(candidate.agentId);
        else if (response.status === 'success') replies[candidate.agentId] = response.result;
        else errors[candidate.agentId] = response.error?.message ?? 'no message';
      }),
    );
    return { replies, errors, silent: silent.sort() };
  }

  /** Tells all agents but the excluded ones, without waiting for anything. */
  broadcast(action: string, parameters: unknown, exclude: readonly string[], options: RequestOptions): void {
    const { bus, clock, prefix, instance } = this.#parts;
    const event = requestEventOf(
      newRunId(),
      instance,
      '*',
      action,
      parameters,
      DEFAULT_REQUEST_TIMEOUT_MS,
      options,
      clock.now(),
    );
    bus.send({
      exchange: exchangeName(prefix, 'broadcast'),
      routingKey: '',
      body: encodeBody({ ...event, exclude }, 'The broadcast'),
      persistent: false,
      type: 'agent_request',
      messageId: event.event_id,
    });
  }

  stop(error: MusterError): void {
    for (const pending of [...this.#pending.values()]) pending.done(error);
  }
}

function requestEventOf(
  id: string,
  source: string,
  target: string,
  action: string,
  parameters: unknown,
  timeoutMs: number,
  options: RequestOptions,
  now: number,
): RequestEvent {
  return {
    event_type: 'agent_request',
    event_id: id,
    source_agent: source,
    target_agent: target,
    action,
    parameters: (parameters ?? {}) as RequestEvent['parameters'],
    ...(options.callbackUrl === undefined ? {} : { callback_url: options.callbackUrl }),
    priority: toWord(toPriority(options.priority)),
    timeout_seconds: timeoutMs / 1000,
    ...(options.correlationId === undefined ? {} : { correlation_id: options.correlationId }),
    created_at: new Date(now).toISOString(),
  };
}
