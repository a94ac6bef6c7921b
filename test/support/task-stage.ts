// What task store tests are made of: tasks and runs in a word, agents that claim and settle, and the notices everyone hears.
// A stage is one store, fresh per test, on memory or live.
import type { FailureRule } from '../../src/contracts/task.js';
import type {
  Grant,
  NewTask,
  SettleAnswer,
  StoreNotice,
  SubmitAnswer,
  SubmitContext,
  SubmitRunAnswer,
  TaskStore,
  Verdict,
} from '../../src/ports.js';
import { eventually } from './eventually.js';

export interface TaskStoreWorld {
  readonly store: TaskStore;
  /** Another process over the same tasks. */
  another(): Promise<TaskStore>;
  now(): number;
  /** Moves the store's time. */
  pass(ms: number): void;
  /** The registry knows this instance: what it runs is counted and listed. */
  register(instance: string): Promise<void>;
  /** Everything stored, by name. */
  stored(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export const RETENTION = 3_600_000;
export const ERROR = { code: 'HANDLER_FAILED', message: 'it broke' };
export const COMPLETE: Verdict = { do: 'complete', output: '{"ok":true}' };
export const DIE: Verdict = { do: 'die', reason: 'attempts_exhausted', error: ERROR };
export const CANCEL = { state: 'cancelled', reason: 'cancelled_by_request' } as const;
export const retry = (afterMs: number): Verdict => ({ do: 'retry', afterMs, error: ERROR });

export function aTask(id: string, over: Partial<NewTask> = {}): NewTask {
  return {
    id,
    capability: 'build',
    priority: 2,
    body: JSON.stringify({ id, parameters: { n: 1 } }),
    maxAttempts: 3,
    dependencies: [],
    requiresApproval: false,
    ...over,
  };
}

export function aContext(over: Partial<SubmitContext> = {}): SubmitContext {
  return { owner: 'client-1', traceparent: `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`, root: 'r', hops: 0, ...over };
}

/** 'b after a c:skip' -> task b of run r that waits for a (fail) and c (skip). */
export function aRunOf(run: string, lines: readonly string[], over: Partial<NewTask> = {}): NewTask[] {
  return lines.map((line) => {
    const [key, , ...after] = line.split(' ');
    const dependencies = after.map((edge) => {
      const [dependency, rule = 'fail'] = edge.split(':');
      return { key: dependency!, rule: rule as FailureRule };
    });
    return aTask(`${run}.${key}`, { dependencies, ...over });
  });
}

export class Stage {
  readonly world: TaskStoreWorld;
  readonly store: TaskStore;
  readonly #grants = new Map<string, Grant>();

  constructor(world: TaskStoreWorld) {
    this.world = world;
    this.store = world.store;
  }

  submit(id: string, over: Partial<NewTask> = {}, digest = 'd'): Promise<SubmitAnswer> {
    return this.store.submit(aTask(id, over), aContext({ root: id }), digest);
  }

  submitRun(
    lines: readonly string[],
    over: { run?: string; digest?: string; append?: boolean } = {},
  ): Promise<SubmitRunAnswer> {
    const { run = 'r', digest = 'd', append = false } = over;
    return this.submitTasks(run, aRunOf(run, lines), digest, append);
  }

  append(lines: readonly string[], run = 'r'): Promise<SubmitRunAnswer> {
    return this.submitRun(lines, { run, append: true, digest: 'more' });
  }

  submitTasks(run: string, tasks: readonly NewTask[], digest = 'd', append = false): Promise<SubmitRunAnswer> {
    return this.store.submitRun({ run, tasks, labels: { team: 'core' }, digest, append }, aContext({ root: run }));
  }

  async claim(id: string, holder = 'ann-1'): Promise<Grant> {
    const answer = await this.store.claim({ id, holder, redelivered: false });
    if (answer.outcome !== 'granted') throw new Error(`${id} was not granted: ${JSON.stringify(answer)}`);
    this.#grants.set(id, answer);
    return answer;
  }

  /** Settles the attempt that was last claimed here. */
  settle(id: string, verdict: Verdict, takeNext?: readonly string[]): Promise<SettleAnswer> {
    const token = this.#grants.get(id)?.token ?? 1;
    const settlement = { id, token, holder: 'ann-1', verdict };
    return this.store.settle(takeNext === undefined ? settlement : { ...settlement, takeNext });
  }

  /** Claims and settles; answers the ids that became ready. */
  async run(id: string, verdict: Verdict = COMPLETE): Promise<string[]> {
    await this.claim(id);
    return (await this.settle(id, verdict)).ready.map((task) => task.id);
  }

  async complete(...ids: string[]): Promise<void> {
    for (const id of ids) await this.run(id);
  }

  async status(id: string): Promise<string> {
    const task = await this.store.find(id);
    if (task === undefined) return 'unknown';
    return task.reason === undefined ? task.status : `${task.status} ${task.reason}`;
  }

  async statuses(...ids: string[]): Promise<string[]> {
    return Promise.all(ids.map((id) => this.status(id)));
  }

  /** Releases until nothing more waits; the ids that became ready and those that fell. */
  async releaseAll(): Promise<{ ready: string[]; ended: string[] }> {
    const ready: string[] = [];
    const ended: string[] = [];
    for (let more = true; more; ) {
      const answer = await this.store.release(500);
      ready.push(...answer.ready.map(({ id }) => id));
      ended.push(...answer.ended.map(({ id }) => id));
      more = answer.more;
    }
    return { ready, ended };
  }

  async listen(instance: string): Promise<Listener> {
    const listener = new Listener();
    listener.cancel = await this.store.onNotice(instance, (notice) => listener.heard.push(notice));
    return listener;
  }
}

/** What one instance was told, in order. */
export class Listener {
  readonly heard: StoreNotice[] = [];
  cancel: () => void = () => undefined;

  /** Everything heard, once it is as much as this. */
  hear(count: number): Promise<StoreNotice[]> {
    return eventually(
      () => this.heard,
      (heard) => heard.length >= count,
      { everyMs: 2 },
    );
  }
}

export const ready = (ids: readonly { readonly id: string }[]): string[] => ids.map(({ id }) => id);
