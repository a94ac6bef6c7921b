// What `task why` is judged from (decide/why.ts), read from the store in one go; the broker is only asked where it matters.
import { isFinal, type Task } from '../contracts/task.js';
import { why } from '../decide/why.js';
import type { Relative, Why, WhySnapshot } from '../decide/why-snapshot.js';
import { checkBroker, liveConfig, type Stores } from './session.js';

/** Ready tasks looked through for those ahead; with more, the answer says "at least". */
const LOOK_AHEAD = 20_000;
const MOST_RELATIVES = 100;
/** A chain of failures longer than this is not followed to its beginning. */
const MOST_HOPS = 1000;

/** The answer for a task. For a run of several: for the task of it that says most. */
export async function explain(stores: Stores, id: string): Promise<Why> {
  const run = await stores.tasks.findRun(id.split('.', 1)[0]!);
  const task = run?.status === 'open' ? undefined : await stores.tasks.find(id);
  if (task === undefined && run !== undefined && run.status !== 'open' && !id.includes('.')) {
    const telling = mostTelling(await stores.tasks.list({ run: id, limit: 1000 }));
    if (telling !== undefined) return why(await gather(stores, telling.id, telling));
  }
  if (task !== undefined) return why(await gather(stores, id, task));
  return why({ ...(await surroundings(stores)), id, open: run?.status === 'open', dependencies: [], ...NOBODY_AHEAD });
}

const NOBODY_AHEAD = { ahead: { byClass: [0, 0, 0, 0], atLeast: false }, paused: false, broker: 'ready' } as const;

/** What a run waits for: its first task that is under way or in trouble; of an ended one, where its failure began. */
const TELLING = ['ready', 'dispatched', 'retrying', 'running', 'scheduled', 'blocked'] as const;
function mostTelling(tasks: readonly Task[]): Task | undefined {
  for (const state of TELLING) {
    const found = tasks.find((task) => task.status === state);
    if (found !== undefined) return found;
  }
  const fell = tasks.find((task) => task.status !== 'completed' && task.reason?.startsWith('dependency_') !== true);
  return fell ?? tasks.at(-1);
}

type Surroundings = Pick<WhySnapshot, 'nowMs' | 'agents' | 'managers' | 'leaseMs' | 'heartbeatMs'>;

async function surroundings({ agents, config, now }: Stores): Promise<Surroundings> {
  const [nowMs, records, managers] = await Promise.all([now(), agents.all(), agents.managers()]);
  const { MUSTER_LEASE_MS: leaseMs, MUSTER_HEARTBEAT_MS: heartbeatMs } = config;
  return { nowMs, agents: records, managers: managers.length, leaseMs, heartbeatMs };
}

async function gather(stores: Stores, id: string, task: Task): Promise<WhySnapshot> {
  const waiting = task.status === 'ready' || task.status === 'dispatched';
  const [around, paused, ahead, broker, dependencies, origin] = await Promise.all([
    surroundings(stores),
    stores.agents.paused(),
    waiting ? aheadOf(stores, task) : NOBODY_AHEAD.ahead,
    waiting ? brokerState() : ('ready' as const),
    relatives(stores, task),
    task.reason?.startsWith('dependency_') === true ? originOf(stores, task) : undefined,
  ]);
  return {
    ...around,
    id,
    task,
    paused: paused.includes(task.capability),
    ahead,
    broker,
    dependencies,
    ...(origin === undefined ? {} : { origin }),
  };
}

async function brokerState(): Promise<WhySnapshot['broker']> {
  try {
    await checkBroker(liveConfig().AMQP_URL);
    return 'ready';
  } catch {
    return 'unreachable';
  }
}

/** The outbox is in order of dispatch within a class, the confirmed after the unconfirmed although those are younger. */
async function aheadOf({ tasks }: Stores, task: Task): Promise<WhySnapshot['ahead']> {
  const ready = await tasks.readyTasks(LOOK_AHEAD);
  const byClass: [number, number, number, number] = [0, 0, 0, 0];
  const own = Number(task.priority.slice(1));
  const confirmed = task.status === 'dispatched';
  let passed = false;
  for (const other of ready) {
    if (other.id === task.id) passed = true;
    if (other.capability !== task.capability || other.id === task.id || other.priority > own) continue;
    const first = other.priority < own || (confirmed ? other.dispatched && !passed : other.dispatched || !passed);
    if (first) byClass[other.priority] += 1;
  }
  return { byClass, atLeast: ready.length >= LOOK_AHEAD };
}

async function relatives(stores: Stores, task: Task): Promise<Relative[]> {
  const keys = task.waiting_for.filter((key) => !key.startsWith('#'));
  const wanted = keys.length > 0 ? keys : isFinal(task.status) ? task.after.map((edge) => edge.task) : [];
  const found = await load(stores, task.run, wanted);
  return found.map(relative).sort((a, b) => Number(a.status === 'completed') - Number(b.status === 'completed'));
}

async function originOf(stores: Stores, task: Task): Promise<Relative | undefined> {
  let at = task;
  for (let hop = 0; hop < MOST_HOPS; hop++) {
    const fallen = (
      await load(
        stores,
        at.run,
        at.after.map((edge) => edge.task),
      )
    ).filter(({ status }) => status === 'dead' || status === 'cancelled');
    const next = fallen.find(({ reason }) => reason?.startsWith('dependency_') !== true) ?? fallen[0];
    if (next === undefined) break;
    at = next;
  }
  return at.id === task.id ? undefined : relative(at);
}

async function load({ tasks }: Stores, run: string, keys: readonly string[]): Promise<Task[]> {
  const found = await Promise.all(keys.slice(0, MOST_RELATIVES).map((key) => tasks.find(`${run}.${key}`)));
  return found.filter((task) => task !== undefined);
}

function relative({ id, status, reason, error }: Task): Relative {
  return {
    id,
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(error === undefined ? {} : { error: error.message }),
  };
}
