// What bus-only agents say of themselves and their tasks. They have no store: the manager claims and settles for them, with the
// same scripts and the same fence. The holder of such a task is 'bus:<agent id>'.
import { capabilityTopology, inboxTopology } from '../bus/topology.js';
import { type Report, report } from '../contracts/messages.js';
import { splitTaskId } from '../contracts/names.js';
import type { RetryPolicy, Task } from '../contracts/task.js';
import { type AttemptEnd, verdictOf } from '../decide/settle.js';
import { InvalidInput } from '../errors.js';
import type { AgentStore, Bus, Clock, Delivery, Random, TaskStore } from '../ports.js';
import type { Emitter } from '../telemetry/emitter.js';
import { newTraceparent } from '../telemetry/tracing.js';
import type { TaskManager } from './manager.js';
import { type Limits, parseBody, prepareForeign, validate } from './prepare.js';

export interface ReportsParts {
  readonly bus: Bus;
  readonly tasks: TaskStore;
  readonly agents: AgentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly prefix: string;
  readonly emitter: Emitter;
  readonly manager: TaskManager;
  readonly heartbeatMs: number;
  readonly limits: Limits;
}

/** Beats missed before a bus-only agent is stale. */
const MISSED = 3;
/** Another manager may be storing the task at this moment: it was told that the task started. */
const ADOPTION_MS = 250;
const ADOPTION_LOOKS = 8;

type OfTask = Extract<Report, { task_id: string }>;
type Held = { readonly token: number; readonly failedAttempts: number };

export class Reports {
  readonly #parts: ReportsParts;
  /** The last report under way of each agent and task: the next of the same waits for it. */
  readonly #turns = new Map<string, Promise<void>>();

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
    const about = aboutOf(said);
    return this.#inTurn(about, () => this.#apply(said));
  }

  /** Reports are delivered in order, many at once: 'completed' must not overtake 'started'. */
  async #inTurn(about: string, apply: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(about);
    const turn = (async () => {
      await before?.catch(() => undefined);
      await apply();
    })();
    this.#turns.set(about, turn);
    try {
      await turn;
    } finally {
      if (this.#turns.get(about) === turn) this.#turns.delete(about);
    }
  }

  async #apply(said: Report): Promise<void> {
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
    const task = (await tasks.find(said.task_id)) ?? (await this.#adopt(said)) ?? (await this.#adopted(said));
    if (task === undefined) {
      // Its record is gone (retention), or it never had one and nobody sent us its message: there is nothing to change.
      emitter.emit('task.stale', { task: said.task_id, capability: '', agent: said.agent_id });
      return;
    }
    const started = said.type === 'task.started';
    const redelivered = started && said.redelivered === true;
    const over =
      task.status !== 'running' && !redelivered && said.attempt !== undefined && said.attempt <= task.attempt;
    const held = over ? undefined : await this.#hold(task, holder, redelivered);
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

  /** A task that a foreign client published has no record until someone takes it: this agent did, and sent us its message. */
  async #adopt(said: OfTask): Promise<Task | undefined> {
    if (said.type !== 'task.started' || said.task === undefined) return undefined;
    const { task_id: id, task } = said;
    const { tasks, manager, random, limits } = this.#parts;
    if (task.id !== undefined && task.id !== id)
      throw InvalidInput('The report', `its task_id '${id}' is not the id '${task.id}' of its task`);
    const traceparent = task.traceparent ?? newTraceparent(random, true);
    const origin = { traceparent, root: splitTaskId(id).run, hops: 0 };
    if (!(await manager.adopt(prepareForeign(id, task, traceparent, limits), origin))) return undefined;
    return tasks.find(id);
  }

  async #adopted(said: OfTask): Promise<Task | undefined> {
    if (said.type === 'task.started') return undefined;
    for (let look = 0; look < ADOPTION_LOOKS; look++) {
      await new Promise<void>((resolve) => this.#parts.clock.after(ADOPTION_MS, resolve));
      const task = await this.#parts.tasks.find(said.task_id);
      if (task !== undefined) return task;
    }
    return undefined;
  }

  /** The attempt this agent holds: begun by an earlier report, or begun now. undefined: the task is someone else's, or over. */
  async #hold(task: Task, holder: string, redelivered: boolean): Promise<Held | undefined> {
    const { tasks, emitter } = this.#parts;
    if (task.status === 'running' && task.agent === holder && !redelivered) {
      const token = await tasks.token(task.id, holder);
      return token === undefined ? undefined : { token, failedAttempts: task.failed_attempts };
    }
    const claim = await tasks.claim({ id: task.id, holder, redelivered });
    if (claim.outcome === 'held' && claim.by === holder) {
      // Another manager heard of this attempt between our look and our claim.
      const token = await tasks.token(task.id, holder);
      return token === undefined ? undefined : { token, failedAttempts: task.failed_attempts };
    }
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
        duration_ms: began === undefined ? 0 : Math.max(0, this.#parts.clock.now() - began),
      });
    } else if (verdict.do === 'retry') {
      emitter.emit('task.retrying', { ...about, after_ms: verdict.afterMs, error: verdict.error.message });
    } else if (verdict.do === 'die') {
      emitter.emit('task.dead', { ...about, reason: verdict.reason, error: verdict.error.message });
    }
    await manager.follow(answer);
  }
}

/** Whose order matters: a task's reports among themselves, an agent's among themselves. */
function aboutOf(said: Report): string {
  switch (said.type) {
    case 'agent.register':
      return said.agent.agent_id;
    case 'agent.heartbeat':
    case 'agent.leave':
      return said.agent_id;
    default:
      return said.task_id;
  }
}

/** The instance under which a bus-only agent holds tasks and its lease. */
export function holderOf(agentId: string): string {
  return `bus:${agentId}`;
}
