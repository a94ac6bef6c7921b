// Why a task is not done yet: every answer, each from the smallest snapshot that has that cause.
// Those of ended tasks are in why.test.ts, which runs both.
import {
  ago,
  anAgent,
  type Case,
  dependency,
  draining,
  edges,
  failed,
  free,
  full,
  offline,
  snapshot,
  unhealthy,
} from './why-stage.js';

export const unfinished: readonly Case[] = [
  [
    'unknown_id',
    'nothing is stored',
    snapshot(undefined),
    "No task 'r1' is stored: it was never accepted, or its retention time is over.",
  ],
  [
    'submission_unfinished',
    'its run is half submitted',
    snapshot(undefined, { id: 'r1.a', open: true }),
    "Not accepted yet: run 'r1' is still being submitted, or its submitter stopped half-way.",
  ],
  [
    'blocked_on_dependencies',
    'waits for others',
    snapshot(
      { status: 'blocked', id: 'r1.d', waiting_for: ['b', 'c'], after: edges('a', 'b', 'c') },
      { dependencies: [dependency('r1.b', 'running'), dependency('r1.c', 'retrying')] },
    ),
    "Blocked for 50 s: it waits for 2 of 3 tasks to end, 'b' (running) and 'c' (retrying).",
  ],
  [
    'blocked_on_dependencies',
    'waits for others and an approval',
    snapshot(
      { status: 'blocked', waiting_for: ['#approval', 'b'], after: edges('b') },
      { dependencies: [dependency('r1.b', 'ready')] },
    ),
    "Blocked for 50 s: it waits for 1 of 1 task to end, 'b' (ready), and then on an approval.",
  ],
  [
    'blocked_on_approval',
    'waits for approval',
    snapshot({ status: 'blocked', waiting_for: ['#approval'] }),
    "Blocked for 50 s on an approval: 'muster task approve r1' lets it go on.",
  ],
  [
    'scheduled',
    'its time has not come',
    snapshot({ status: 'scheduled', due_at: ago(-8000) }),
    'Scheduled: ready in 8.0 s, at 2026-01-01T12:00:08.000Z.',
  ],
  [
    'no_manager',
    'its time has come and nobody sees to it',
    snapshot({ status: 'scheduled', due_at: ago(60_000) }, { managers: 0 }),
    "Scheduled; it was due 1 min ago, but no manager is alive to release it: start one with 'muster manager'.",
  ],
  [
    'retrying',
    'between two attempts',
    snapshot({ status: 'retrying', attempt: 1, failed_attempts: 1, due_at: ago(-3200), error: failed }),
    'Retrying: attempt 1 of 3 failed with HANDLER_FAILED: no such branch; the next attempt comes in 3.2 s.',
  ],
  [
    'no_agent_offers',
    'nobody can do it',
    snapshot({}, { agents: [anAgent('zoe', { capabilities: [] })] }),
    "Queued for 41 s: no agent offers 'review', and 1 agent is online; the task waits until one joins that does.",
  ],
  [
    'agents_full',
    'the sentence of the issue',
    snapshot(
      {},
      { agents: [full, { ...full, agent_id: 'bob' }, draining], ahead: { byClass: [2, 0, 15, 0], atLeast: false } },
    ),
    "Queued for 41 s: 3 agents offer 'review', 2 are at capacity (4 of 4) and 1 is draining; 17 tasks are ahead (2 P0, 15 P2).",
  ],
  [
    'agents_draining',
    'all drain',
    snapshot({}, { agents: [draining] }),
    "Queued for 41 s: 1 agent offers 'review', and it is draining (cat).",
  ],
  [
    'agents_unhealthy',
    'all are ill',
    snapshot({}, { agents: [unhealthy, { ...unhealthy, agent_id: 'eva' }] }),
    "Queued for 41 s: 2 agents offer 'review', and all 2 are unhealthy (eve and eva).",
  ],
  [
    'agents_offline',
    'all are gone',
    snapshot({}, { agents: [offline] }),
    "Queued for 41 s: 1 agent offers 'review', and it is offline (dan).",
  ],
  [
    'agents_unavailable',
    'none takes work, each for its own reason',
    snapshot({}, { agents: [offline, draining] }),
    "Queued for 41 s: 2 agents offer 'review', and none takes work: 1 is draining and 1 is offline.",
  ],
  [
    'assigned_agent_unknown',
    'assigned to nobody',
    snapshot({ assigned_to: 'tom' }, { agents: [free] }),
    "Queued for 41 s: only agent 'tom' may run it, and no agent of that name is registered.",
  ],
  [
    'assigned_agent_away',
    'assigned to one who is gone',
    snapshot({ assigned_to: 'dan' }, { agents: [free, offline] }),
    "Queued for 41 s: only agent 'dan' may run it, and it is offline, last heard of 1 min 30 s ago.",
  ],
  [
    'assigned_agent_draining',
    'assigned to one who drains',
    snapshot({ assigned_to: 'cat' }, { agents: [draining] }),
    "Queued for 41 s: only agent 'cat' may run it, and it is draining: 'muster agent drain cat --undo' lets it go on.",
  ],
  [
    'assigned_agent_busy',
    'assigned to one who is full',
    snapshot({ assigned_to: 'ben' }, { agents: [full, free] }),
    "Queued for 41 s: only agent 'ben' may run it, and it is at capacity (2 of 2).",
  ],
  [
    'assigned_agent_next',
    'assigned to one who is free',
    snapshot({ assigned_to: 'ann' }, { agents: [free] }),
    "Queued for 41 s: its message is on the way to agent 'ann', the only one that may run it; it has 1 free slot of 2.",
  ],
  [
    'capability_paused',
    'paused',
    snapshot({}, { agents: [free], paused: true }),
    "Queued for 41 s: capability 'review' is paused: 'muster queue resume review' lets it go on.",
  ],
  [
    'queued',
    'in line',
    snapshot({}, { agents: [free], ahead: { byClass: [0, 1, 0, 0], atLeast: false } }),
    "Queued for 41 s: 1 agent offers 'review', 1 is free (1 of 2 slots in use); 1 task is ahead (1 P1).",
  ],
  [
    'queued',
    'in a long line',
    snapshot({}, { agents: [free], ahead: { byClass: [0, 0, 20_000, 0], atLeast: true } }),
    "Queued for 41 s: 1 agent offers 'review', 1 is free (1 of 2 slots in use); at least 20,000 tasks are ahead (20,000 P2).",
  ],
  [
    'rescued',
    'its agent vanished',
    snapshot({ attempt: 1, lost_attempts: 1, agent: 'dan-aaaaaa' }, { agents: [free] }),
    "Rescued, and queued again for 41 s: 1 agent offers 'review', 1 is free (1 of 2 slots in use); no task is ahead of it; 1 earlier attempt was lost with its agent, the last on dan-aaaaaa.",
  ],
  [
    'dispatch_pending',
    'not confirmed by the broker',
    snapshot({ status: 'ready' }, { agents: [free] }),
    'Ready for 41 s: its message is not confirmed by the broker yet; 1 manager tries again every 0.3 s.',
  ],
  [
    'no_manager',
    'not confirmed, and nobody sends it again',
    snapshot({ status: 'ready' }, { agents: [free], managers: 0 }),
    "Ready for 41 s: its message was never confirmed by the broker, and no manager is alive to send it again: start one with 'muster manager'.",
  ],
  [
    'broker_unreachable',
    'the broker is away',
    snapshot({ status: 'ready' }, { broker: 'unreachable', paused: true }),
    'Ready for 41 s: RabbitMQ cannot be reached from here; the task is stored, and goes out once it is back.',
  ],
  [
    'broker_unreachable',
    'the broker has an alarm',
    snapshot({ status: 'ready' }, { broker: 'blocked' }),
    'Ready for 41 s: RabbitMQ takes no messages now (its memory or disk alarm is on); the task is stored, and goes out once it is back.',
  ],
  [
    'running',
    'under way',
    snapshot(
      {
        status: 'running',
        attempt: 2,
        agent: 'ann-aaaaaa',
        started_at: ago(12_000),
        progress: { fraction: 0.4, note: 'linting' },
      },
      { agents: [free] },
    ),
    'Running: attempt 2 of 3 has run on ann-aaaaaa for 12 s, 40 % done (linting).',
  ],
  [
    'running_silent',
    'its agent says nothing',
    snapshot(
      { status: 'running', attempt: 1, agent: 'ann-aaaaaa', started_at: ago(20_000) },
      { agents: [{ ...free, last_heartbeat: ago(13_000) }] },
    ),
    'Running, but its agent is silent: attempt 1 of 3 has run on ann-aaaaaa for 20 s, silent for 13 s; after 15 s of silence the task goes to another agent.',
  ],
  [
    'running_silent',
    'its agent is not known any more',
    snapshot({ status: 'running', attempt: 1, agent: 'ann-old', started_at: ago(20_000) }, { agents: [free] }),
    'Running, but its agent is silent: attempt 1 of 3 has run on ann-old for 20 s, which is not registered any more; after 15 s of silence the task goes to another agent.',
  ],
  [
    'running_alone',
    'its agent is gone, and so are the managers',
    snapshot(
      { status: 'running', attempt: 1, agent: 'dan-aaaaaa', started_at: ago(95_000) },
      { agents: [offline], managers: 0 },
    ),
    "Stuck: attempt 1 of 3 has run on dan-aaaaaa for 1 min 35 s, silent for 1 min 30 s, and no manager is alive to rescue it: start one with 'muster manager'.",
  ],
];
