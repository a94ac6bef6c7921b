// A program that starts private services and then only waits to be killed; prints what a test needs to look for afterwards.
require('../support/register.cjs');
const { startServices } = require('../../src/local/services.ts');

const { directory, keepData } = JSON.parse(process.argv[2]);
startServices({ directory, keepData, install: false }).then(
  (services) => {
    setInterval(() => {}, 60_000);
    process.stdout.write(`${JSON.stringify({ ...services, pids: services.pids })}\n`);
  },
  (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  },
);
