// BullMQ flows, for the graph figures: one file, two roles, each a process of its own.
const { FlowProducer, QueueEvents, Worker } = require('bullmq');
const { actor } = require('../actor.cjs');
const { now } = require('../measure.cjs');
const { shapes } = require('../shapes.cjs');

const QUEUE = 'bench';
let closers = [];
let flows;
let events;

function connectionOf(redisUrl) {
  const { hostname, port, password } = new URL(redisUrl);
  return { host: hostname, port: Number(port), password, maxRetriesPerRequest: null };
}

/** The same keys and edges as a tree: a BullMQ parent is what waits. */
function treeOf(tasks) {
  const byKey = new Map(tasks.map((task) => [task.key, task]));
  // By hand, not by recursion into `after`: a chain is as deep as it is long.
  const made = new Map();
  for (const task of tasks) {
    const children = task.after.map((key) => made.get(key));
    made.set(task.key, { name: task.key, queueName: QUEUE, data: {}, ...(children.length > 0 && { children }) });
  }
  return made.get([...byKey.keys()].at(-1));
}

actor({
  async open({ redisUrl, role, concurrency }) {
    const connection = connectionOf(redisUrl);
    if (role === 'agent') {
      const agent = new Worker(QUEUE, async () => null, { connection, concurrency });
      await agent.waitUntilReady();
      closers = [agent];
      return;
    }
    flows = new FlowProducer({ connection });
    events = new QueueEvents(QUEUE, { connection });
    await events.waitUntilReady();
    closers = [flows, events];
  },
  async run(shape, ...size) {
    const tasks = shapes[shape](...size);
    const tree = treeOf(tasks);
    const began = now();
    const { job: root } = await flows.add(tree);
    await root.waitUntilFinished(events);
    return { ms: now() - began, tasks: tasks.length };
  },
  async close() {
    for (const closer of closers) await closer.close();
  },
});
