// validateRun: what it refuses and with which words, hostile keys, and sizes that would break a recursive walk.
import fc from 'fast-check';
import { type RunShape, validateAddition, validateRun } from '../../src/decide/dag.js';
import type { MusterError } from '../../src/errors.js';

const task = (key: string, ...after: string[]): RunShape => ({ key, after });

function refusal(tasks: readonly RunShape[]): MusterError | undefined {
  try {
    validateRun(tasks);
    return undefined;
  } catch (error) {
    return error as MusterError;
  }
}

describe('validateRun', () => {
  it.each([
    ['one task', [task('a')]],
    ['a diamond, last task first', [task('d', 'b', 'c'), task('c', 'a'), task('b', 'a'), task('a')]],
    ['a dependency named twice', [task('a'), task('b', 'a', 'a')]],
    ['hostile keys', [task('constructor'), task('__proto__', 'constructor'), task('tostring', '__proto__')]],
  ])('accepts %s', (_, tasks) => {
    expect(refusal(tasks)).toBeUndefined();
  });

  it('refuses two tasks of one name', () => {
    expect(refusal([task('a'), task('b'), task('a')])).toMatchObject({ code: 'DUPLICATE_TASK', status: 409 });
  });

  it('refuses a dependency that is not in the run, and names both ends', () => {
    const error = refusal([task('a', 'constructor')]);
    expect(error?.code).toBe('UNKNOWN_DEPENDENCY');
    expect(error?.message).toContain("'a' waits for 'constructor'");
  });

  it.each([
    ['a task that waits for itself', [task('a', 'a')], ['a', 'a']],
    ['two that wait for each other', [task('a', 'b'), task('b', 'a')], ['a', 'b', 'a']],
    ['a circle behind a tail', [task('t', 'a'), task('a', 'b'), task('b', 'c'), task('c', 'a')], ['a', 'b', 'c', 'a']],
  ])('names the circle of %s', (_, tasks, path) => {
    const error = refusal(tasks);
    expect(error?.code).toBe('CYCLIC_RUN');
    expect(error?.details.path).toEqual(path);
    expect(error?.message).toContain(path.join(' -> '));
  });

  it('takes a chain 10,000 deep, and a circle as long', () => {
    const chain = Array.from({ length: 10_000 }, (_, i) => (i === 0 ? task('t0') : task(`t${i}`, `t${i - 1}`)));
    expect(refusal(chain)).toBeUndefined();
    const circle = [task('t0', 't9999'), ...chain.slice(1)];
    expect(refusal(circle)?.details.path).toHaveLength(10_001);
  });

  it('takes 200,000 tasks with two dependencies each', () => {
    const tasks = Array.from({ length: 200_000 }, (_, i) =>
      task(`t${i}`, ...(i < 2 ? [] : [`t${i - 1}`, `t${i >> 1}`])),
    );
    expect(refusal(tasks)).toBeUndefined();
  });

  it('finds a circle exactly when removing free tasks leaves some over', () => {
    const runs = fc
      .integer({ min: 1, max: 9 })
      .chain((n) => fc.array(fc.uniqueArray(fc.nat(n - 1), { maxLength: 3 }), { minLength: n, maxLength: n }));
    fc.assert(
      fc.property(runs, (edges) => {
        const tasks = edges.map((after, i) => task(`t${i}`, ...after.map((d) => `t${d}`)));
        const error = refusal(tasks);
        expect(error?.code).toBe(peelsAway(tasks) ? undefined : 'CYCLIC_RUN');
        if (error !== undefined) expectCircle(tasks, error.details.path as string[]);
      }),
      { numRuns: 500 },
    );
  });
});

describe('validateAddition', () => {
  const added = (tasks: number, each: number) =>
    Array.from({ length: tasks }, () => ({ dependencies: Array(each).fill('a') }));

  it('takes what one step can check and store', () => {
    expect(() => validateAddition(added(500, 10))).not.toThrow();
    expect(() => validateAddition(added(1, 5000))).not.toThrow();
  });

  it.each([
    [501, 0],
    [1, 5001],
    [500, 11],
  ])('refuses %i tasks with %i dependencies each', (tasks, each) => {
    expect(() => validateAddition(added(tasks, each))).toThrow(/at most 500 tasks with 5000 dependencies/);
  });
});

/** The dumb twin: take away tasks that wait for nothing until none is left, or none can go. */
function peelsAway(tasks: readonly RunShape[]): boolean {
  let left = [...tasks];
  for (;;) {
    const keys = new Set(left.map((t) => t.key));
    const rest = left.filter((t) => t.after.some((d) => keys.has(d)));
    if (rest.length === 0) return true;
    if (rest.length === left.length) return false;
    left = rest;
  }
}

function expectCircle(tasks: readonly RunShape[], path: readonly string[]): void {
  expect(path[0]).toBe(path.at(-1));
  expect(new Set(path).size).toBe(path.length - 1);
  for (let i = 1; i < path.length; i++) expect(tasks.find((t) => t.key === path[i - 1])?.after).toContain(path[i]);
}
