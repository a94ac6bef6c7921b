// Plays the scenarios of this folder on the model: one command a line, and what it changes as a trace.
//   submit a; b after a c:skip; d after b approval priority=0 attempts=2 timeout=5s deadline=1m not-before=10s capability=test agent=ann
//   append e after a          adds to the run
//   claim a by ann [again]    again: the broker delivered it before
//   complete|fail|give-up|hand-back a [by ann] [late]   claims it first where nobody has; late: with the token of an older attempt
//   complete a, next build    and takes the next task along, if it needs one of these capabilities
//   approve|cancel a   lose ann   wait 5s (timers, timeouts, deadlines)   watch a   dispatch a   relay
import type { FailureRule } from '../../../src/contracts/task.js';
import { type AttemptEnd, verdictOf } from '../../../src/decide/settle.js';
import { apply, type Command, type CommandName } from '../../../src/decide/task-machine.js';
import { emptyModel, type TaskModel } from '../../../src/decide/task-model.js';
import type { NewTask, SettleAnswer } from '../../../src/ports.js';
import { viewTask } from '../../../src/testing/task-views.js';

const RUN = 'r';
const ERROR = { code: 'HANDLER_FAILED', message: 'broke' };
const ENDS: Record<string, AttemptEnd> = {
  complete: { kind: 'returned', output: '"ok"' },
  fail: { kind: 'failed', error: ERROR, retryable: true },
  'give-up': { kind: 'failed', error: ERROR, retryable: false },
  'hand-back': { kind: 'handed_back' },
};
const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

export class Play {
  readonly #model: TaskModel = emptyModel();
  #now = 0;
  /** The first token of each task: what a late attempt still holds. */
  readonly #oldTokens = new Map<string, number>();

