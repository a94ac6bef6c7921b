// A run as the records that submit-run.lua reads, cut into calls that stay short. The only place that knows a record's positions.
import type { FailureRule } from '../contracts/task.js';
import type { NewTask } from '../ports.js';
import type { Argument } from '../redis/script.js';

export const CHUNK_TASKS = 500;
const CHUNK_EDGES = 5000;

const ruleLetter: Record<FailureRule, string> = { fail: 'f', skip: 's', continue: 'c' };

/**
 * Cuts a run into the records of script calls: at most 500 tasks and 5,000 edges each, so that no call holds Redis for 50 ms, and no
 * list is longer than Lua can pass (8,000). What may be added to a run that exists is one call (decide/dag.ts).
 */
export function chunkRun(tasks: readonly NewTask[]): Argument[][] {
  const chunks: Argument[][] = [[]];
  let count = 0;
  let edges = 0;
  const room = (wanted: number): Argument[] => {
    if (count >= CHUNK_TASKS || (edges > 0 && edges + wanted > CHUNK_EDGES)) {
      chunks.push([]);
      count = 0;
      edges = 0;
    }
    count += 1;
    edges += wanted;
    return chunks[chunks.length - 1]!;
  };
  for (const task of tasks) {
    const key = task.id.slice(task.id.indexOf('.') + 1);
    const all = task.dependencies.map((dependency) => `${ruleLetter[dependency.rule]}:${dependency.key}`);
    const first = all.slice(0, CHUNK_EDGES);
    room(first.length).push(
      ...['T', key, task.capability, task.priority, task.maxAttempts, task.body],
      ...optionalFields(task),
      ...[task.requiresApproval ? 1 : '', first.length, ...first],
    );
    for (let from = CHUNK_EDGES; from < all.length; from += CHUNK_EDGES) {
      const slice = all.slice(from, from + CHUNK_EDGES);
      room(slice.length).push('D', key, slice.length, ...slice);
    }
  }
  return chunks;
}

/** The unset ones travel as ''. */
export function optionalFields(task: NewTask): Argument[] {
  return [
    task.timeoutMs ?? '',
    task.notBefore ?? '',
    task.deadlineAt ?? '',
    task.assignedTo ?? '',
    task.leastConnections === true ? 1 : '',
  ];
}
