// What people type, read strictly: durations with their unit, moments, names, JSON from the line, a file or stdin.
import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { name, taskId } from '../contracts/names.js';
import { type PriorityInput, priorityInput } from '../contracts/priority.js';
import { InvalidInput } from '../errors.js';
import { parseJson } from './json.js';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 };
const LONGEST_MS = 365 * 86_400_000;

/** '500ms', '60s', '10m', '1.5h', '2d' in ms. A number alone is refused: nobody knows whether it is seconds. */
export function readDuration(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)$/.exec(text.trim());
  const ms = match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]!]!;
  if (!(ms > 0 && ms <= LONGEST_MS)) {
    throw InvalidInput(option, `${quote(text)} is not a duration; write a number and ms, s, m, h or d, such as 60s`);
  }
  return ms;
}

/** An ISO 8601 moment with its offset, or a duration from now. */
export function readMoment(text: string, option: string, now: number): Date {
  if (/^\d{4}-\d{2}-\d{2}T/.test(text)) {
    const moment = new Date(text);
    if (!Number.isNaN(moment.getTime()) && /(Z|[+-]\d{2}:\d{2})$/i.test(text)) return moment;
    throw InvalidInput(option, `${quote(text)} is not a moment; write it with an offset, such as 2026-01-31T12:00:00Z`);
  }
  return new Date(now + readDuration(text, option));
}

export function readPriority(text: string): PriorityInput {
  const given: unknown = /^\d+$/.test(text) ? Number(text) : /^p[0-3]$/i.test(text) ? text.toUpperCase() : text;
  const parsed = priorityInput.safeParse(given);
  if (parsed.success) return parsed.data;
  throw InvalidInput('--priority', `${quote(text)} is none; use P0 to P3, critical, high, medium, low, or 1 to 10`);
}

export function readName(text: string, what: string): string {
  return read(name, text, what);
}

export function readTaskId(text: string): string {
  return read(taskId, text, 'The id');
}

export function readCount(text: string, option: string, most: number): number {
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= most) return count;
  throw InvalidInput(option, `${quote(text)} is not a number from 1 to ${most}`);
}

/** JSON itself, '@file', or '-' for stdin. */
export function readInput(given: string | undefined): unknown {
  if (given === undefined) return {};
  if (given === '-') return parseJson(readText(0, 'stdin'), 'The input (stdin)');
  if (given.startsWith('@'))
    return parseJson(readText(given.slice(1), given.slice(1)), `The input (${given.slice(1)})`);
  return parseJson(given, 'The input');
}

export function readText(file: string | 0, what: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/^\ufeff/, '');
  } catch (error) {
    throw InvalidInput(what, `it cannot be read (${error instanceof Error ? error.message : String(error)})`);
  }
}

function read<T>(schema: z.ZodType<T>, text: string, what: string): T {
  const parsed = schema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw InvalidInput(what, parsed.error.issues.map((issue) => issue.message).join('; '));
}

export function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text);
}
