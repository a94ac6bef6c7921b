// Sides measured in turn, and what a figure is made of them.
const { existsSync, readFileSync } = require('node:fs');
const { cpus } = require('node:os');
const { cpuUs, median, now } = require('./measure.cjs');

/** A round is quiet if nobody else took more than this share of the machine meanwhile. */
const QUIET_SHARE = 0.1;
const WAIT_MS = 1500;
/** Rounds taken beyond those that count, in the hope of quieter ones. */
const EXTRA_ROUNDS = 2;
const LOOK_MS = 150;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until the machine has nothing else to do, but not for long: on a busy one the figures say how busy it was. */
async function waitForQuiet(stage) {
  const giveUpAt = now() + WAIT_MS;
  while (now() < giveUpAt) {
    const others = await othersDuring(stage, () => pause(LOOK_MS));
    if (!(others.share > QUIET_SHARE)) return;
  }
}

/** Runs `measure` and says which share of the machine's CPUs was used by processes that are not ours. */
async function othersDuring(stage, measure) {
  const [began, busyBefore, oursBefore] = [now(), machineBusyUs(), await oursUs(stage)];
  const answer = await measure();
  const busy = machineBusyUs() - busyBefore - ((await oursUs(stage)) - oursBefore);
  return { answer, share: Math.max(0, busy / ((now() - began) * 1000 * cpus().length)) };
}

async function oursUs(stage) {
  const each = await stage.cpu();
  return Object.values(each).reduce((sum, us) => sum + us, cpuUs());
}

/** CPU time all CPUs spent on anything, microseconds; also time a hypervisor kept from us. */
function machineBusyUs() {
  if (!existsSync('/proc/stat')) {
    return cpus().reduce((sum, { times }) => sum + (times.user + times.nice + times.sys + times.irq) * 1000, 0);
  }
  const [user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq + steal) * 10_000;
}

/**
 * Measures the sides one after the other, `rounds` times, so that whatever drifts on the machine drifts for all of them; every
 * other round in the opposite order. Rounds in which the machine had other things to do are taken again, up to EXTRA_ROUNDS; of all
 * that were taken the quietest count.
 * @template T
 * @param {number} rounds
 * @param {import('./stage.cjs').Stage} stage
 * @param {Record<string, () => Promise<T>>} sides
 * @returns {Promise<Record<string, T[]> & { others: number }>} `others`: median share of the machine that was not ours
 */
async function inTurn(rounds, stage, sides) {
  const names = Object.keys(sides);
  const taken = [];
  const isQuiet = (round) => !(round.others > QUIET_SHARE);
  for (let i = 0; i < rounds + EXTRA_ROUNDS && taken.filter(isQuiet).length < rounds; i++) {
    const answers = {};
    let others = 0;
    for (const name of i % 2 === 0 ? names : [...names].reverse()) {
      await waitForQuiet(stage);
      const { answer, share } = await othersDuring(stage, sides[name]);
      answers[name] = answer;
      others = Math.max(others, share);
    }
    taken.push({ answers, others });
  }
  const kept = taken.sort((a, b) => a.others - b.others).slice(0, rounds);
  const answers = Object.fromEntries(names.map((name) => [name, kept.map((round) => round.answers[name])]));
  return { ...answers, others: median(kept.map((round) => round.others)) };
}

/**
 * A figure from its rounds. The ratio is the median of the rounds' own ratios: the two of one round saw the same machine.
 * @param {{ figure: string, unit: string, muster: number[], raw: number[], target: number, better: 'higher' | 'lower',
 *   others: number, of?: string, extra?: object }} given
 */
function compared({ figure, unit, muster, raw, target, better, others, of = 'raw amqplib', extra = {} }) {
  const ratio = median(muster.map((value, round) => value / raw[round]));
  return {
    figure,
    muster: median(muster),
    raw: median(raw),
    ratio,
    target,
    ok: better === 'higher' ? ratio >= target : ratio <= target,
    rounds: muster.length,
    unit,
    better,
    of,
    others_cpu: others,
    ...extra,
  };
}

/** A figure with a limit of its own and nothing to compare with. */
function absolute({ figure, unit, muster, target, extra = {} }) {
  const value = median(muster);
  return {
    figure,
    muster: value,
    raw: null,
    ratio: null,
    target,
    ok: value <= target,
    rounds: muster.length,
    unit,
    better: 'lower',
    of: '',
    ...extra,
  };
}

module.exports = { absolute, compared, inTurn };
