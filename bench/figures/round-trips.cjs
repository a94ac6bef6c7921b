// Tracked tasks and requests, there and back, against amqplib alone.
const { median } = require('../measure.cjs');
const { compared, inTurn } = require('../rounds.cjs');

const WINDOW = 100;

/** A fleet of one manager, one agent and one client, and the raw pair beside it: five processes. */
async function openBoth(world, prefix) {
  const stage = world.stage();
  const settings = world.settings(prefix);
  await stage.start('manager', 'muster/manager.cjs', settings);
  const names = ['bench-echo', 'bench-stamp'];
  const agent = await stage.start('agent', 'muster/agent.cjs', settings, 'echo', names, { concurrency: WINDOW });
  const client = await stage.start('client', 'muster/client.cjs', settings);
  const raw = { amqpUrl: world.amqpUrl, prefix: `${prefix}-raw` };
  const rawAgent = await stage.start('raw-agent', 'raw/agent.cjs', raw);
  const rawClient = await stage.start('raw-client', 'raw/client.cjs', raw);
  return { stage, agent, client, rawAgent, rawClient };
}

/** Measures, and says what CPU each process took per round trip, microseconds. Warming up counts as well, so it is a little high. */
async function withCpu(stage, span, measure) {
  const before = await stage.cpu();
  const answer = await measure();
  const after = await stage.cpu();
  const trips = answer.count * ((span.ms + span.warmMs) / span.ms);
  const cpu = Object.fromEntries(Object.keys(after).map((name) => [name, (after[name] - before[name]) / trips]));
  return { ...answer, cpu };
}

const of = (answers, what) => answers.map((answer) => answer[what]);

/** CPU of all processes, broker and Redis included, per round trip: Muster's over raw's. Less moved by a busy machine than rates. */
function cpuRatio(muster, raw) {
  const total = ({ cpu }) => Object.values(cpu).reduce((sum, us) => sum + us, 0);
  return median(muster.map((answer, round) => total(answer) / total(raw[round])));
}

/** CPU per round trip by process, medians; processes that had no part in it are left out. */
function cpuOf(answers) {
  const entries = Object.keys(answers[0].cpu).map((name) => [name, median(answers.map(({ cpu }) => cpu[name]))]);
  return Object.fromEntries(entries.filter(([, us]) => us >= 1).map(([name, us]) => [name, Math.round(us)]));
}

async function tasks(world, window) {
  const { stage, client, rawClient } = await openBoth(world, `bench-tasks-${window}`);
  const span = { ...world.span, window };
  const { muster, raw, others } = await inTurn(world.rounds, stage, {
    muster: () => withCpu(stage, span, () => client.ask('tasks', span)),
    raw: () => withCpu(stage, span, () => rawClient.ask('tasks', span)),
  });
  const cpu_us = { muster: cpuOf(muster), raw: cpuOf(raw) };
  const extra = { cpu_ratio: cpuRatio(muster, raw), cpu_us, p99: median(of(muster, 'p99')) };
  const figure = `tasks-window-${window}`;
  if (window > 1) {
    const rates = { muster: of(muster, 'rate'), raw: of(raw, 'rate') };
    return [compared({ figure, unit: 'tasks/s', ...rates, target: 0.8, better: 'higher', others, extra })];
  }
  const p50s = { muster: of(muster, 'p50'), raw: of(raw, 'p50') };
  return [compared({ figure, unit: 'ms p50', ...p50s, target: 2, better: 'lower', others, extra })];
}

async function requests(world, window) {
  const { stage, client, rawClient } = await openBoth(world, `bench-requests-${window}`);
  const span = { ...world.span, window };
  const raw = (reply, bodies) => () => withCpu(stage, span, () => rawClient.ask('requests', span, reply, bodies));
  const { others, ...answers } = await inTurn(world.rounds, stage, {
    muster: () => withCpu(stage, span, () => client.ask('requests', span, 'echo')),
    direct: raw('direct', 'made'),
    queue: raw('queue', 'made'),
    prepared: raw('direct', 'prepared'),
  });
  const what = window > 1 ? 'rate' : 'p50';
  const [direct, queue] = [of(answers.direct, what), of(answers.queue, what)];
  // The faster of the two ways to get a reply.
  const better = window > 1 ? 'higher' : 'lower';
  const directIsFaster = window > 1 ? median(direct) >= median(queue) : median(direct) <= median(queue);
  const muster = of(answers.muster, what);
  const prepared = of(answers.prepared, what);
  const extra = {
    reply: directIsFaster ? 'direct reply-to' : 'exclusive queue',
    ratio_to_prepared_buffer: median(muster.map((value, round) => value / prepared[round])),
    cpu_ratio: cpuRatio(answers.muster, directIsFaster ? answers.direct : answers.queue),
    cpu_us: { muster: cpuOf(answers.muster), raw: cpuOf(directIsFaster ? answers.direct : answers.queue) },
  };
  const figure = `requests-window-${window}`;
  const unit = window > 1 ? 'requests/s' : 'ms p50';
  const target = window > 1 ? 0.8 : 1.3;
  return [compared({ figure, unit, muster, raw: directIsFaster ? direct : queue, target, better, others, extra })];
}

/** A task submitted while nothing else is going on, until its handler is entered; raw: published until its consumer has it. */
async function dispatchWhenIdle(world) {
  const { stage, agent, client, rawAgent, rawClient } = await openBoth(world, 'bench-idle');
  const [count, everyMs] = [world.quick ? 100 : 200, 8];
  const side = (from, to) => async () => {
    await from.ask('stamps', count, everyMs);
    return median(await to.ask('delays'));
  };
  await side(client, agent)();
  await side(rawClient, rawAgent)();
  const answers = await inTurn(world.rounds, stage, { muster: side(client, agent), raw: side(rawClient, rawAgent) });
  return [compared({ figure: 'dispatch-idle', unit: 'ms p50', ...answers, target: 3, better: 'lower' })];
}

module.exports = {
  'tasks-window-100': (world) => tasks(world, WINDOW),
  'tasks-window-1': (world) => tasks(world, 1),
  'requests-window-100': (world) => requests(world, WINDOW),
  'requests-window-1': (world) => requests(world, 1),
  'dispatch-idle': dispatchWhenIdle,
};