  /** Carries one line out; resolves to its trace. */
  line(text: string): string {
    const before = this.#states();
    const said = this.#carryOut(text);
    return [said, ...changes(before, this.#states())].filter((part) => part !== '').join('; ') || 'nothing';
  }

  #carryOut(text: string): string {
    const [verb = '', ...rest] = text.split(' ');
    const words = rest.join(' ');
    switch (verb) {
      case 'submit':
      case 'append':
        return this.#submit(words, verb === 'append');
      case 'claim':
        return this.#claim(rest[0]!, rest[2] ?? 'ann', rest.includes('again'));
      case 'approve':
        return ignoring('approved', this.#do({ do: 'approve', id: idOf(words) }).outcome);
      case 'cancel':
        return this.#cancel(idOf(words), 'cancelled_by_request');
      case 'lose':
        this.#do({ do: 'rescue', holder: words, maxLost: 2, limit: 500 });
        return '';
      case 'wait':
        return this.#wait(msOf(words));
      case 'watch':
        return `watch: ${JSON.stringify(this.#do({ do: 'watch', id: words === 'run' ? RUN : idOf(words), watcher: 'me' }))}`;
      case 'dispatch': {
        const { id, priority } = this.#model.tasks.get(idOf(words))!.task;
        this.#do({ do: 'dispatched', tasks: [{ id, priority }], recheckMs: UNITS.m! });
        return '';
      }
      case 'relay':
        return `due ${ids(this.#do({ do: 'due', limit: 10 }).map(({ task }) => task)) || 'none'}`;
      default:
        return this.#settle(verb, words);
    }
  }

  #do<Name extends CommandName>(command: Command<Name>): ReturnType<typeof apply<Name>> {
    return apply(this.#model, command, this.#now);
  }

  #submit(words: string, append: boolean): string {
    const tasks = words.split(';').map((line) => taskOf(line.trim().split(' '), this.#now));
    const run = { run: RUN, tasks, labels: {}, digest: words, append };
    const context = { owner: 'me', traceparent: '', root: RUN, hops: 0 };
    const { outcome, ...details } = this.#do({ do: 'submitRun', run, context });
    return outcome === 'accepted' ? '' : [outcome, ...Object.values(details)].join(' ');
  }

  #claim(key: string, holder: string, redelivered: boolean): string {
    const answer = this.#do({ do: 'claim', id: idOf(key), holder, redelivered });
    if (answer.outcome === 'held') return `held by ${answer.by}`;
    if (answer.outcome === 'obsolete') return `ignored: ${answer.state}`;
    if (answer.outcome === 'unknown') return 'unknown';
    if (!this.#oldTokens.has(answer.id)) this.#oldTokens.set(answer.id, answer.token);
    return `attempt ${answer.attempt}`;
  }

  #settle(verb: string, words: string): string {
    const [who = '', next] = words.split(', next ');
    const [key = '', ...how] = who.split(' ');
    const id = idOf(key);
    const late = how.includes('late');
    if (!late && this.#model.tasks.get(id)?.state === 'ready') this.#claim(key, how[1] ?? 'ann', false);
    const record = this.#model.tasks.get(id);
    if (record === undefined) return 'unknown';
    const about = { failedAttempts: record.failed, maxAttempts: record.task.maxAttempts, random: 1 };
    const settlement = {
      id,
      token: late ? this.#oldTokens.get(id)! : record.token,
      holder: record.holder ?? 'ann',
      verdict: verdictOf(ENDS[verb]!, about),
      ...(next === undefined ? {} : { takeNext: next.split(' ') }),
    };
    const answer = this.#do({ do: 'settle', settlements: [settlement] })[0] as SettleAnswer;
    if (answer.next !== undefined) return `next ${keyOf(answer.next.task.id)}`;
    if (verb === 'hand-back' && answer.outcome === 'settled') return `given back, ready ${ids(answer.ready)}`;
    return answer.outcome === 'settled' ? '' : `ignored: ${answer.outcome}`;
  }

  #cancel(id: string, reason: 'cancelled_by_request' | 'deadline'): string {
    const state = reason === 'deadline' ? 'dead' : 'cancelled';
    const answer = this.#do({ do: 'cancel', id, how: { state, reason } });
    if (answer.outcome === 'already_final') return `ignored: already ${answer.state}`;
    return answer.outcome === 'unknown' ? 'unknown' : answer.holder === undefined ? '' : `told ${answer.holder}`;
  }

  /** Time passes, and the rescuer looks: timers first, then what is overdue. */
  #wait(ms: number): string {
    this.#now += ms;
    this.#do({ do: 'release', limit: 500 });
    for (const task of this.#do({ do: 'overdue', graceMs: 0, limit: 100 })) {
      if (task.cause === 'deadline') this.#cancel(task.id, 'deadline');
      else {
        const verdict = verdictOf({ kind: 'timed_out', error: ERROR }, { ...task, random: 1 });
        this.#do({ do: 'settle', settlements: [{ ...task, verdict }] });
      }
    }
    return '';
  }

  /** What each task, and the run, looks like now. */
  #states(): Map<string, string> {
    const states = new Map<string, string>();
    for (const [id, record] of this.#model.tasks) {
      const { status, reason, agent, due_at } = viewTask(this.#model, record);
      const about = [
        ...(reason === undefined ? [] : [reason]),
        ...(status === 'running' ? [agent!] : []),
        ...(due_at === undefined ? [] : [`in ${Date.parse(due_at) - this.#now} ms`]),
      ];
      states.set(keyOf(id), about.length === 0 ? status : `${status} (${about.join(', ')})`);
    }
    const run = this.#model.runs.get(RUN);
    if (run !== undefined) states.set('run', run.state);
    return states;
  }
}

/** 'ready b c; dead d (dependency_failed); run failed', in order of submission; waiting time that only passed is no change. */
function changes(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const byState = new Map<string, string[]>();
  for (const [key, state] of after) {
    const was = before.get(key);
    if (was === state || (was !== undefined && was.replace(/in .*/, '') === state.replace(/in .*/, ''))) continue;
    if (key !== 'run') byState.set(state, [...(byState.get(state) ?? []), key]);
  }
  const parts = [...byState].map(([state, keys]) => {
    const [word, about] = state.split(/ (?=\()/);
    return [word, ...keys, ...(about === undefined ? [] : [about])].join(' ');
  });
  const run = after.get('run');
  return run === before.get('run') || run === undefined ? parts : [...parts, `run ${run}`];
}

function ignoring(expected: string, outcome: string): string {
  return outcome === expected ? '' : `ignored: ${outcome}`;
}

function taskOf([key = '', ...words]: readonly string[], now: number): NewTask {
  const settings = new Map(
    words.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string]),
  );
  const from = words.indexOf('after') + 1;
  const after = from === 0 ? [] : words.slice(from).filter((word) => word !== 'approval' && !word.includes('='));
  const time = (name: string, from: number) => (settings.has(name) ? from + msOf(settings.get(name)!) : undefined);
  const optional = {
    timeoutMs: time('timeout', 0),
    deadlineAt: time('deadline', now),
    notBefore: time('not-before', now),
    assignedTo: settings.get('agent'),
  };
  return {
    id: idOf(key),
    capability: settings.get('capability') ?? 'build',
    priority: Number(settings.get('priority') ?? 2) as NewTask['priority'],
    body: '{}',
    maxAttempts: Number(settings.get('attempts') ?? 3),
    dependencies: after.map((edge) => {
      const [dependency = '', rule = 'fail'] = edge.split(':');
      return { key: dependency, rule: rule as FailureRule };
    }),
    requiresApproval: words.includes('approval'),
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Partial<NewTask>),
  };
}

function msOf(text: string): number {
  const [, number, unit = ''] = /^(\d+)([a-z]+)$/.exec(text) ?? [];
  return Number(number) * UNITS[unit]!;
}

const idOf = (key: string): string => `${RUN}.${key}`;
const keyOf = (id: string): string => id.slice(RUN.length + 1);
const ids = (tasks: readonly { readonly id: string }[]): string => tasks.map(({ id }) => keyOf(id)).join(' ');
