// The SDK's client: submit work and await it, ask agents, publish and subscribe. Made by connect(), and handed to handlers as
// `context.client`, bound to their task's trace and root.

import { exchangeName } from '../bus/topology.js';
import type { AgentMatch, AgentQuery, AgentRecord } from '../contracts/agent.js';
import type { Run, RunSpec, Task, TaskOutcome, TaskSpec } from '../contracts/task.js';
import { explainSkipped, route } from '../decide/route.js';
import { Closed, InvalidInput, NoAgentAvailable, TaskCancelled, TaskDead } from '../errors.js';
import type { RunOutcome, TaskFilter } from '../ports.js';
import type { Origin } from '../tasks/manager.js';
import { validateRunSpec } from '../tasks/prepare.js';
import { requestSpan, submitSpan } from '../telemetry/spans.js';
import { currentTraceparent } from '../telemetry/tracing.js';
import type { Capability } from './capability.js';
import type { Instance } from './instance.js';
import type { Candidate, RequestOptions } from './requests.js';
import { type RunHandle, type SubmitOptions, TaskHandle, toSpec } from './submission.js';
import { publishTopic, type Subscribed, subscribe, type TopicHandler } from './topics.js';

export { type RunHandle, type SubmitOptions, TaskHandle };

export class Client {
  readonly #instance: Instance;
  readonly #origin: Origin | undefined;
  readonly #close: () => Promise<void>;

  /** Use connect(). `origin`: the task on whose behalf this client acts. */
  constructor(instance: Instance, close: () => Promise<void>, origin?: Origin) {
    this.#instance = instance;
    this.#close = close;
    this.#origin = origin;
  }

  /** The process's identity and ports, for what is built on the client (agents, CLI). */
  get instance(): Instance {
    return this.#instance;
  }

