// The four priority classes and every spelling of them that is accepted at an edge.
import { z } from 'zod';

export const PRIORITIES = ['P0', 'P1', 'P2', 'P3'] as const;
export type Priority = (typeof PRIORITIES)[number];
/** 0 is P0, the most urgent. The form used in queue names (`p0`), Redis keys and arithmetic. */
export type PriorityClass = 0 | 1 | 2 | 3;

const WORDS: Readonly<Record<string, Priority>> = { critical: 'P0', high: 'P1', medium: 'P2', low: 'P3' };

/** P0-P3, a word (critical, high, medium, low) or 1-10 with 10 most urgent (9-10 P0, 7-8 P1, 4-6 P2, 1-3 P3). */
export const priorityInput = z
  .union([z.enum(PRIORITIES), z.enum(['critical', 'high', 'medium', 'low']), z.int().min(1).max(10)])
  .meta({ description: 'P0 (critical) to P3 (low), the word, or 1-10 where 10 is the most urgent. Default P2.' });
export type PriorityInput = z.infer<typeof priorityInput>;

export function toPriority(input: PriorityInput | undefined): Priority {
  if (input === undefined) return 'P2';
  if (typeof input === 'number') return input >= 9 ? 'P0' : input >= 7 ? 'P1' : input >= 4 ? 'P2' : 'P3';
  return WORDS[input] ?? (input as Priority);
}

export function toClass(input: PriorityInput | undefined): PriorityClass {
  return PRIORITIES.indexOf(toPriority(input)) as PriorityClass;
}

/** The word of requirement B5's `priority` field. */
export function toWord(priority: Priority): 'critical' | 'high' | 'medium' | 'low' {
  return (['critical', 'high', 'medium', 'low'] as const)[PRIORITIES.indexOf(priority)]!;
}
