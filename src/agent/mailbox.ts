// The instance queue: requests to this process, replies to what it asked, and broadcasts. Transient: the broker forgets each
// message as it hands it over, and the queue goes with the connection.
import { baseTopology, instanceQueue, instanceTopology } from '../bus/topology.js';
import { type RequestEvent, type ResponseEvent, requestEvent, responseEvent } from '../contracts/messages.js';
import { errorRecord } from '../errors.js';
import type { Bus, IncomingMessage, Subscription } from '../ports.js';
import { validate } from '../tasks/prepare.js';
import type { Emitter } from '../telemetry/emitter.js';

export interface MailboxParts {
  readonly bus: Bus;
  readonly prefix: string;
  readonly instance: string;
  readonly emitter: Emitter;
}

export interface MailHandlers {
  onRequest?(event: RequestEvent, message: IncomingMessage): void;
  onResponse?(event: ResponseEvent): void;
  onControl?(command: ControlCommand): void;
}

/** What managers, the CLI and subscribers tell every process through `muster.broadcast`. */
export type ControlCommand =
  | { readonly type: 'control'; readonly command: 'events_wanted' }
  | { readonly type: 'control'; readonly command: 'drain' | 'undrain'; readonly agent: string };

export class Mailbox {
  readonly #parts: MailboxParts;
  readonly #handlers: MailHandlers[] = [];
  #subscription: Subscription | undefined;

  constructor(parts: MailboxParts) {
    this.#parts = parts;
  }

  add(handlers: MailHandlers): void {
    this.#handlers.push(handlers);
  }

  async open(): Promise<void> {
    const { bus, prefix, instance } = this.#parts;
    await bus.declare(baseTopology(prefix));
    await bus.declare(instanceTopology(prefix, instance));
    this.#subscription = await bus.consume(instanceQueue(prefix, instance), { prefetch: 0, noAck: true }, (delivery) =>
      this.#receive(delivery.message),
    );
  }

  #receive(message: IncomingMessage): void {
    try {
      const body: unknown = JSON.parse(message.body.toString());
      switch (message.type) {
        case 'agent_response': {
          const response = validate(responseEvent, body, 'The response');
          for (const handlers of this.#handlers) handlers.onResponse?.(response);
          break;
        }
        case 'control':
          for (const handlers of this.#handlers) handlers.onControl?.(body as ControlCommand);
          break;
        default: {
          const request = validate(requestEvent, body, 'The request');
          for (const handlers of this.#handlers) handlers.onRequest?.(request, message);
        }
      }
    } catch (error) {
      // Transient traffic has no dead-letter queue: its sender's timeout tells it, and this tells the operator.
      this.#parts.emitter.emit('message.malformed', { queue: 'instance', problem: errorRecord(error).message });
    }
  }

  async close(): Promise<void> {
    await this.#subscription?.cancel();
  }
}
