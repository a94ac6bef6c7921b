// `muster queue list|pause|resume`: what waits per capability and class, in the store and in the broker, and stopping it.
import { taskQueue } from '../../bus/topology.js';
import { PRIORITIES, type PriorityClass } from '../../contracts/priority.js';
import type { Bus } from '../../ports.js';
import { EXITS } from '../exits.js';
import { type Output, painted, table } from '../output.js';
import { readName } from '../read.js';
import { withClient } from '../session.js';

type Words = readonly (string | undefined)[];
const MOST_READY = 100_000;

interface QueueClass {
  readonly priority: string;
  readonly ready: number;
  /** null: the queue is not declared; it is once an agent offers the capability. */
  readonly in_broker: number | null;
  readonly consumers: number | null;
}
interface QueueRow {
  readonly capability: string;
  readonly paused: boolean;
  readonly agents: number;
  readonly classes: readonly QueueClass[];
}

export async function queueList(output: Output): Promise<number> {
  return withClient(async ({ instance }) => {
    const { tasks, agents, bus } = instance.ports;
    const [records, paused, ready] = await Promise.all([agents.all(), agents.paused(), tasks.readyTasks(MOST_READY)]);
    const online = new Map<string, number>();
    for (const record of records) {
      for (const { name } of record.capabilities) {
        online.set(name, (online.get(name) ?? 0) + (record.status === 'offline' ? 0 : 1));
      }
    }
    const stored = new Map<string, number[]>();
    for (const { capability, priority } of ready) {
      const counts = stored.get(capability) ?? [0, 0, 0, 0];
      counts[priority]! += 1;
      stored.set(capability, counts);
    }
    const names = [...new Set([...online.keys(), ...stored.keys(), ...paused])].sort();
    const rows: QueueRow[] = [];
    for (const capability of names) {
      rows.push({
        capability,
        paused: paused.includes(capability),
        agents: online.get(capability) ?? 0,
        classes: await classesOf(
          bus,
          instance.config.MUSTER_PREFIX,
          capability,
          stored.get(capability) ?? [0, 0, 0, 0],
        ),
      });
    }
    output.answer(rows, () =>
      rows.length === 0 ? 'No queues: no agent joined yet, and nothing waits.' : queueText(rows),
    );
    return EXITS.ok.code;
  });
}

function classesOf(bus: Bus, prefix: string, capability: string, ready: readonly number[]): Promise<QueueClass[]> {
  return Promise.all(
    PRIORITIES.map(async (priority, index) => {
      const state = await bus.inspect(taskQueue(prefix, capability, index as PriorityClass));
      return {
        priority,
        ready: ready[index]!,
        in_broker: state?.messages ?? null,
        consumers: state?.consumers ?? null,
      };
    }),
  );
}

function queueText(rows: readonly QueueRow[]): string[] {
  const lines = rows.flatMap(({ capability, paused, agents, classes }) =>
    classes.map(({ priority, ready, in_broker, consumers }, i) => [
      i === 0 ? capability : '',
      priority,
      String(ready),
      in_broker === null ? '-' : String(in_broker),
      consumers === null ? '-' : String(consumers),
      i === 0 ? String(agents) : '',
      i === 0 && paused ? painted('paused') : '',
    ]),
  );
  return table(['capability', 'class', 'ready', 'in broker', 'consumers', 'agents', ''], lines);
}

export const queuePause = (output: Output, words: Words): Promise<number> => setPaused(output, words, true);
export const queueResume = (output: Output, words: Words): Promise<number> => setPaused(output, words, false);

async function setPaused(output: Output, [word]: Words, paused: boolean): Promise<number> {
  const capability = readName(word ?? '', 'The capability');
  return withClient(async ({ instance }) => {
    const { agents } = instance.ports;
    await agents.setPaused(capability, paused);
    instance.emitter.emit(paused ? 'queue.paused' : 'queue.resumed', { capability });
    const offered = (await agents.all()).filter((agent) => agent.capabilities.some(({ name }) => name === capability));
    if (offered.length === 0) output.note(`No agent offers '${capability}'; it holds for those that will.`);
    output.answer({ capability, paused }, () =>
      paused ? `'${capability}' is paused: what runs goes on, nothing new begins` : `'${capability}' goes on`,
    );
    return EXITS.ok.code;
  });
}
