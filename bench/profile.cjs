// `node bench/profile.cjs DIR [ROWS]`: the functions of each profile in DIR by self time. `run.cjs --profile DIR` leaves them there.
const { readdirSync, readFileSync } = require('node:fs');
const { join, relative, resolve } = require('node:path');
const { fileURLToPath } = require('node:url');

const root = resolve(__dirname, '..');
const IDLE = new Set(['(idle)', '(program)', '(root)']);

/** Self time in microseconds by function, largest first; time asleep is no work. */
function selfTimes(profile) {
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const spent = new Map();
  let total = 0;
  for (let i = 0; i < profile.samples.length; i++) {
    const { callFrame } = byId.get(profile.samples[i]);
    const us = profile.timeDeltas[i];
    if (callFrame.functionName === '(idle)') continue;
    const place = placeOf(callFrame);
    spent.set(place, (spent.get(place) ?? 0) + us);
    if (!IDLE.has(callFrame.functionName)) total += us;
  }
  return { total, rows: [...spent].sort((a, b) => b[1] - a[1]) };
}

function placeOf({ functionName, url, lineNumber }) {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  const path = url.startsWith('file:') ? relative(root, fileURLToPath(url)) : url;
  return `${name}  ${path.replace(/^.*node_modules\//, '')}:${lineNumber + 1}`;
}

const [directory, rows = '25'] = process.argv.slice(2);
if (directory === undefined) {
  process.stderr.write('Name the directory that `node bench/run.cjs --profile DIR` wrote to.\n');
  process.exit(2);
}
function packageOf(path) {
  if (/(^|\/)dist\//.test(path) && !/^(zod|amqplib|ioredis|bullmq)\//.test(path)) return 'muster';
  return path.split(/[/:]/)[0];
}

/** Where the time went by package. */
function byPackage(rows) {
  const spent = new Map();
  for (const [place, us] of rows) {
    const path = place.split('  ')[1];
    const name = path === undefined ? place : packageOf(path);
    spent.set(name, (spent.get(name) ?? 0) + us);
  }
  return [...spent].sort((a, b) => b[1] - a[1]).slice(0, 8);
}

const share = (us, total) => `${((us / total) * 100).toFixed(1).padStart(6)} %`;

for (const file of readdirSync(directory).filter((name) => name.endsWith('.cpuprofile'))) {
  const { total, rows: all } = selfTimes(JSON.parse(readFileSync(join(directory, file), 'utf8')));
  process.stdout.write(`\n${file}: ${Math.round(total / 1000)} ms of work\n`);
  for (const [name, us] of byPackage(all)) process.stdout.write(`${share(us, total)}  in ${name}\n`);
  process.stdout.write('\n');
  for (const [place, us] of all.slice(0, Number(rows))) {
    process.stdout.write(`${share(us, total)}  ${place}\n`);
  }
}
