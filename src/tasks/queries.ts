// The reading half of TaskStore on Redis: what a task, a run and the ready sets look like now. Never changes anything.
import type { ChainableCommander, Redis } from 'ioredis';
import { joinTaskId, splitTaskId } from '../contracts/names.js';
import type { PriorityClass } from '../contracts/priority.js';
import type { Run, Task, TaskOutcome } from '../contracts/task.js';
import { MusterError, StoreUnavailable } from '../errors.js';
import type { Overdue, TaskFilter, TaskStore } from '../ports.js';
import type { Keys } from '../redis/keys.js';
import { type Hash, isAlone, isConfirmed, runOfOne, toOverdue, toRun, toTask } from './records.js';

const CLASSES = [0, 1, 2, 3] as const;
/** How many stored tasks `list` looks through at most when no index answers the question. */
const SCAN_LIMIT = 20_000;
/** Read together: tasks, or entries of an index. */
const PAGE = 200;

export class TaskQueries {
  protected readonly redis: Redis;
  protected readonly keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.redis = redis;
    this.keys = keys;
  }

  find(id: string): Promise<Task | undefined> {
    return asked('find', async () => (await this.#load([id]))[0]);
  }

  body(id: string): Promise<string | undefined> {
    return asked('body', async () => (await this.redis.get(this.keys.body(id))) ?? undefined);
  }

  held(holder: string): Promise<readonly string[]> {
    return asked('held', () => this.redis.smembers(this.keys.held(holder)));
  }

  token(id: string, holder: string): Promise<number | undefined> {
    return asked('token', async () => {
      const [state, by, token] = await this.redis.hmget(this.keys.task(id), 's', 'h', 'k');
      return state === 'running' && by === holder ? Number(token) : undefined;
    });
  }

  findRun(id: string): Promise<Run | undefined> {
    return asked('findRun', async () => {
      const hash = await this.redis.hgetall(this.keys.run(id));
      if (hash.s !== undefined) return toRun(id, hash);
      const task = await this.find(id);
      return task === undefined ? undefined : runOfOne(task);
    });
  }

  runTasks(run: string): Promise<readonly string[]> {
    return asked('runTasks', async () => {
      const members = await this.redis.lrange(this.keys.members(run), 0, -1);
      if (members.length > 0) return members.map((key) => joinTaskId(run, key));
      return (await this.redis.exists(this.keys.task(run))) === 1 ? [run] : [];
    });
  }

  list(filter: TaskFilter): Promise<readonly Task[]> {
    return asked('list', async () => {
      const found: Task[] = [];
      let seen = 0;
      for await (const ids of this.#candidates(filter)) {
        for (const task of await this.#load(ids)) if (isWanted(task, filter)) found.push(task);
        seen += ids.length;
        if (found.length >= filter.limit || seen >= SCAN_LIMIT) break;
      }
      return found.slice(0, filter.limit);
    });
  }

  /** Ids in pages, from the smallest index that holds all that is asked for. */
  async *#candidates(filter: TaskFilter): AsyncGenerator<readonly string[]> {
    const states = filter.states ?? [];
    const only = (...names: string[]) => states.length > 0 && states.every((state) => names.includes(state));
    if (filter.run !== undefined) {
      yield* pages(await this.runTasks(filter.run));
    } else if (only('ready', 'dispatched')) {
      for (const priority of CLASSES) yield* this.#pagesOf(this.keys.ready(priority));
    } else if (only('running')) {
      for (const instance of await this.redis.zrange(this.keys.instances, 0, '-1')) {
        yield* pages(await this.redis.smembers(this.keys.held(instance)));
      }
    } else if (only('scheduled', 'retrying')) {
      yield* this.#pagesOf(this.keys.timers);
    } else {
      for await (const runs of this.#pagesOf(this.keys.runs, 'newest first')) {
        for (const run of runs) yield* pages(await this.runTasks(run));
      }
    }
  }

  async *#pagesOf(index: string, order?: 'newest first'): AsyncGenerator<readonly string[]> {
    for (let from = 0; ; from += PAGE) {
      const until = String(from + PAGE - 1);
      const ids = order ? await this.redis.zrevrange(index, from, until) : await this.redis.zrange(index, from, until);
      if (ids.length > 0) yield ids;
      if (ids.length < PAGE) return;
    }
  }

  readyTasks(limit: number): ReturnType<TaskStore['readyTasks']> {
    return asked('readyTasks', async () => {
      const found: { id: string; capability: string; priority: PriorityClass; dispatched: boolean }[] = [];
      for (const priority of CLASSES) {
        if (found.length >= limit) break;
        const until = String(limit - found.length - 1);
        const entries = await this.redis.zrange(this.keys.ready(priority), 0, until, 'WITHSCORES');
        const ids = entries.filter((_, i) => i % 2 === 0);
        const pipeline = this.redis.pipeline();
        for (const id of ids) pipeline.hget(this.keys.task(id), 'c');
        const capabilities = (await replies(pipeline)) as (string | null)[];
        ids.forEach((id, i) => {
          const capability = capabilities[i];
          // Claimed and forgotten between the two reads.
          if (typeof capability !== 'string') return;
          found.push({ id, capability, priority, dispatched: isConfirmed(entries[2 * i + 1]) });
        });
      }
      return found;
    });
  }

  dependencies(id: string): Promise<Readonly<Record<string, TaskOutcome>>> {
    return asked('dependencies', async () => {
      const { run } = splitTaskId(id);
      const keys = (await this.redis.lrange(this.keys.after(id), 0, -1)).map((entry) => entry.slice(2));
      // A null prototype: a dependency named 'constructor' is only a key.
      const found: Record<string, TaskOutcome> = Object.create(null);
      for (const page of pages(keys)) {
        const outcomes = await this.redis.mget(...page.map((key) => this.keys.outcome(joinTaskId(run, key))));
        outcomes.forEach((text, i) => {
          if (text !== null) found[page[i]!] = JSON.parse(text);
        });
      }
      return found;
    });
  }

  counts(): ReturnType<TaskStore['counts']> {
    return asked('counts', async () => {
      const instances = await this.redis.zrange(this.keys.instances, 0, '-1');
      const pipeline = this.redis.pipeline().zcard(this.keys.timers);
      for (const priority of CLASSES) pipeline.zcard(this.keys.ready(priority));
      for (const instance of instances) pipeline.scard(this.keys.held(instance));
      const [timers, p0, p1, p2, p3, ...held] = (await replies(pipeline)) as number[];
      return { ready: [p0!, p1!, p2!, p3!], timers: timers!, running: held.reduce((sum, count) => sum + count, 0) };
    });
  }

  overdue(graceMs: number, limit: number): Promise<readonly Overdue[]> {
    return asked('overdue', async () => {
      const now = await this.storeTime();
      const found: Overdue[] = [];
      for (let from = 0; found.length < limit; from += PAGE) {
        const { deadlines } = this.keys;
        const entries = await this.redis.zrangebyscore(deadlines, '-inf', now, 'WITHSCORES', 'LIMIT', from, PAGE);
        const ids = entries.filter((_, i) => i % 2 === 0);
        const pipeline = this.redis.pipeline();
        for (const id of ids) {
          pipeline
            .hgetall(this.keys.task(id))
            .get(this.keys.body(id))
            .hget(this.keys.run(splitTaskId(id).run), 's');
        }
        const stored = await replies(pipeline);
        ids.forEach((id, i) => {
          const [hash, body, run] = stored.slice(i * 3, i * 3 + 3) as [Hash, string | null, string | null];
          const overdue = toOverdue(id, hash, body, Number(entries[2 * i + 1]), now, graceMs);
          // A task of a run that is not submitted whole is not accepted yet, and cannot be ended.
          if (overdue !== undefined && (run !== 'open' || isAlone(id, hash))) found.push(overdue);
        });
        if (ids.length < PAGE) break;
      }
      return found.slice(0, limit);
    });
  }

  protected async storeTime(): Promise<number> {
    const [seconds, micros] = await this.redis.time();
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  async #load(ids: readonly string[]): Promise<Task[]> {
    const pipeline = this.redis.pipeline();
    for (const id of ids) {
      pipeline.hgetall(this.keys.task(id)).get(this.keys.body(id)).get(this.keys.outcome(id));
      pipeline.srandmember(this.keys.open(id), 100).lrange(this.keys.after(id), 0, 999).zscore(this.keys.timers, id);
      for (const priority of CLASSES) pipeline.zscore(this.keys.ready(priority), id);
    }
    const stored = await replies(pipeline);
    return ids.flatMap((id, n) => {
      const [hash, body, outcome, open, after, dueAt, ...ready] = stored.slice(n * 10, n * 10 + 10) as [
        ...[Hash, string | null, string | null, string[], string[], string | null],
        ...(string | null)[],
      ];
      if (hash.s === undefined) return [];
      const dispatchAt = ready.find((score) => score !== null) ?? undefined;
      return [toTask(id, { hash, body, outcome, open, after, dueAt, dispatchAt })];
    });
  }
}

/** A question that Redis cannot answer now rejects as the port says. */
async function asked<T>(what: string, question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (error) {
    if (error instanceof MusterError) throw error;
    throw StoreUnavailable(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

async function replies(pipeline: ChainableCommander): Promise<unknown[]> {
  return ((await pipeline.exec()) ?? []).map(([error, reply]) => {
    if (error !== null) throw error;
    return reply;
  });
}

function isWanted(task: Task, { states, capability }: TaskFilter): boolean {
  return (
    (states === undefined || states.includes(task.status)) &&
    (capability === undefined || task.capability === capability)
  );
}

function* pages(ids: readonly string[]): Generator<readonly string[]> {
  for (let from = 0; from < ids.length; from += PAGE) yield ids.slice(from, from + PAGE);
}
