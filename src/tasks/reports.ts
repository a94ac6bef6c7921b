// What bus-only agents say of themselves and their tasks. They have no store: the manager claims and settles for them, with the
// same scripts and the same fence. The holder of such a task is 'bus:<agent id>'.
import { capabilityTopology, inboxTopology } from '../bus/topology.js';
import { type Report, report } from '../contracts/messages.js';
import type { RetryPolicy, Task } from '../contracts/task.js';
import { type AttemptEnd, verdictOf } from '../decide/settle.js';
import type { AgentStore, Bus, Delivery, Random, TaskStore } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';
import type { TaskManager } from './manager.js';
import { parseBody, validate } from './prepare.js';

export interface ReportsParts {
  readonly bus: Bus;
  readonly tasks: TaskStore;
  readonly agents: AgentStore;
  readonly random: Random;
  readonly prefix: string;
  readonly emitter: Emitter;
  readonly manager: TaskManager;
  readonly heartbeatMs: number;
}

/** Beats missed before a bus-only agent is stale. */
const MISSED = 3;

type OfTask = Extract<Report, { task_id: string }>;
type Held = { readonly token: number; readonly failedAttempts: number };

export class Reports {
  readonly #parts: ReportsParts;

  constructor(parts: ReportsParts) {
    this.#parts = parts;
  }

  /** Rejects with MALFORMED or INVALID_INPUT for what is no report; with a retryable error when it should be taken again. */
  async take(delivery: Delivery): Promise<void> {
    const body = parseBody(delivery.message) as { type?: unknown } | null;
    // The AMQP property will do where the body does not repeat it.
    const typed =
      typeof body === 'object' && body !== null && body.type === undefined
        ? { ...body, type: delivery.message.type }
        : body;
    const said = validate(report, typed, 'The report');
    switch (said.type) {
      case 'agent.register':
        return this.#register(said.agent);
      case 'agent.heartbeat':
        await this.#parts.agents.beat(holderOf(said.agent_id), this.#leaseMs);
        return;
      case 'agent.leave':
        if (await this.#parts.agents.leave(said.agent_id, holderOf(said.agent_id), 'stopped')) {
          this.#parts.emitter.emit('agent.left', {
            agent: said.agent_id,
            instance: holderOf(said.agent_id),
            reason: 'stopped',
          });
        }
        return;
      default:
        return this.#ofTask(said);
    }
  }

  get #leaseMs(): number {
    return this.#parts.heartbeatMs * MISSED;
  }

  async #register(card: Extract<Report, { type: 'agent.register' }>['agent']): Promise<void> {
    const { bus, agents, prefix, emitter } = this.#parts;
    const instance = holderOf(card.agent_id);
    await Promise.all(card.capabilities.map((capability) => bus.declare(capabilityTopology(prefix, capability.name))));
    await bus.declare(inboxTopology(prefix, card.agent_id));
    await agents.join(card, instance, 'bus', this.#leaseMs);
    emitter.emit('agent.joined', {
      agent: card.agent_id,
      instance,
      capabilities: card.capabilities.map((c) => c.name),
    });
  }

  async #ofTask(said: OfTask): Promise<void> {
    const { tasks, emitter } = this.#parts;
    const holder = holderOf(said.agent_id);
    const task = await tasks.find(said.task_id);
    if (task === undefined) {
      // Its record is gone (retention), so there is nothing left to change.
      emitter.emit('task.stale', { task: said.task_id, capability: '', agent: said.agent_id });
      return;
    }
    const started = said.type === 'task.started';
    const held = await this.#hold(task, holder, started && said.redelivered === true);
    if (held === undefined) {
      emitter.emit('task.stale', { task: task.id, capability: task.capability, agent: said.agent_id });
      return;
    }
    if (started) return;
    if (said.type === 'task.progressed') {
      if (await tasks.progress(task.id, held.token, said.fraction, said.note)) {
        const note = said.note === undefined ? {} : { note: said.note };
        emitter.emit('task.progressed', {
          task: task.id,
          capability: task.capability,
          fraction: said.fraction,
          ...note,
        });
      }
      return;
    }
    const end: AttemptEnd =
      said.type === 'task.completed'
        ? { kind: 'returned', output: JSON.stringify(said.output ?? null) }
        : {
            kind: 'failed',
            error: { code: said.error.code, message: said.error.message },
            retryable: said.retryable !== false,
          };
    await this.#settle(task, holder, held, end);
  }

  /** The attempt this agent holds: begun by an earlier report, or begun now. undefined: the task is someone else's, or over. */
  async #hold(task: Task, holder: string, redelivered: boolean): Promise<Held | undefined> {
    const { tasks, emitter } = this.#parts;
    if (task.status === 'running' && task.agent === holder && !redelivered) {
      const token = await tasks.token(task.id, holder);
      return token === undefined ? undefined : { token, failedAttempts: task.failed_attempts };
    }
    const claim = await tasks.claim({ id: task.id, holder, redelivered });
    if (claim.outcome !== 'granted') return undefined;
    emitter.emit('task.started', {
      task: task.id,
      capability: task.capability,
      agent: holder.slice('bus:'.length),
      attempt: claim.attempt,
      waited_ms: claim.waitedMs,
      priority: task.priority,
    });
    return { token: claim.token, failedAttempts: claim.failedAttempts };
  }

  async #settle(task: Task, holder: string, held: Held, end: AttemptEnd): Promise<void> {
    const { tasks, manager, random, emitter } = this.#parts;
    const body = await tasks.body(task.id);
    const { retry } = (body === undefined ? {} : JSON.parse(body)) as { retry?: RetryPolicy };
    const verdict = verdictOf(end, {
      failedAttempts: held.failedAttempts,
      maxAttempts: task.max_attempts,
      ...(retry === undefined ? {} : { retry }),
      random: random(),
    });
    const answer = await tasks.settle({ id: task.id, token: held.token, holder, verdict });
    const agent = holder.slice('bus:'.length);
    if (answer.outcome !== 'settled') {
      emitter.emit('task.stale', { task: task.id, capability: task.capability, agent });
      return;
    }
    const about = { task: task.id, capability: task.capability, attempt: task.attempt };
    if (verdict.do === 'complete') {
      const began = task.started_at === undefined ? undefined : Date.parse(task.started_at);
      emitter.emit('task.completed', {
        ...about,
        agent,
        duration_ms: began === undefined ? 0 : Math.max(0, Date.now() - began),
      });
    } else if (verdict.do === 'retry') {
      emitter.emit('task.retrying', { ...about, after_ms: verdict.afterMs, error: verdict.error.message });
    } else if (verdict.do === 'die') {
      emitter.emit('task.dead', { ...about, reason: verdict.reason, error: verdict.error.message });
    }
    await manager.follow(answer);
  }
}

/** The instance under which a bus-only agent holds tasks and its lease. */
export function holderOf(agentId: string): string {
  return `bus:${agentId}`;
}
