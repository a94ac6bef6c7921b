// The manager, as `muster up` runs it, in a process of its own.
const { actor } = require('../actor.cjs');
const { serve } = require('../../dist/index.js');

let manager;

actor({
  async open(settings) {
    manager = await serve({ settings });
  },
  close: () => manager.stop(),
});
