// Validates the shape of a run before anything of it is stored (hop 1): unique keys, known dependencies, no circle.
// Iterative and O(tasks + dependencies): a chain of 200,000 tasks is as safe as a list of them.
import { CyclicRun, DuplicateTask, InvalidInput, UnknownDependency } from '../errors.js';

export interface RunShape {
  readonly key: string;
  readonly after: readonly string[];
}

/** Throws DUPLICATE_TASK, UNKNOWN_DEPENDENCY or CYCLIC_RUN (its details hold the `path`, first key repeated at the end). */
export function validateRun(tasks: readonly RunShape[]): void {
  // A Map, because a key may be called 'constructor' or '__proto__'.
  const position = new Map<string, number>();
  tasks.forEach((task, i) => {
    if (position.has(task.key)) throw DuplicateTask(task.key);
    position.set(task.key, i);
  });
  for (const task of tasks) {
    for (const dependency of task.after) {
      if (!position.has(dependency)) throw UnknownDependency(task.key, dependency);
    }
  }
  const cycle = findCycle(tasks, position);
  if (cycle !== undefined) throw CyclicRun(cycle, { details: { path: cycle } });
}

/** What may be added to a run at once: it is checked and stored in one step, which must not keep the store busy for long. */
const ADDED_TASKS = 500;
const ADDED_DEPENDENCIES = 5000;

/** Throws INVALID_INPUT where an addition is too large; a new run may have any size. */
export function validateAddition(tasks: readonly { readonly dependencies: readonly unknown[] }[]): void {
  const dependencies = tasks.reduce((sum, task) => sum + task.dependencies.length, 0);
  if (tasks.length <= ADDED_TASKS && dependencies <= ADDED_DEPENDENCIES) return;
  const most = `at most ${ADDED_TASKS} tasks with ${ADDED_DEPENDENCIES} dependencies can be added to a run at once`;
  throw InvalidInput('The run', `${most}, these are ${tasks.length} with ${dependencies}`);
}

const UNSEEN = 0;
const ON_PATH = 1;
const DONE = 2;

/** Walks from each task to what it waits for; meeting a task that is on the path itself closes a circle. */
function findCycle(tasks: readonly RunShape[], position: ReadonlyMap<string, number>): string[] | undefined {
  const seen = new Uint8Array(tasks.length);
  const nextEdge = new Uint32Array(tasks.length);
  for (let start = 0; start < tasks.length; start++) {
    if (seen[start] !== UNSEEN) continue;
    const path = [start];
    seen[start] = ON_PATH;
    while (path.length > 0) {
      const here = path[path.length - 1]!;
      const dependency = tasks[here]!.after[nextEdge[here]!++];
      if (dependency === undefined) {
        seen[here] = DONE;
        path.pop();
        continue;
      }
      const there = position.get(dependency)!;
      if (seen[there] === ON_PATH) {
        const keys = path.slice(path.indexOf(there)).map((i) => tasks[i]!.key);
        return [...keys, dependency];
      }
      if (seen[there] === UNSEEN) {
        seen[there] = ON_PATH;
        path.push(there);
      }
    }
  }
  return undefined;
}
