// The client that is measured: everything it does is the public SDK, but for the registry's 10,000 cards.
const { actor } = require('../actor.cjs');
const { drive, median, now, payload, percentile } = require('../measure.cjs');
const { connect } = require('../../dist/index.js');
const { shapes } = require('../shapes.cjs');

const body = payload(1024);
let client;

/** Runs `count` calls with at most `window` under way. */
async function inWindow(count, window, once) {
  let left = count;
  const lane = async () => {
    while (left-- > 0) await once();
  };
  await Promise.all(Array.from({ length: window }, lane));
}

actor({
  async open(settings) {
    client = await connect({ settings });
  },
  close: () => client.close(),

  tasks: (span) =>
    drive(span, (done) => {
      client
        .submit('bench-echo', body)
        .then((task) => client.result(task))
        .then((output) => done(output.items.length === body.items.length ? undefined : new Error('not an echo')), done);
    }),

  requests: (span, target) =>
    drive(span, (done) => {
      client
        .request(target, 'bench-echo', body)
        .then((output) => done(output.items.length === body.items.length ? undefined : new Error('not an echo')), done);
    }),

  /** One run of a shape; from submitting it to knowing that its last task ended. Milliseconds and tasks. */
  async run(shape, ...size) {
    const tasks = shapes[shape](...size).map(({ key, after }) => ({ capability: 'bench-nothing', key, after }));
    const began = now();
    const { id } = await client.run({ tasks });
    const accepted = now() - began;
    const { status } = await client.runOutcome(id);
    if (status !== 'completed') throw new Error(`the run ended as ${status}`);
    return { ms: now() - began, accepted, tasks: tasks.length };
  },

  /** Submits to an idle bus, one task every `everyMs`; the agent notes the delays. */
  async stamps(count, everyMs) {
    for (let i = 0; i < count; i++) {
      await client.result(await client.submit('bench-stamp', { sentAt: now() }));
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  },

  /** Submits one task and does not wait for it. */
  async leave(name) {
    await client.submit(name, {});
  },

  /** Submits tasks that wait; tasks accepted per second. */
  async fill(count, window) {
    const began = now();
    await inWindow(count, window, () => client.submit('bench-count', body));
    const rate = (count * 1000) / (now() - began);
    await client.instance.dispatcher.flushed();
    return rate;
  },
  payloadBytes: () => JSON.stringify(body).length,

  /** Joins `count` agents straight in the registry's store, then looks agents up as any client does. */
  async lookups(count, times) {
    const { agents } = client.instance.ports;
    const card = (i) => ({
      agent_id: `agent-${i}`,
      agent_name: `Agent ${i}`,
      capabilities: ['build', `skill-${i % 200}`].map((name) => ({ name, description: '', parameters: {}, tags: [] })),
      capacity: 4,
      tags: [`zone-${i % 10}`],
      metadata: {},
    });
    let i = 0;
    await inWindow(count, 200, () => agents.join(card(i), `agent-${i++}-x`, 'full', 600_000));
    await client.agents({ capabilities: ['build'] });
    const timed = async (name) => {
      const began = now();
      const found = await client.agents({ capabilities: [name] });
      if (found.length === 0) throw new Error(`nobody offers ${name}`);
      return now() - began;
    };
    const [few, all] = [[], []];
    for (let turn = 0; turn < times; turn++) {
      few.push(await timed(`skill-${turn % 200}`));
      if (turn % 5 === 0) all.push(await timed('build'));
    }
    return { p99: percentile(few, 0.99), p50: median(few), all_p99: percentile(all, 0.99) };
  },
});
