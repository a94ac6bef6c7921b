// One private RabbitMQ and one Redis for the whole run; test files find them in MUSTER_TEST_AMQP_URL and MUSTER_TEST_REDIS_URL.
// Those already set are used as they are (a broker of another version, say); MUSTER_TEST_NO_SERVICES=1 starts none.
const { mkdtempSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

// These need no shared services: pure functions, and tests that start their own.
const WITHOUT_SERVICES = /(^|\/)test\/(decide|contracts|local)(\/|$)/;

module.exports = async function globalSetup(globalConfig) {
  const { MUSTER_TEST_AMQP_URL: amqp, MUSTER_TEST_REDIS_URL: redis, MUSTER_TEST_NO_SERVICES: none } = process.env;
  const asked = globalConfig.nonFlagArgs ?? [];
  const needsNone = asked.length > 0 && asked.every((path) => WITHOUT_SERVICES.test(path));
  if (none === '1' || needsNone || (amqp && redis)) return;

  require('./register.cjs');
  const { startServices } = require('../../src/local/services.ts');
  const services = await startServices({
    directory: mkdtempSync(join(tmpdir(), 'muster-test-')),
    rabbitmq: !amqp,
    redis: !redis,
    log: process.env.MUSTER_TEST_VERBOSE === '1' ? (line) => process.stderr.write(`${line}\n`) : () => {},
  });
  // Set before jest forks the processes that run test files: they inherit it.
  if (services.amqpUrl) process.env.MUSTER_TEST_AMQP_URL = services.amqpUrl;
  if (services.redisUrl) process.env.MUSTER_TEST_REDIS_URL = services.redisUrl;
  globalThis.musterTestServices = services;
};
