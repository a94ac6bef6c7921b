// Begins its life when the parent spawns it; says when its agent had joined and when it was at work on a task that waited.
const { agent, capability } = require('../../dist/index.js');
const { now } = require('../measure.cjs');

const [id, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const handled = new Promise((resolve) => {
  globalThis.entered = resolve;
});
const offer = capability('bench-start').handle(() => {
  globalThis.entered(now());
  return null;
});

agent(id, offer)
  .start({ settings })
  .then(async (running) => {
    const joinedAt = now();
    const enteredAt = await handled;
    process.send({ joinedAt, enteredAt });
    await running.stop();
    process.exit(0);
  });
