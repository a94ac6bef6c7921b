// What Muster costs while it stands: its start, the memory of tasks that wait, a backlog's drag, a large registry.
const { fork } = require('node:child_process');
const { join } = require('node:path');
const { Redis } = require('ioredis');
const { median, now } = require('../measure.cjs');
const { absolute, compared, inTurn } = require('../rounds.cjs');
const { environment } = require('../stage.cjs');

const BACKLOG = 100_000;
const SAMPLE = 5000;
const SPARE = 300;
const WINDOW = 100;

/** Spawns an agent while a task waits for it: until it had joined, and until it was at work on that task. */
async function startToConsuming(world) {
  const stage = world.stage();
  const settings = world.settings('bench-start');
  await stage.start('manager', 'muster/manager.cjs', settings);
  const client = await stage.start('client', 'muster/client.cjs', settings);
  const starts = [];
  for (let i = 0; i <= world.rounds * 2; i++) {
    await client.ask('leave', 'bench-start');
    const began = now();
    const argv = [`cold-${i}`, JSON.stringify(settings)];
    const child = fork(join(__dirname, '../muster/cold-agent.cjs'), argv, { env: environment() });
    const answer = await new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', (code) => reject(new Error(`The agent ended with ${code} before it was at work.`)));
    });
    child.removeAllListeners('exit');
    if (child.exitCode === null) await new Promise((resolve) => child.once('exit', resolve));
    // The first one finds the task parked: its capability was unknown until then.
    if (i > 0) starts.push({ joined: answer.joinedAt - began, entered: answer.enteredAt - began });
  }
  const extra = { joined_ms: median(starts.map(({ joined }) => joined)) };
  return [absolute({ figure: 'agent-start', unit: 'ms', muster: starts.map((s) => s.entered), target: 400, extra })];
}

/** An installation with its queue declared and nobody at work. */
async function openIdle(world, stage, prefix) {
  const settings = world.settings(prefix);
  await stage.start(`${prefix}-manager`, 'muster/manager.cjs', settings);
  const agent = await stage.start(`${prefix}-agent`, 'muster/agent.cjs', settings);
  const client = await stage.start(`${prefix}-client`, 'muster/client.cjs', settings);
  await agent.ask('join', 'counter', ['bench-count'], {});
  await agent.ask('leave');
  return { agent, client };
}

/** Memory of 20,000 and 100,000 waiting tasks, and what the 100,000 do to submitting and claiming. */
async function backlog(world) {
  const redis = new Redis(world.redisUrl);
  const used = async () => {
    // Buffers of what was just written go by themselves.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    return Number(/used_memory:(\d+)/.exec(await redis.info('memory'))[1]);
  };
  const stage = world.stage();
  const full = await openIdle(world, stage, 'bench-full');
  const empty = await openIdle(world, stage, 'bench-empty');
  const payload = await full.client.ask('payloadBytes');
  const before = await used();
  const perTask = [];
  let filled = 0;
  for (const count of [20_000, BACKLOG]) {
    await full.client.ask('fill', count - filled, 500);
    filled = count;
    perTask.push((await used()) - before);
  }
  const withoutPayload = [20_000, BACKLOG].map((count, i) => perTask[i] / count - payload);
  const extra = { at_20000: withoutPayload[0], with_payload: perTask[1] / BACKLOG, payload_bytes: payload };
  const memory = absolute({
    figure: 'memory-waiting-task',
    unit: 'bytes',
    muster: [withoutPayload[1]],
    target: 1200,
    extra,
  });
  await redis.quit();

  const side =
    ({ agent, client }) =>
    async () => {
      // More than is consumed: the last ones would otherwise be waited for.
      const submit = await client.ask('fill', SAMPLE + SPARE, WINDOW);
      return { submit, claim: await agent.ask('consume', 'counter', SAMPLE, { concurrency: WINDOW }) };
    };
  const { muster, raw, others } = await inTurn(world.rounds, stage, { muster: side(full), raw: side(empty) });
  // How many times as long a task takes with the backlog: rates turned over.
  const slower = (figure, what) => {
    const us = (answers) => answers.map((answer) => 1e6 / answer[what]);
    const sides = { muster: us(muster), raw: us(raw) };
    return compared({ figure, unit: 'us/task', ...sides, target: 1.3, better: 'lower', others, of: 'empty' });
  };
  return [memory, slower('backlog-submit', 'submit'), slower('backlog-claim', 'claim')];
}

async function registryLookup(world) {
  const stage = world.stage();
  const client = await stage.start('client', 'muster/client.cjs', world.settings('bench-registry'));
  const { p99, ...extra } = await client.ask('lookups', 10_000, 500);
  return [absolute({ figure: 'registry-lookup', unit: 'ms p99', muster: [p99], target: 50, extra })];
}

module.exports = { 'agent-start': startToConsuming, backlog, 'registry-lookup': registryLookup };
