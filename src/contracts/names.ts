// The grammar of names. A name ends up in queue names, routing keys and Redis keys, where '#', '*', '.', '{' mean something.
import { z } from 'zod';

/** Agent ids, capability names and task keys: lower case, 1-63 characters, no dots. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9_-]{0,62}$/;
/** Run ids: as names, upper case allowed, so that a foreign UUID or ULID may be one. */
export const RUN_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
/** A task id is its run's id, or `<run>.<key>` in a run of several. */
export const TASK_ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[a-z0-9][a-z0-9_-]{0,62})?$/;

const grammar = "lower-case letters, digits, '-' and '_', starting with a letter or digit, at most 63 characters";

export const name = z
  .string()
  .regex(NAME_PATTERN, { error: (issue) => `${show(issue.input)} is not a name: use ${grammar}` });
export const runId = z.string().regex(RUN_PATTERN, {
  error: (issue) => `${show(issue.input)} is not a run id: use letters, digits, '-' and '_', at most 64 characters`,
});
export const taskId = z.string().regex(TASK_ID_PATTERN, {
  error: (issue) => `${show(issue.input)} is not a task id: use '<run>' or '<run>.<key>'`,
});

function show(input: unknown): string {
  const text = typeof input === 'string' ? input : String(input);
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text);
}

/** Splits a task id. The key is '' where the task is its whole run. */
export function splitTaskId(id: string): { run: string; key: string } {
  const dot = id.indexOf('.');
  return dot < 0 ? { run: id, key: '' } : { run: id.slice(0, dot), key: id.slice(dot + 1) };
}

export function joinTaskId(run: string, key: string): string {
  return key === '' ? run : `${run}.${key}`;
}
