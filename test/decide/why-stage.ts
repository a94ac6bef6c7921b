// What `task why` is tried on: tasks, agents and snapshots in which everything is in order but for what a case says.
// And the check that every case gets: the sentence is compared whole, the reason is what programs branch on.
import type { AgentRecord } from '../../src/contracts/agent.js';
import type { Task } from '../../src/contracts/task.js';
import { why } from '../../src/decide/why.js';
import type { Relative, WhySnapshot } from '../../src/decide/why-snapshot.js';

export const NOW = Date.parse('2026-01-01T12:00:00.000Z');
export const ago = (ms: number): string => new Date(NOW - ms).toISOString();

export function aTask(fields: Partial<Task> = {}): Task {
  return {
    id: 'r1',
    run: 'r1',
    key: '',
    capability: 'review',
    priority: 'P2',
    status: 'dispatched',
    attempt: 0,
    max_attempts: 3,
    failed_attempts: 0,
    lost_attempts: 0,
    waiting_for: [],
    after: [],
    submitted_at: ago(50_000),
    ready_at: ago(41_000),
    ...fields,
  };
}

export function anAgent(id: string, fields: Partial<AgentRecord> = {}): AgentRecord {
  return {
    agent_id: id,
    agent_name: id,
    capabilities: [{ name: 'review', description: '', parameters: {}, tags: [] }],
    capacity: 2,
    tags: [],
    metadata: {},
    instance: `${id}-aaaaaa`,
    kind: 'full',
    status: 'active',
    health_status: 'unknown',
    draining: false,
    in_flight: 0,
    last_heartbeat: ago(2000),
    created_at: ago(100_000),
    updated_at: ago(100_000),
    ...fields,
  };
}

export function snapshot(task: Partial<Task> | undefined, fields: Partial<WhySnapshot> = {}): WhySnapshot {
  return {
    id: 'r1',
    nowMs: NOW,
    agents: [],
    paused: false,
    ahead: { byClass: [0, 0, 0, 0], atLeast: false },
    managers: 1,
    broker: 'ready',
    dependencies: [],
    leaseMs: 15_000,
    heartbeatMs: 30_000,
    ...(task === undefined ? {} : { task: aTask(task) }),
    ...fields,
  };
}

export const free = anAgent('ann', { in_flight: 1 });
export const full = anAgent('ben', { in_flight: 2, status: 'busy' });
export const draining = anAgent('cat', { draining: true });
export const offline = anAgent('dan', { status: 'offline', last_heartbeat: ago(90_000) });
export const unhealthy = anAgent('eve', { health_status: 'unhealthy' });
export const failed = { code: 'HANDLER_FAILED', message: 'no such branch' };
export const dependency = (id: string, status: Task['status'], rest: Partial<Relative> = {}): Relative => ({
  id,
  status,
  ...rest,
});
export const edges = (...keys: string[]) => keys.map((task) => ({ task, on_failure: 'fail' as const }));

export type Case = readonly [reason: string, name: string, seen: WhySnapshot, sentence: string];

export function holds([reason, , seen, sentence]: Case): void {
  const answer = why(seen);
  expect(answer.sentence).toBe(sentence);
  expect(answer.reason).toBe(reason);
  expect(answer.id).toBe(seen.id);
  // For programs: plain data.
  expect(JSON.parse(JSON.stringify(answer.facts))).toEqual(answer.facts);
}
