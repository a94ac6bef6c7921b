// What a client says when it submits, and what it gets: options in the SDK's words, turned into a task of the contract.
import type { PriorityInput } from '../contracts/priority.js';
import { type FailureRule, type RetryPolicy, type TaskSpec, taskSpec } from '../contracts/task.js';
import { validate } from '../tasks/prepare.js';

/** A submitted task; `Out` is what result() gives. */
export class TaskHandle<Out = unknown> {
  readonly id: string;
  /** Only for types: what the task returns. */
  declare readonly output?: Out;

  constructor(id: string) {
    this.id = id;
  }

  toString(): string {
    return this.id;
  }

  toJSON(): string {
    return this.id;
  }
}

export interface SubmitOptions {
  readonly priority?: PriorityInput;
  /** Tasks that must end first, as handles or ids of one run: the new task joins that run. */
  readonly after?: readonly (TaskHandle | string)[];
  readonly onFailure?: FailureRule;
  /** The task's name within its run. */
  readonly key?: string;
  readonly timeoutMs?: number;
  readonly deadlineAt?: Date;
  readonly notBefore?: Date;
  readonly requiresApproval?: boolean;
  /** The one agent that may run it. */
  readonly assignedTo?: string;
  readonly route?: 'queue' | 'least-connections';
  readonly retry?: RetryPolicy;
  /** The same key and body give the same task; another body is refused (IDEMPOTENCY_CONFLICT). */
  readonly idempotencyKey?: string;
}

export interface RunHandle {
  readonly id: string;
  /** Task ids by key, in order of submission. */
  readonly tasks: readonly string[];
}

/** Throws INVALID_INPUT naming every option that is wrong. */
export function toSpec(capability: string, input: unknown, options: SubmitOptions): TaskSpec {
  const constraints = {
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs / 1000 }),
    ...(options.requiresApproval === undefined ? {} : { requires_approval: options.requiresApproval }),
  };
  const spec = {
    capability,
    parameters: input ?? {},
    ...(options.key === undefined ? {} : { key: options.key }),
    ...(options.onFailure === undefined ? {} : { on_failure: options.onFailure }),
    ...(options.priority === undefined ? {} : { priority: options.priority }),
    ...(options.assignedTo === undefined ? {} : { assigned_to: options.assignedTo }),
    ...(options.route === undefined ? {} : { route: options.route }),
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...(options.notBefore === undefined ? {} : { not_before: options.notBefore.toISOString() }),
    ...(options.deadlineAt === undefined ? {} : { deadline_at: options.deadlineAt.toISOString() }),
    ...(Object.keys(constraints).length === 0 ? {} : { constraints }),
  };
  return validate(taskSpec, spec, 'The task');
}
