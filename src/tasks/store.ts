// TaskStore on Redis: hops 1, 2, 5 and 7 of a task's road. One method per script; the scripts are beside this file.
import type { Redis } from 'ioredis';
import { batched } from '../batch.js';
import type { TaskOutcome } from '../contracts/task.js';
import { validateAddition } from '../decide/dag.js';
import { cancelError } from '../decide/task-machine.js';
import type {
  Cancel,
  CancelAnswer,
  ClaimAnswer,
  ClaimRequest,
  NewRun,
  NewTask,
  ReadyTask,
  SettleAnswer,
  Settlement,
  StoreNotice,
  SubmitAnswer,
  SubmitContext,
  SubmitRunAnswer,
  TaskStore,
} from '../ports.js';
import type { Keys } from '../redis/keys.js';
import { type Argument, loadScript, type Reply, runScript } from '../redis/script.js';
import { CHUNK_TASKS, chunkRun, optionalFields } from './chunks.js';
import { TaskQueries } from './queries.js';
import { claimAnswer, endedTasks, readyTask, readyTasks, rootOf, settleAnswer } from './replies.js';

const script = (name: string) => loadScript(__dirname, name, ['common']);
const scripts = {
  submit: script('submit'),
  submitRun: script('submit-run'),
  claim: script('claim'),
  settle: script('settle'),
  cancel: script('cancel'),
  approve: script('approve'),
  progress: script('progress'),
  release: script('release'),
  dispatched: script('dispatched'),
  due: script('due'),
  rescue: script('rescue'),
  expire: script('expire'),
  watch: script('watch'),
};

/** Chunks of a run under way at once. */
const CHUNKS_AT_ONCE = 4;
/** Dependents told in one call of release. */
const RELEASE_TASKS = 250;
/** Items of one script call: large enough to amortise the call, small enough to stay far below 50 ms. */
const BATCH = 100;

export interface TaskStoreOptions {
  /** How long finished runs are kept, ms. Default 24 h. */
  readonly retentionMs?: number;
  /** Tests only: the time scripts see, ms, instead of Redis TIME. */
  readonly now?: () => number;
}

export class RedisTaskStore extends TaskQueries implements TaskStore {
  readonly submit: TaskStore['submit'];
  readonly claim: TaskStore['claim'];
  readonly settle: TaskStore['settle'];
  readonly #subscriber: Redis;
  readonly #retention: number;
  readonly #now: (() => number) | undefined;
  readonly #listeners = new Map<string, Set<(notice: StoreNotice) => void>>();

