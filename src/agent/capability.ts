// The capability DSL: a name, a zod schema in, a zod schema out. Callers import the contract; agents give it a handler.
import { z } from 'zod';
import type { CapabilityRecord } from '../contracts/agent.js';
import { name as nameSchema } from '../contracts/names.js';
import type { RetryPolicy } from '../contracts/task.js';
import { validate } from '../tasks/prepare.js';
import type { Context } from './context.js';

export interface CapabilityOptions<In extends z.ZodType, Out extends z.ZodType> {
  /** What the handler takes; checked before every attempt. Default: any JSON. */
  readonly input?: In;
  /** What the handler returns; checked after every attempt. Default: any JSON. */
  readonly output?: Out;
  readonly description?: string;
  /** For people: "~100 tokens", "~30s compute". */
  readonly costEstimate?: string;
  readonly tags?: readonly string[];
  /** How long one attempt may take, unless the task says otherwise, ms. */
  readonly timeoutMs?: number;
  /** How failures are tried again, unless the task says otherwise. */
  readonly retry?: RetryPolicy;
}

/** The contract of a named skill: `In` is what callers give, `Out` what they get. */
export interface Capability<In, Out, Handled = In, Returned = Out> {
  readonly name: string;
  readonly options: CapabilityOptions<z.ZodType<Handled, In>, z.ZodType<Out, Returned>>;
  /** The contract with a handler: what an agent offers. */
  handle(handler: Handler<Handled, Returned>): Offer;
}

/** May return or throw. Throw an error with `retryable: false` to end the task without another attempt. */
export type Handler<Handled, Returned> = (input: Handled, context: Context) => Returned | Promise<Returned>;

/** A capability an agent offers. */
export interface Offer {
  readonly name: string;
  readonly record: CapabilityRecord;
  readonly timeoutMs: number | undefined;
  readonly retry: RetryPolicy | undefined;
  /** Checks the input, runs the handler, checks the output. Throws INVALID_INPUT where either does not fit. */
  invoke(input: unknown, context: Context): Promise<unknown>;
}

/** Declares a capability. Throws INVALID_INPUT when the name is not one. */
export function capability<
  In extends z.ZodType = z.ZodType<z.core.util.JSONType>,
  Out extends z.ZodType = z.ZodType<z.core.util.JSONType>,
>(
  name: string,
  options: CapabilityOptions<In, Out> = {},
): Capability<z.input<In>, z.output<Out>, z.output<In>, z.input<Out>> {
  validate(nameSchema, name, `The capability name`);
  return {
    name,
    options: options as never,
    handle: (handler) => offer(name, options, handler as Handler<unknown, unknown>),
  };
}

function offer(
  name: string,
  options: CapabilityOptions<z.ZodType, z.ZodType>,
  handler: Handler<unknown, unknown>,
): Offer {
  const { input, output } = options;
  const result = output === undefined ? undefined : toSchema(output, 'output');
  return {
    name,
    record: {
      name,
      description: options.description ?? '',
      parameters: input === undefined ? {} : toSchema(input, 'input'),
      ...(result === undefined ? {} : { result }),
      ...(options.costEstimate === undefined ? {} : { cost_estimate: options.costEstimate }),
      tags: [...(options.tags ?? [])],
    },
    timeoutMs: options.timeoutMs,
    retry: options.retry,
    async invoke(value, context) {
      const checked = input === undefined ? value : validate(input, value, `The input of '${name}'`);
      const returned = await handler(checked, context);
      if (output === undefined) return returned;
      return validate(output, returned, `What the handler of '${name}' returned`);
    },
  };
}

function toSchema(schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  // A transform or a date has no JSON Schema: it is described as "anything" rather than refused.
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Record<string, unknown>;
  return rest;
}
