// `npm run bench`: every speed figure as a ratio taken in one run, on a private broker and Redis of its own.
//   --only NAME     the figure of that name, or all that begin so: dag, tasks, requests-window; may be given again
//   --quick         fewer and shorter rounds, smaller graphs
//   --json FILE     appends one JSON line per figure there as it is taken; without it the lines follow the table
//   --profile DIR   leaves a CPU profile of every measured process there (slows it: the ratios then mean nothing)
const { appendFileSync, mkdtempSync } = require('node:fs');
const { cpus, tmpdir } = require('node:os');
const { join, resolve } = require('node:path');
const { parseArgs } = require('node:util');
const { startServices } = require('../dist/local/services.js');
const { table } = require('./table.cjs');
const { Stage } = require('./stage.cjs');

const figures = {
  ...require('./figures/round-trips.cjs'),
  ...require('./figures/graphs.cjs'),
  ...require('./figures/standing.cjs'),
};

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    profile: { type: 'string' },
  },
});

function chosen() {
  const all = Object.entries(figures);
  if (flags.only === undefined) return all;
  const some = all.filter(([name]) => flags.only.some((part) => name === part || name.startsWith(`${part}-`)));
  if (some.length === 0)
    throw new Error(
      `--only ${flags.only.join(' ')}: no such figure. There are: ${all.map(([name]) => name).join(', ')}.`,
    );
  return some;
}

const lineOf = (row) => `${JSON.stringify(row)}\n`;

async function main() {
  const wanted = chosen();
  const directory = mkdtempSync(join(tmpdir(), 'muster-bench-'));
  const services = await startServices({ directory, log: (line) => process.stderr.write(`${line}\n`) });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => services.stop().then(() => process.exit(130)));
  const { amqpUrl, redisUrl, pids } = services;
  const rows = [];
  const failed = [];
  try {
    for (const [name, measure] of wanted) {
      const stages = [];
      const world = {
        amqpUrl,
        redisUrl,
        quick: flags.quick,
        rounds: flags.quick ? 3 : 5,
        span: flags.quick ? { warmMs: 500, ms: 1000 } : { warmMs: 1000, ms: 2000 },
        settings: (prefix) => ({ AMQP_URL: amqpUrl, REDIS_URL: redisUrl, MUSTER_PREFIX: prefix }),
        stage() {
          const stage = new Stage({ pids, profileDirectory: flags.profile && resolve(flags.profile) });
          stages.push(stage);
          return stage;
        },
      };
      process.stderr.write(`${name} ...\n`);
      try {
        const measured = await measure(world);
        rows.push(...measured);
        if (flags.json !== undefined) appendFileSync(resolve(flags.json), measured.map(lineOf).join(''));
      } catch (error) {
        // One figure that cannot be taken must not cost the others.
        failed.push(name);
        process.stderr.write(`${name}: ${error?.stack ?? error}\n`);
      }
      for (const stage of stages) await stage.stop();
    }
  } finally {
    await services.stop();
  }
  process.stdout.write(
    `${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}\n\n${table(rows)}\n`,
  );
  if (flags.json === undefined) process.stdout.write(rows.map(lineOf).join(''));
  return failed.length === 0 ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error) => {
    process.stderr.write(`${error?.stack ?? error}\n`);
    process.exit(1);
  },
);
