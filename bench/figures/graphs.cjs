// Runs of tasks that do nothing: what the graph itself costs. Against BullMQ flows on the same Redis, and against a raw chain.
const { median } = require('../measure.cjs');
const { compared, inTurn } = require('../rounds.cjs');

/** Tasks at once, here and there. */
const CONCURRENCY = 100;

async function openFleet(world, prefix) {
  const stage = world.stage();
  const settings = world.settings(prefix);
  await stage.start('manager', 'muster/manager.cjs', settings);
  const options = { concurrency: CONCURRENCY };
  await stage.start('agent', 'muster/agent.cjs', settings, 'nothing', ['bench-nothing'], options);
  const client = await stage.start('client', 'muster/client.cjs', settings);
  return { stage, client };
}

const perSecond = ({ ms, tasks }) => (tasks * 1000) / ms;

async function againstBullmq(world, figure, shape, ...size) {
  const { stage, client } = await openFleet(world, `bench-${figure}`);
  const bullmq = { redisUrl: world.redisUrl, concurrency: CONCURRENCY };
  await stage.start('bullmq-agent', 'peers/bullmq.cjs', { ...bullmq, role: 'agent' });
  const peer = await stage.start('bullmq-client', 'peers/bullmq.cjs', { ...bullmq, role: 'client' });
  // Once unmeasured: the agent learns that its tasks are short, and both sides' code is compiled.
  await client.ask('run', 'fanIn', 1000);
  await peer.ask('run', 'fanIn', 1000);
  const { others, ...answers } = await inTurn(world.rounds, stage, {
    muster: () => client.ask('run', shape, ...size),
    raw: () => peer.ask('run', shape, ...size),
  });
  const muster = answers.muster.map(perSecond);
  const raw = answers.raw.map(perSecond);
  const extra = { accept_ms: median(answers.muster.map(({ accepted }) => accepted)) };
  return [
    compared({ figure, unit: 'tasks/s', muster, raw, target: 2, better: 'higher', of: 'BullMQ flow', others, extra }),
  ];
}

async function chain(world) {
  const length = 100;
  const { stage, client } = await openFleet(world, 'bench-chain');
  const raw = { amqpUrl: world.amqpUrl, prefix: 'bench-chain-raw' };
  await stage.start('raw-agent', 'raw/agent.cjs', raw);
  const rawClient = await stage.start('raw-client', 'raw/client.cjs', raw);
  const sides = {
    muster: async () => (length * 1000) / (await client.ask('run', 'chain', length)).ms,
    raw: async () => (length * 1000) / (await rawClient.ask('chain', length)),
  };
  await sides.muster();
  await sides.raw();
  const answers = await inTurn(world.rounds * 3, stage, sides);
  return [compared({ figure: 'dag-chain-100', unit: 'tasks/s', ...answers, target: 0.8, better: 'higher' })];
}

/** What a task costs in a wide run, against what it costs in one of 1,000. */
async function wide(world) {
  const size = world.quick ? 20_000 : 100_000;
  const { stage, client } = await openFleet(world, 'bench-wide');
  const us = ({ ms, tasks }) => (ms * 1000) / tasks;
  const small = async () => {
    const costs = [];
    for (let i = 0; i < 5; i++) costs.push(us(await client.ask('run', 'fanIn', 1000)));
    return median(costs);
  };
  await small();
  const answers = await inTurn(3, stage, {
    muster: async () => us(await client.ask('run', 'fanIn', size)),
    raw: small,
  });
  const figure = `dag-fan-in-${size}`;
  return [compared({ figure, unit: 'us/task', ...answers, target: 1.3, better: 'lower', of: 'fan-in of 1,000' })];
}

module.exports = {
  'dag-fan-in-1000': (world) => againstBullmq(world, 'dag-fan-in-1000', 'fanIn', 1000),
  'dag-layers-100x100': (world) => againstBullmq(world, 'dag-layers-100x100', 'layers', 100, 100),
  'dag-chain-100': chain,
  'dag-fan-in-100000': wide,
};
