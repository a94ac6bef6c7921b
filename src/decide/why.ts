// Why is this task where it is? One sentence with numbers, and a reason from a closed set. Pure: a snapshot in, an answer out.
// The first cause wins: what nobody can get past (a broker that is away) is named before what is merely true as well.
import { APPROVAL } from './task-model.js';
import { formatDuration } from './waterfall.js';
import { ended } from './why-ended.js';
import { queued } from './why-queued.js';
import { brief, count, lasting, list, type Seen, sentence, since, type Why, type WhySnapshot } from './why-snapshot.js';

/** A timer this late was not seen to by anybody. */
const LATE_MS = 3000;

export function why(snapshot: WhySnapshot): Why {
  const { task } = snapshot;
  const answer = task === undefined ? absent(snapshot) : judge({ ...snapshot, task });
  return { id: snapshot.id, ...answer, sentence: sentence(answer.sentence) };
}

type Answer = Omit<Why, 'id'>;

function absent({ id, open }: WhySnapshot): Answer {
  if (open === true) {
    return {
      reason: 'submission_unfinished',
      sentence: `Not accepted yet: run '${id.split('.')[0]}' is still being submitted, or its submitter stopped half-way`,
      facts: {},
    };
  }
  return {
    reason: 'unknown_id',
    sentence: `No task '${id}' is stored: it was never accepted, or its retention time is over`,
    facts: {},
  };
}

function judge(seen: Seen): Answer {
  switch (seen.task.status) {
    case 'blocked':
      return blocked(seen);
    case 'scheduled':
    case 'retrying':
      return timed(seen);
    case 'ready':
    case 'dispatched':
      return queued(seen);
    case 'running':
      return running(seen);
    default:
      return ended(seen);
  }
}

function blocked({ task, dependencies, nowMs }: Seen): Answer {
  const waited = lasting(task.submitted_at, nowMs);
  const keys = task.waiting_for.filter((key) => key !== APPROVAL);
  const approval = keys.length < task.waiting_for.length;
  const facts = { waiting_for: keys, approval, waited_ms: since(task.submitted_at, nowMs) };
  if (keys.length === 0) {
    return {
      reason: 'blocked_on_approval',
      sentence: `Blocked for ${waited} on an approval: 'muster task approve ${task.id}' lets it go on`,
      facts,
    };
  }
  const open = dependencies.filter((dependency) => keys.includes(keyOf(dependency.id)));
  const named = open.map((dependency) => `'${keyOf(dependency.id)}' (${dependency.status})`);
  const also = approval ? ', and then on an approval' : '';
  const of = `${keys.length} of ${count(Math.max(task.after.length, keys.length), 'task')}`;
  return {
    reason: 'blocked_on_dependencies',
    sentence: `Blocked for ${waited}: it waits for ${of} to end, ${list(named.length > 0 ? named : keys)}${also}`,
    facts: { ...facts, dependencies: open },
  };
}

/** Scheduled for a moment, or between two attempts. */
function timed({ task, nowMs, managers }: Seen): Answer {
  const dueMs = task.due_at === undefined ? 0 : Date.parse(task.due_at) - nowMs;
  const error = task.error === undefined ? '' : ` with ${task.error.code}: ${brief(task.error.message)}`;
  const what =
    task.status === 'scheduled'
      ? 'Scheduled'
      : `Retrying: attempt ${task.attempt} of ${task.max_attempts} failed${error}`;
  const facts = {
    due_in_ms: dueMs,
    attempt: task.attempt,
    failed_attempts: task.failed_attempts,
    max_attempts: task.max_attempts,
    ...(task.error === undefined ? {} : { error: task.error.code }),
  };
  if (dueMs < -LATE_MS && managers === 0) {
    return {
      reason: 'no_manager',
      sentence: `${what}; it was due ${formatDuration(-dueMs)} ago, but no manager is alive to release it: start one with 'muster manager'`,
      facts,
    };
  }
  const when = dueMs <= 0 ? 'it is due now' : `in ${formatDuration(dueMs)}`;
  if (task.status === 'scheduled') {
    return { reason: 'scheduled', sentence: `${what}: ready ${when}, at ${task.due_at ?? 'once'}`, facts };
  }
  return { reason: 'retrying', sentence: `${what}; the next attempt comes ${when}`, facts };
}

function running({ task, agents, nowMs, leaseMs, heartbeatMs, managers }: Seen): Answer {
  const holder = task.agent ?? 'an agent';
  const agent = agents.find((record) => record.instance === task.agent);
  const ranMs = since(task.started_at, nowMs);
  const progress = task.progress;
  const done =
    progress === undefined
      ? ''
      : `, ${Math.round(progress.fraction * 100)} % done${progress.note === undefined ? '' : ` (${brief(progress.note)})`}`;
  const on = `attempt ${task.attempt} of ${task.max_attempts} has run on ${holder} for ${formatDuration(ranMs)}${done}`;
  const facts = {
    agent: holder,
    running_ms: ranMs,
    attempt: task.attempt,
    max_attempts: task.max_attempts,
    lost_attempts: task.lost_attempts,
    ...(progress === undefined ? {} : { progress }),
  };
  const silentMs = agent === undefined ? undefined : since(agent.last_heartbeat, nowMs);
  const patienceMs = agent?.kind === 'bus' ? heartbeatMs * 2 : leaseMs * 0.8;
  const gone = agent === undefined || agent.status === 'offline';
  if (!gone && (silentMs ?? 0) <= patienceMs) return { reason: 'running', sentence: `Running: ${on}`, facts };
  const heard = silentMs === undefined ? 'which is not registered any more' : `silent for ${formatDuration(silentMs)}`;
  const silent = { ...facts, silent_ms: silentMs ?? null, managers };
  if (managers === 0) {
    return {
      reason: 'running_alone',
      sentence: `Stuck: ${on}, ${heard}, and no manager is alive to rescue it: start one with 'muster manager'`,
      facts: silent,
    };
  }
  const limit = formatDuration(agent?.kind === 'bus' ? heartbeatMs * 3 : leaseMs);
  return {
    reason: 'running_silent',
    sentence: `Running, but its agent is silent: ${on}, ${heard}; after ${limit} of silence the task goes to another agent`,
    facts: silent,
  };
}

function keyOf(id: string): string {
  return id.includes('.') ? id.slice(id.indexOf('.') + 1) : id;
}