  /** `redis` runs commands, `subscriber` is a second connection in subscribe mode. */
  constructor(redis: Redis, subscriber: Redis, keys: Keys, options: TaskStoreOptions = {}) {
    super(redis, keys);
    this.#subscriber = subscriber;
    this.#retention = options.retentionMs ?? 86_400_000;
    this.#now = options.now;
    const submit = batched<{ task: NewTask; context: SubmitContext; digest: string }, SubmitAnswer>(BATCH, (items) =>
      this.#submitBatch(items),
    );
    this.submit = (task, context, digest) => submit({ task, context, digest });
    this.claim = batched<ClaimRequest, ClaimAnswer>(BATCH, (items) => this.#claimBatch(items));
    this.settle = batched<Settlement, SettleAnswer>(BATCH, (items) => this.#settleBatch(items));
    subscriber.on('message', (channel: string, text: string) => {
      const listeners = this.#listeners.get(channel);
      if (listeners === undefined) return;
      for (const said of JSON.parse(text) as (StoreNotice | TaskOutcome)[]) {
        // An outcome is published as it is stored; what else is told names its kind.
        const notice: StoreNotice = 'kind' in said ? (said as StoreNotice) : { kind: 'ended', ...said };
        for (const listener of listeners) listener(notice);
      }
    });
  }

  #run(name: keyof typeof scripts, args: readonly Argument[]): Promise<Reply> {
    const now = this.#now === undefined ? '' : String(this.#now());
    return runScript(this.redis, scripts[name], [this.keys.prefix, now, this.#retention, ...args]);
  }

  async #submitBatch(
    items: readonly { task: NewTask; context: SubmitContext; digest: string }[],
  ): Promise<SubmitAnswer[]> {
    const args: Argument[] = [];
    for (const { task, context, digest } of items) {
      args.push(task.id, task.capability, task.priority, task.maxAttempts, task.body);
      args.push(...optionalFields(task), task.requiresApproval ? 1 : '');
      args.push(
        context.owner,
        context.traceparent,
        context.root === rootOf(task.id) ? '' : context.root,
        context.hops,
        digest,
      );
    }
    const replies = (await this.#run('submit', args)) as Reply[][];
    return replies.map((reply, i) => {
      if (reply[0] !== 'accepted') return { outcome: reply[0] as 'duplicate' | 'conflict' };
      if (reply[1] === 0) return { outcome: 'accepted' };
      const { task, context } = items[i]!;
      return { outcome: 'accepted', ready: describe(task, context) };
    });
  }

  async submitRun(run: NewRun, context: SubmitContext): Promise<SubmitRunAnswer> {
    if (run.append) validateAddition(run.tasks);
    const chunks = chunkRun(run.tasks);
    const root = context.root === run.run ? '' : context.root;
    const send = async (i: number): Promise<Reply[]> => {
      const mode = run.append ? 'append' : i === 0 ? 'new' : 'more';
      const last = i === chunks.length - 1 ? 1 : 0;
      const head = [run.run, mode, last, run.tasks.length, run.digest, context.owner, context.traceparent, root];
      const args = [...head, context.hops, JSON.stringify(run.labels)];
      return (await this.#run('submitRun', args.concat(chunks[i]! as string[]))) as Reply[];
    };
    // The first chunk says whether the run is ours to write; the others follow each other closely.
    let answer = await send(0);
    for (let from = 1; from < chunks.length && answer[0] === 'accepted'; from += CHUNKS_AT_ONCE) {
      const some = chunks.slice(from, from + CHUNKS_AT_ONCE).map((_, n) => send(from + n));
      const answers = await Promise.all(some);
      answer = answers.find((each) => each[0] !== 'accepted') ?? answers[answers.length - 1]!;
    }
    switch (answer[0]) {
      case 'accepted': {
        const ready = readyTasks(answer[1]!);
        let more = answer[3] === 1;
        if (more && run.leaveRest === true) return { outcome: 'accepted', ready, more };
        while (more) {
          const released = await this.release(RELEASE_TASKS);
          ready.push(...released.ready);
          more = released.more;
        }
        return { outcome: 'accepted', ready };
      }
      case 'task_exists':
        return { outcome: 'task_exists', key: answer[1] as string };
      case 'unknown_dependency':
        return { outcome: 'unknown_dependency', task: answer[1] as string, dependency: answer[2] as string };
      default:
        return { outcome: answer[0] as 'duplicate' | 'conflict' | 'busy' | 'no_run' };
    }
  }

  async #claimBatch(items: readonly ClaimRequest[]): Promise<ClaimAnswer[]> {
    const args: Argument[] = [];
    for (const item of items) args.push(item.id, item.holder, item.redelivered ? 1 : 0);
    const replies = (await this.#run('claim', args)) as Reply[];
    return replies.map((reply, i) => claimAnswer(items[i]!.id, reply));
  }

  async #settleBatch(items: readonly Settlement[]): Promise<SettleAnswer[]> {
    const args: Argument[] = [];
    for (const { id, token, holder, verdict, takeNext } of items) {
      args.push(id, token, holder, verdict.do);
      args.push(verdict.do === 'complete' ? verdict.output : '');
      args.push(verdict.do === 'retry' ? Math.round(verdict.afterMs) : verdict.do === 'die' ? verdict.reason : '');
      args.push(verdict.do === 'retry' || verdict.do === 'die' ? JSON.stringify(verdict.error) : '');
      args.push(takeNext === undefined || takeNext.length === 0 ? '' : `,${takeNext.join(',')},`);
    }
    return ((await this.#run('settle', args)) as Reply[]).map(settleAnswer);
  }

  async progress(id: string, token: number, fraction: number, note: string | undefined): Promise<boolean> {
    return (await this.#run('progress', [id, token, fraction, note ?? ''])) === 1;
  }

  async cancel(id: string, how: Parameters<TaskStore['cancel']>[1]): Promise<CancelAnswer> {
    const error = JSON.stringify(cancelError(id, how));
    const r = (await this.#run('cancel', [id, how.state, how.reason, error])) as Reply[];
    const nothing: SettleAnswer = { outcome: 'settled', ready: [], ended: [], more: false };
    if (r[0] === 'unknown') return { outcome: 'unknown', state: '', released: { ...nothing, outcome: 'unknown' } };
    return {
      outcome: r[0] as 'cancelled' | 'already_final',
      state: r[1] as string,
      ...(r[2] === '' ? {} : { holder: r[2] as string }),
      capability: r[3] as string,
      released: { outcome: 'settled', ready: readyTasks(r[4]!), ended: endedTasks(r[5]!), more: r[6] === 1 },
    };
  }

  async approve(id: string): ReturnType<TaskStore['approve']> {
    const r = (await this.#run('approve', [id])) as Reply[];
    return { outcome: r[0] as 'approved' | 'not_waiting' | 'unknown', ready: readyTasks(r[1]!) };
  }

  async dispatched(tasks: Parameters<TaskStore['dispatched']>[0], recheckMs: number): Promise<void> {
    for (let from = 0; from < tasks.length; from += CHUNK_TASKS) {
      const args: Argument[] = [recheckMs];
      for (const task of tasks.slice(from, from + CHUNK_TASKS)) args.push(task.priority, task.id);
      await this.#run('dispatched', args);
    }
  }

  async due(limit: number): ReturnType<TaskStore['due']> {
    const replies = (await this.#run('due', [limit])) as Reply[][];
    return replies.map((reply) => ({ task: readyTask(reply[0]!), confirmed: reply[1] === 1 }));
  }

  async release(limit: number): Promise<SettleAnswer> {
    const r = (await this.#run('release', [limit])) as Reply[];
    return { outcome: 'settled', ready: readyTasks(r[0]!), ended: endedTasks(r[1]!), more: r[2] === 1 };
  }

  async rescue(holder: string, maxLost: number, limit: number): ReturnType<TaskStore['rescue']> {
    const r = (await this.#run('rescue', [holder, maxLost, limit])) as Reply[];
    return { rescued: readyTasks(r[0]!), ended: endedTasks(r[1]!), more: r[2] === 1 };
  }

  async expire(limit: number): Promise<number> {
    return (await this.#run('expire', [limit])) as number;
  }

  protected override async storeTime(): Promise<number> {
    return this.#now === undefined ? super.storeTime() : this.#now();
  }

  async watch(id: string, watcher: string): ReturnType<TaskStore['watch']> {
    const r = (await this.#run('watch', [id, watcher])) as string[];
    if (r[0] === 'final') return JSON.parse(r[1]!);
    if (r[0] === 'run') return { run: id, status: r[1] as 'completed' | 'failed' };
    return r[0] as 'pending' | 'unknown';
  }

  async onNotice(instance: string, listener: (notice: StoreNotice) => void): Promise<Cancel> {
    const channel = this.keys.instanceChannel(instance);
    const listeners = this.#listeners.get(channel) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(channel, listeners);
    await this.#subscriber.subscribe(channel);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0) return;
      this.#listeners.delete(channel);
      // A connection that is already gone has nothing to unsubscribe.
      this.#subscriber.unsubscribe(channel).catch(() => undefined);
    };
  }
}

function describe(task: NewTask, context: SubmitContext): ReadyTask {
  return {
    id: task.id,
    capability: task.capability,
    priority: task.priority,
    attempt: 1,
    body: task.body,
    traceparent: context.traceparent,
    root: context.root,
    hops: context.hops,
    ...(task.assignedTo === undefined ? {} : { assignedTo: task.assignedTo }),
    ...(task.leastConnections === true ? { leastConnections: true } : {}),
  };
}
