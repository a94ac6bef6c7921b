/** Reads how many tests passed and failed from what a test runner printed. Pure.
 *  Only informative: whether the tests passed is decided by the exit code alone. */
import { z } from 'zod';

export const testCountsSchema = z.object({
  runner: z.enum(['node', 'jest']),
  total: z.int(),
  passed: z.int(),
  failed: z.int(),
  skipped: z.int(),
});

export type TestCounts = z.infer<typeof testCountsSchema>;

/** Sums over all summaries in the output, for scripts that start a runner more than once; `null` when there is none. */
export function testCounts(output: string): TestCounts | null {
  return nodeCounts(output) ?? jestCounts(output);
}

/** `# pass 3` in TAP, `ℹ pass 3` in the spec reporter. */
function nodeCounts(output: string): TestCounts | null {
  const sums: Record<string, number> = {};
  for (const match of output.matchAll(/^(?:#|ℹ) (tests|pass|fail|cancelled|skipped|todo) (\d{1,9})$/gm)) {
    sums[match[1]!] = (sums[match[1]!] ?? 0) + Number(match[2]);
  }
  const { tests, pass = 0, fail = 0, cancelled = 0, skipped = 0, todo = 0 } = sums;
  if (tests === undefined) return null;
  return { runner: 'node', total: tests, passed: pass, failed: fail + cancelled, skipped: skipped + todo };
}

/** `Tests:       1 failed, 2 skipped, 3 passed, 6 total`. */
function jestCounts(output: string): TestCounts | null {
  const summaries = [...output.matchAll(/^Tests: +(.*\d+ total)$/gm)].map((match) => match[1]!);
  if (summaries.length === 0) return null;
  const sum = (word: string) =>
    summaries.reduce((total, text) => total + Number(new RegExp(`(\\d{1,9}) ${word}`).exec(text)?.[1] ?? 0), 0);
  return {
    runner: 'jest',
    total: sum('total'),
    passed: sum('passed'),
    failed: sum('failed'),
    skipped: sum('skipped') + sum('todo'),
  };
}