  /** A client that acts on behalf of a task. */
  onBehalfOf(origin: Origin): Client {
    return new Client(this.#instance, async () => undefined, origin);
  }

  /**
   * Accepts a task; from here on it cannot be lost. Rejects with INVALID_INPUT, PAYLOAD_TOO_LARGE, IDEMPOTENCY_CONFLICT, or
   * THROTTLED / BROKER_UNAVAILABLE / STORE_UNAVAILABLE; only the last leaves open whether it was stored.
   */
  async submit<In, Out, H, R>(
    capability: Capability<In, Out, H, R>,
    input: In,
    options?: SubmitOptions,
  ): Promise<TaskHandle<Out>>;
  async submit(capability: string, input?: unknown, options?: SubmitOptions): Promise<TaskHandle>;
  async submit(
    capability: string | { name: string },
    input?: unknown,
    options: SubmitOptions = {},
  ): Promise<TaskHandle> {
    this.#checkOpen();
    const name = typeof capability === 'string' ? capability : capability.name;
    const spec = toSpec(name, input, options);
    if (options.after !== undefined && options.after.length > 0) return this.#append(spec, options.after);
    const { random, manager } = { random: this.#instance.ports.random, manager: this.#instance.manager };
    const about = {
      run: '',
      tasks: 1,
      exchange: exchangeName(this.#instance.config.MUSTER_PREFIX, 'task'),
      capability: name,
      parent: this.#origin?.traceparent,
    };
    const id = await submitSpan(about, random, (traceparent) =>
      manager.submit(spec, this.#originWith(traceparent), options.idempotencyKey),
    );
    return new TaskHandle(id);
  }

  async #append(spec: TaskSpec, after: readonly (TaskHandle | string)[]): Promise<TaskHandle> {
    const ids = after.map(String);
    const runs = new Set(ids.map((id) => id.split('.', 1)[0]!));
    const [run] = runs;
    if (runs.size !== 1 || run === undefined) {
      throw InvalidInput(
        'The task',
        `it waits for tasks of ${runs.size} runs (${[...runs].join(', ')}); tasks wait for tasks of their own run only`,
      );
    }
    const edges = ids.map((id) => (id.includes('.') ? id.slice(id.indexOf('.') + 1) : ''));
    const { manager, ports } = this.#instance;
    const about = {
      run,
      tasks: 1,
      exchange: exchangeName(this.#instance.config.MUSTER_PREFIX, 'task'),
      capability: spec.capability,
      parent: this.#origin?.traceparent,
    };
    const added = await submitSpan(about, ports.random, (traceparent) =>
      manager.submitRun({ tasks: [{ ...spec, after: edges }] }, this.#originWith(traceparent), run),
    );
    return new TaskHandle(added.tasks[0]!);
  }

  /** Accepts a whole run, or nothing of it. Takes what schemas/run.json describes. */
  async run(spec: RunSpec): Promise<RunHandle> {
    this.#checkOpen();
    const checked = validateRunSpec(spec);
    const { manager, ports, config } = this.#instance;
    const parent = checked.traceparent ?? this.#origin?.traceparent;
    const about = {
      run: checked.id ?? '',
      tasks: checked.tasks.length,
      exchange: exchangeName(config.MUSTER_PREFIX, 'task'),
      parent,
      workflowType: checked.labels?.workflow_type,
    };
    const accepted = await submitSpan(about, ports.random, (traceparent) =>
      manager.submitRun(checked, this.#originWith(traceparent)),
    );
    return { id: accepted.run, tasks: accepted.tasks };
  }

  /** Waits for a task, in any process, and resolves to what its handler returned. Rejects with TASK_DEAD or TASK_CANCELLED. */
  async result<Out = unknown>(task: TaskHandle<Out> | string): Promise<Out> {
    const outcome = await this.outcome(task);
    if (outcome.status === 'completed') return outcome.output as Out;
    const reason = outcome.reason ?? 'unknown';
    if (outcome.status === 'cancelled') throw TaskCancelled(outcome.id, reason);
    throw TaskDead(outcome.id, reason, outcome.error?.message ?? reason, { details: { error: outcome.error, reason } });
  }

  /** Waits for a task and resolves to how it ended, whatever that is. */
  async outcome(task: TaskHandle | string): Promise<TaskOutcome> {
    this.#checkOpen();
    const ended = await this.#instance.outcomes.wait(String(task));
    if ('run' in ended)
      throw InvalidInput(`'${String(task)}'`, 'it is a run of several tasks; wait for it with runOutcome()');
    return ended as TaskOutcome;
  }

  /** Waits for all tasks of a run. */
  async runOutcome(run: string): Promise<RunOutcome> {
    this.#checkOpen();
    const ended = await this.#instance.outcomes.wait(run);
    if ('run' in ended) return ended as RunOutcome;
    return { run, status: ended.status === 'completed' ? 'completed' : 'failed' };
  }

  /** Ends a task that is not final: its handler's signal aborts, in whatever process; its dependents follow by their rules. */
  async cancel(task: TaskHandle | string): Promise<{ cancelled: boolean; state: string }> {
    return this.#instance.manager.cancel(String(task));
  }

  async cancelRun(run: string): Promise<number> {
    return this.#instance.manager.cancelRun(run);
  }

  /** Lets a task go on that `requiresApproval`. false: it was not waiting for one. */
  async approve(task: TaskHandle | string): Promise<boolean> {
    return this.#instance.manager.approve(String(task));
  }

  task(id: string): Promise<Task | undefined> {
    return this.#instance.ports.tasks.find(id);
  }

  tasks(filter: Partial<TaskFilter> = {}): Promise<readonly Task[]> {
    return this.#instance.ports.tasks.list({ limit: 100, ...filter });
  }

  runState(id: string): Promise<Run | undefined> {
    return this.#instance.ports.tasks.findRun(id);
  }

  async agents(query: AgentQuery = {}): Promise<readonly AgentMatch[]> {
    return (await this.#instance.agents()).find(query);
  }

  /**
   * Asks an agent now and resolves to its reply. `target`: an agent id, a capability (the free agent with the smallest load), or
   * 'any' (any that offers the action). Rejects with REQUEST_TIMEOUT, REQUEST_FAILED (the agent's own error) or NO_AGENT_AVAILABLE.
   */
  async request<Out = unknown>(
    target: string,
    action: string,
    parameters: unknown = {},
    options: RequestOptions = {},
  ): Promise<Out> {
    this.#checkOpen();
    const { requests, ports, config } = this.#instance;
    const candidates = await this.#candidates(target, action);
    const about = {
      id: '',
      action,
      target,
      exchange: exchangeName(config.MUSTER_PREFIX, 'agent'),
      correlationId: options.correlationId,
    };
    return requestSpan(about, options.traceparent ?? this.#origin?.traceparent, ports.random, (traceparent) =>
      requests.ask(target, action, parameters, candidates, { ...options, traceparent }),
    ) as Promise<Out>;
  }

  async #candidates(target: string, action: string): Promise<readonly Candidate[]> {
    const { registry, requests, ports } = {
      registry: await this.#instance.agents(),
      requests: this.#instance.requests,
      ports: this.#instance.ports,
    };
    const named = target === 'any' ? undefined : registry.get(target);
    // A named agent is asked whatever its load: it answers for itself.
    if (named !== undefined && named.status !== 'offline')
      return [{ agentId: named.agent_id, instance: named.instance }];
    const offering = registry.byCapability(target === 'any' ? action : target).filter((agent) => offers(agent, action));
    const loaded = offering.map((agent) => {
      const known = requests.inFlight(agent.agent_id);
      return known === 0 ? agent : { ...agent, in_flight: agent.in_flight + known };
    });
    const { order, skipped } = route(loaded, { random: ports.random });
    if (order.length === 0) throw NoAgentAvailable(`'${target}'`, explainSkipped(skipped));
    return order.map((agent) => ({ agentId: agent.agent_id, instance: agent.instance }));
  }

  /** Asks several at once; says who replied what, and who did not by the deadline. */
  async gather(
    targets: readonly string[] | 'all',
    action: string,
    parameters: unknown = {},
    options: RequestOptions = {},
  ) {
    this.#checkOpen();
    const registry = await this.#instance.agents();
    const agents = targets === 'all' ? registry.byCapability(action) : targets.map((target) => registry.get(target));
    const present = agents.filter((agent) => agent !== undefined && agent.status !== 'offline') as AgentRecord[];
    const candidates = present.map((agent) => ({ agentId: agent.agent_id, instance: agent.instance }));
    const answer = await this.#instance.requests.gather(action, parameters, candidates, options);
    const absent =
      targets === 'all'
        ? []
        : targets.filter((target) => !candidates.some((candidate) => candidate.agentId === target));
    return { ...answer, silent: [...answer.silent, ...absent].sort() };
  }

  /** Tells every agent, without waiting. Agents that do not offer the action ignore it. */
  async broadcast(
    action: string,
    parameters: unknown = {},
    options: { exclude?: readonly string[] } & RequestOptions = {},
  ): Promise<void> {
    this.#checkOpen();
    const traceparent = options.traceparent ?? currentTraceparent() ?? this.#origin?.traceparent;
    this.#instance.requests.broadcast(
      action,
      parameters,
      options.exclude ?? [],
      traceparent === undefined ? options : { ...options, traceparent },
    );
  }

  /** Publishes to a topic, such as 'build.finished'. Resolves at once: an event nobody listens to is no error. */
  async publish(topic: string, data: unknown): Promise<void> {
    this.#checkOpen();
    publishTopic(this.#instance, topic, data);
  }

  /**
   * Hears every event whose topic matches the pattern ('*' one word, '#' any number). With `durable`, a name: events are kept
   * while nobody listens, and shared among the listeners of that name.
   */
  subscribe(pattern: string, handler: TopicHandler, options: { durable?: string } = {}): Promise<Subscribed> {
    this.#checkOpen();
    return subscribe(this.#instance, pattern, handler, options);
  }

  /** Publishes what was accepted, then lets go of the connections. */
  close(): Promise<void> {
    return this.#close();
  }

  #checkOpen(): void {
    if (this.#instance.closed) throw Closed('The client');
  }

  #originWith(traceparent: string): Origin {
    return { ...this.#origin, traceparent };
  }
}

function offers(agent: AgentRecord, action: string): boolean {
  return agent.capabilities.some((capability) => capability.name === action);
}
