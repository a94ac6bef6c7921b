// Never run: `tsc` checks it. Each @ts-expect-error line is a mistake the SDK must catch at the call site.
import { z } from 'zod';
import { agent, type Client, capability } from '../../src/index.js';

const greet = capability('greet', {
  input: z.object({ name: z.string(), times: z.int().default(1) }),
  output: z.object({ text: z.string() }),
});

export async function inferred(client: Client): Promise<string> {
  // A default may be left out by the caller, and is there for the handler.
  const task = await client.submit(greet, { name: 'world' });
  const { text } = await client.result(task);
  return text;
}

export async function wrongInput(client: Client): Promise<void> {
  // @ts-expect-error name is a string
  await client.submit(greet, { name: 7 });
  // @ts-expect-error name is missing
  await client.submit(greet, {});
  // @ts-expect-error a priority that is none
  await client.submit(greet, { name: 'x' }, { priority: 'P9' });
  // @ts-expect-error an option that is none
  await client.submit(greet, { name: 'x' }, { prio: 'P0' });
}

export async function wrongOutput(client: Client): Promise<void> {
  const task = await client.submit(greet, { name: 'world' });
  // @ts-expect-error the result is an object with a text
  const length: number = await client.result(task);
  // @ts-expect-error it has no such field
  (await client.result(task)).greeting;
  void length;
}

export const right = greet.handle(({ name, times }) => ({ text: `${name} ${times.toFixed()}` }));
export const alsoRight = greet.handle(async ({ name }, { signal }) => ({ text: signal.aborted ? '' : name }));

// @ts-expect-error the handler returns text as a number
export const wrongReturn = greet.handle(() => ({ text: 1 }));
// @ts-expect-error the handler returns nothing
export const noReturn = greet.handle(() => undefined);
// @ts-expect-error the input has no such field
export const wrongRead = greet.handle((input) => ({ text: input.nam }));

export const definition = agent('greeter', [right]);
// @ts-expect-error an agent offers capabilities with a handler, not contracts
export const noHandler = agent('greeter', greet);
// @ts-expect-error concurrency is a number
export const wrongOption = agent('greeter', right, { concurrency: 'two' });
