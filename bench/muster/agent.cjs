// An agent of the fleet that is measured: echoes, does nothing, or notes when its handler was entered.
const { actor } = require('../actor.cjs');
const { now } = require('../measure.cjs');
const { agent, capability } = require('../../dist/index.js');

let settings;
let running;
let delays = [];
/** Moments a handler of bench-count was entered. */
let entered = [];
let onCount;

const offers = [
  capability('bench-echo').handle((input) => input),
  capability('bench-nothing').handle(() => null),
  capability('bench-stamp').handle(({ sentAt }) => {
    delays.push(now() - sentAt);
    return null;
  }),
  capability('bench-count').handle(() => {
    entered.push(now());
    onCount?.();
    return null;
  }),
];

async function join(id, names, options) {
  const offered = offers.filter((offer) => names.includes(offer.name));
  running = await agent(id, offered, options).start({ settings });
}

actor({
  async open(given, id, names, options) {
    settings = given;
    if (id !== undefined) await join(id, names, options);
  },
  join,
  async leave() {
    await running?.stop();
    running = undefined;
  },
  delays() {
    const answer = delays;
    delays = [];
    return answer;
  },
  /** Joins, handles `count` tasks that wait already, leaves; tasks per second, the first tenth left out. */
  async consume(id, count, options) {
    entered = [];
    const all = new Promise((resolve) => {
      onCount = () => entered.length >= count && resolve();
    });
    await join(id, ['bench-count'], options);
    await all;
    onCount = undefined;
    const from = Math.floor(count / 10);
    const rate = ((count - 1 - from) * 1000) / (entered[count - 1] - entered[from]);
    await running.stop();
    running = undefined;
    return rate;
  },
  async close() {
    await running?.stop();
  },
});
