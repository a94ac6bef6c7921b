// A measured process: answers its parent's commands over IPC and ends with it.
const { cpuUs } = require('./measure.cjs');

/**
 * @param {Record<string, (...args: any[]) => unknown>} commands
 */
function actor(commands) {
  const known = { cpu: cpuUs, ...commands };
  process.on('message', async ({ id, command, args }) => {
    try {
      const value = await known[command](...args);
      process.send({ id, value });
    } catch (error) {
      process.send({ id, error: error?.stack ?? String(error) });
    }
  });
  // The parent is gone: so are the services.
  process.on('disconnect', () => process.exit(0));
}

module.exports = { actor };
