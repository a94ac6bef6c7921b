// Agents that die, and agents that only seem to: their tasks run elsewhere in time, and what they say too late changes nothing.
import { eventually } from '../support/eventually.js';
import type { TaskStep } from '../support/fleet-process.js';
import { figure } from '../support/load.js';
import { type World, world } from '../support/world.js';

let w: World;
beforeEach(async () => {
  w = await world();
  await w.manager();
});
afterEach(() => w.close());

async function agentRecord(id: string) {
  return (await w.client.agents({ include_offline: true })).find((match) => match.agent.agent_id === id)?.agent;
}

/** Two agents; the one that got the task, and the other. */
async function pair(task: TaskStep) {
  const agents = await Promise.all(['first', 'second'].map((id) => w.spawnAgent(id, { options: { concurrency: 1 } })));
  const { id } = await w.client.submit('work', task, { retry: { max_attempts: 1 } });
  const { agent } = await w.until('task.started', { task: id });
  const [holder, other] = agent === 'first' ? agents : agents.reverse();
  return { task: id, holder: holder!, other: other! };
}

it('runs a task elsewhere within 5 s when its agent is killed mid-task, and burns no attempt', async () => {
  const { task, holder, other } = await pair({ ms: 1000, say: 'done' });
  const killed = performance.now();
  await holder.kill();
  await w.until('task.started', { task, attempt: 2, agent: other.id }, 5000);
  const restartedMs = performance.now() - killed;
  expect(await w.client.outcome(task)).toMatchObject({
    status: 'completed',
    attempt: 2,
    output: { say: 'done', agent: other.id },
  });
  expect(await w.client.task(task)).toMatchObject({ failed_attempts: 0, lost_attempts: 1 });

  await eventually(
    () => agentRecord(holder.id),
    (record) => record?.status === 'offline',
    { withinMs: 20_000 },
  );
  figure(
    `killed agent: its task started elsewhere after ${Math.round(restartedMs)} ms; it was offline after ${Math.round(performance.now() - killed)} ms`,
  );
}, 40_000);

it('takes a task from an agent that hangs within 20 s, refuses its late result, and lets it work again', async () => {
  const { task, holder, other } = await pair({ ms: 1000, blocking: true });
  const stopped = performance.now();
  holder.signal('SIGSTOP');
  await w.until('task.started', { task, attempt: 2, agent: other.id }, 20_000);
  const restartedMs = performance.now() - stopped;
  await eventually(
    () => agentRecord(holder.id),
    (record) => record?.status === 'offline',
    { withinMs: 60_000 - restartedMs },
  );
  figure(
    `hung agent: its task started elsewhere after ${Math.round(restartedMs)} ms; it was offline after ${Math.round(performance.now() - stopped)} ms`,
  );
  expect(await w.client.outcome(task)).toMatchObject({ status: 'completed', attempt: 2, output: { agent: other.id } });

  holder.signal('SIGCONT');
  await w.until('task.stale', { task, agent: holder.id });
  expect(await w.client.task(task)).toMatchObject({
    status: 'completed',
    attempt: 2,
    failed_attempts: 0,
    lost_attempts: 1,
    result: { agent: other.id },
  });
  await eventually(
    () => agentRecord(holder.id),
    (record) => record?.status === 'active',
    { withinMs: 15_000 },
  );
  const more = await w.client.submit('work', { say: 'back' }, { assignedTo: holder.id });
  expect(await w.client.result(more)).toMatchObject({ say: 'back', agent: holder.id });
}, 60_000);
