// The reading half of TaskStore on Redis: what a task, a run and the ready sets look like now. Never changes anything.
import type { Redis } from 'ioredis';
import { joinTaskId, splitTaskId } from '../contracts/names.js';
import { PRIORITIES, type PriorityClass } from '../contracts/priority.js';
import type { FailureRule, Run, Task, TaskOutcome, TaskState } from '../contracts/task.js';
import type { Overdue, TaskFilter, TaskStore } from '../ports.js';
import type { Keys } from '../redis/keys.js';

const CLASSES = [0, 1, 2, 3] as const;
const RULES: Record<string, FailureRule> = { f: 'fail', s: 'skip', c: 'continue' };
/** How many stored tasks `list` looks through at most when no index answers the question. */
const SCAN_LIMIT = 20_000;

const iso = (ms: string | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(Number(ms)).toISOString();

export class TaskQueries {
  protected readonly redis: Redis;
  protected readonly keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.redis = redis;
    this.keys = keys;
  }

  async find(id: string): Promise<Task | undefined> {
    return (await this.#load([id]))[0];
  }

  async body(id: string): Promise<string | undefined> {
    return (await this.redis.get(this.keys.body(id))) ?? undefined;
  }

  async token(id: string, holder: string): Promise<number | undefined> {
    const [state, by, token] = await this.redis.hmget(this.keys.task(id), 's', 'h', 'k');
    return state === 'running' && by === holder ? Number(token) : undefined;
  }

  async findRun(id: string): Promise<Run | undefined> {
    const r = await this.redis.hgetall(this.keys.run(id));
    if (r.s !== undefined) {
      const finished = iso(r.t3);
      return {
        id,
        status: r.s as Run['status'],
        total: Number(r.n),
        done: Number(r.done),
        failed: Number(r.bad),
        labels: JSON.parse(r.lb ?? '{}'),
        submitted_at: iso(r.t0)!,
        ...(finished === undefined ? {} : { finished_at: finished }),
      };
    }
    const task = await this.find(id);
    if (task === undefined) return undefined;
    const final = task.finished_at !== undefined;
    return {
      id,
      status: !final ? 'running' : task.status === 'completed' ? 'completed' : 'failed',
      total: 1,
      done: final ? 1 : 0,
      failed: final && task.status !== 'completed' ? 1 : 0,
      labels: {},
      submitted_at: task.submitted_at,
      ...(task.finished_at === undefined ? {} : { finished_at: task.finished_at }),
    };
  }

  async runTasks(run: string): Promise<readonly string[]> {
    const members = await this.redis.lrange(this.keys.members(run), 0, -1);
    if (members.length > 0) return members.map((key) => joinTaskId(run, key));
    return (await this.redis.exists(this.keys.task(run))) === 1 ? [run] : [];
  }

  async list(filter: TaskFilter): Promise<readonly Task[]> {
    const wanted = (task: Task): boolean =>
      (filter.states === undefined || filter.states.includes(task.status)) &&
      (filter.capability === undefined || task.capability === filter.capability);
    const found: Task[] = [];
    let seen = 0;
    for await (const ids of this.#candidates(filter)) {
      for (const task of await this.#load(ids)) if (wanted(task) && found.length < filter.limit) found.push(task);
      seen += ids.length;
      if (found.length >= filter.limit || seen >= SCAN_LIMIT) break;
    }
    return found;
  }

  async *#candidates(filter: TaskFilter): AsyncGenerator<string[]> {
    if (filter.run !== undefined) {
      const all = await this.runTasks(filter.run);
      for (let i = 0; i < all.length; i += 200) yield all.slice(i, i + 200);
      return;
    }
    const states = new Set(filter.states ?? []);
    const only = (...names: string[]) => states.size > 0 && [...states].every((state) => names.includes(state));
    if (only('ready', 'dispatched')) {
      for (const priority of CLASSES)
        yield await this.redis.zrange(this.keys.ready(priority), 0, String(filter.limit * 4));
    } else if (only('running')) {
      for (const instance of await this.redis.zrange(this.keys.instances, 0, '-1'))
        yield await this.redis.smembers(this.keys.held(instance));
    } else if (only('scheduled', 'retrying')) {
      yield await this.redis.zrange(this.keys.timers, 0, String(filter.limit * 4));
    } else {
      for (let from = 0; ; from += 100) {
        const runs = await this.redis.zrevrange(this.keys.runs, from, String(from + 99));
        if (runs.length === 0) return;
        for (const run of runs) yield [...(await this.runTasks(run))];
      }
    }
  }

  async readyTasks(limit: number): ReturnType<TaskStore['readyTasks']> {
    const found: { id: string; capability: string; priority: PriorityClass; dispatched: boolean }[] = [];
    for (const priority of CLASSES) {
      const entries = await this.redis.zrange(
        this.keys.ready(priority),
        0,
        String(limit - found.length - 1),
        'WITHSCORES',
      );
      const pipeline = this.redis.pipeline();
      for (let i = 0; i < entries.length; i += 2) pipeline.hget(this.keys.task(entries[i]!), 'c');
      const capabilities = (await pipeline.exec()) ?? [];
      for (let i = 0; i < entries.length; i += 2) {
        const capability = capabilities[i / 2]?.[1] as string | null;
        if (capability !== null)
          found.push({ id: entries[i]!, capability, priority, dispatched: Number(entries[i + 1]) % 1 > 0 });
      }
      if (found.length >= limit) break;
    }
    return found;
  }

  async dependencies(id: string): Promise<Readonly<Record<string, TaskOutcome>>> {
    const { run } = splitTaskId(id);
    const keys = (await this.redis.lrange(this.keys.after(id), 0, -1)).map((entry) => entry.slice(2));
    // A null prototype: a dependency named 'constructor' is only a key.
    const found: Record<string, TaskOutcome> = Object.create(null);
    for (let from = 0; from < keys.length; from += 1000) {
      const slice = keys.slice(from, from + 1000);
      const outcomes = await this.redis.mget(...slice.map((key) => this.keys.outcome(joinTaskId(run, key))));
      outcomes.forEach((text, i) => {
        if (text !== null) found[slice[i]!] = JSON.parse(text);
      });
    }
    return found;
  }

  async counts(): ReturnType<TaskStore['counts']> {
    const ready = await Promise.all(CLASSES.map((priority) => this.redis.zcard(this.keys.ready(priority))));
    const instances = await this.redis.zrange(this.keys.instances, 0, '-1');
    const held = await Promise.all(instances.map((instance) => this.redis.scard(this.keys.held(instance))));
    return {
      ready: ready as [number, number, number, number],
      timers: await this.redis.zcard(this.keys.timers),
      running: held.reduce((sum, n) => sum + n, 0),
    };
  }

  async overdue(graceMs: number, limit: number): Promise<readonly Overdue[]> {
    const now = await this.storeTime();
    const entries = await this.redis.zrangebyscore(
      this.keys.deadlines,
      '-inf',
      String(now),
      'WITHSCORES',
      'LIMIT',
      0,
      limit,
    );
    const found: Overdue[] = [];
    for (let i = 0; i < entries.length; i += 2) {
      const id = entries[i]!;
      const [t, body] = await Promise.all([this.redis.hgetall(this.keys.task(id)), this.redis.get(this.keys.body(id))]);
      if (t.s === undefined || ['completed', 'dead', 'cancelled'].includes(t.s)) {
        await this.redis.zrem(this.keys.deadlines, id);
        continue;
      }
      const cause = t.d !== undefined && Number(t.d) <= now ? 'deadline' : 'timeout';
      // The agent stops an attempt at its timeout by itself; only one that did not is our business.
      if (cause === 'timeout' && Number(entries[i + 1]) + graceMs > now) continue;
      found.push({
        id,
        cause,
        capability: t.c!,
        token: Number(t.k ?? 0),
        holder: t.h ?? '',
        attempt: Number(t.a ?? 0),
        failedAttempts: Number(t.f ?? 0),
        maxAttempts: Number(t.m),
        timeoutMs: Number(t.n ?? 0),
        body: body ?? '{}',
      });
    }
    return found;
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
    const replies = ((await pipeline.exec()) ?? []).map(([error, value]) => {
      if (error !== null) throw error;
      return value;
    });
    const found: Task[] = [];
    ids.forEach((id, n) => {
      const [t, body, outcome, open, after, due, ...ready] = replies.slice(n * 10, n * 10 + 10) as [
        Record<string, string>,
        string | null,
        string | null,
        string[],
        string[],
        string | null,
        ...(string | null)[],
      ];
      if (t.s !== undefined)
        found.push(
          toTask(
            id,
            t,
            body,
            outcome,
            open,
            after,
            due,
            ready.find((score) => score !== null),
          ),
        );
    });
    return found;
  }
}

function toTask(
  id: string,
  t: Record<string, string>,
  body: string | null,
  outcome: string | null,
  open: readonly string[],
  after: readonly string[],
  due: string | null,
  readyScore: string | null | undefined,
): Task {
  const ended = outcome === null ? undefined : (JSON.parse(outcome) as TaskOutcome);
  const message = body === null ? {} : (JSON.parse(body) as { parameters?: Task['parameters'] });
  // A completed task shows no error, though an earlier attempt may have failed.
  const error = ended === undefined ? t.er && JSON.parse(t.er) : ended.error;
  const dispatched = t.s === 'ready' && readyScore !== undefined && readyScore !== null && Number(readyScore) % 1 > 0;
  const known = {
    reason: t.r === '' ? undefined : t.r,
    assigned_to: t.to,
    agent: t.h,
    parameters: message.parameters,
    progress: t.pf === undefined ? undefined : { fraction: Number(t.pf), ...(t.pn ? { note: t.pn } : {}) },
    result: ended?.output,
    error,
    ready_at: iso(t.t1),
    started_at: iso(t.t2),
    finished_at: iso(t.t3),
    due_at: iso(due ?? undefined),
    deadline_at: iso(t.d),
    traceparent: t.tp,
  };
  return {
    id,
    ...splitTaskId(id),
    capability: t.c!,
    priority: PRIORITIES[Number(t.p) as PriorityClass],
    status: (dispatched ? 'dispatched' : t.s) as TaskState,
    attempt: Number(t.a ?? 0),
    max_attempts: Number(t.m),
    failed_attempts: Number(t.f ?? 0),
    lost_attempts: Number(t.l ?? 0),
    waiting_for: [...open].sort(),
    after: after.map((entry) => ({ task: entry.slice(2), on_failure: RULES[entry[0]!]! })),
    submitted_at: iso(t.t0)!,
    ...(Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)) as Partial<Task>),
  };
}
