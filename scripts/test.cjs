// `npm test`: type check, lint, build and every test, against private real brokers, from a fresh clone of a bare machine.
// Goes on after a failure so that one run shows everything; the last line is `N passed, N failed`. Arguments go to jest.
const { existsSync, mkdtempSync, readFileSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { build, installDependencies, requireNode, root, run, say } = require('./prepare.cjs');

// Foreign AMQP clients for the interop tests. Without them those tests skip themselves, so a failure here is none.
const FOREIGN_CLIENTS = ['python3-pika', 'amqp-tools'];

async function main() {
  requireNode();
  installDependencies();
  const failedSteps = [
    step('Type check', () => run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--noEmit'])),
    step('Lint', () => run(process.execPath, [join(root, 'node_modules/@biomejs/biome/bin/biome'), 'check', '.'])),
    step('Build', () => build({ always: true })),
    await prepareServers(),
  ].filter((failed) => failed);

  const { passed, failed, skipped } = runJest(process.argv.slice(2));
  const allFailed = failed + failedSteps.length;
  if (failedSteps.length > 0) say(`Failed before the tests: ${failedSteps.join(', ')}`);
  process.stdout.write(`\n${passed} passed, ${allFailed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
  process.exitCode = allFailed === 0 ? 0 : 1;
}

/** The step's title if it failed. */
function step(title, action) {
  say(`${title}: running`);
  const code = action();
  say(`${title}: ${code === 0 ? 'ok' : 'FAILED'}`);
  return code === 0 ? undefined : title;
}

// Found or installed before jest starts: apt-get can take longer than any test may.
async function prepareServers() {
  const { MUSTER_TEST_AMQP_URL: amqp, MUSTER_TEST_REDIS_URL: redis } = process.env;
  const services = [...(amqp ? [] : ['rabbitmq']), ...(redis ? [] : ['redis'])];
  try {
    const { findServices } = require('../dist/local/find.js');
    await findServices({ services, log: say });
  } catch (error) {
    say(error.message);
    return 'Servers';
  }
  await installForeignClients();
  return undefined;
}

async function installForeignClients() {
  const { installPackages, mayInstall, missingPackages } = require('../dist/local/install.js');
  if (!mayInstall()) return;
  const missing = missingPackages(FOREIGN_CLIENTS);
  if (missing.length === 0) return;
  await installPackages(missing, { log: say }).catch((error) => say(error.message));
}

function runJest(args) {
  const directory = mkdtempSync(join(tmpdir(), 'muster-report-'));
  const report = join(directory, 'jest.json');
  try {
    const jest = join(root, 'node_modules/jest/bin/jest.js');
    const code = run(process.execPath, [jest, '--json', `--outputFile=${report}`, ...args]);
    return count(existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined, code);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function count(result, code) {
  // No report: jest ended before it could write one (a setup that threw, say). That is one failure, not none.
  if (!result) return { passed: 0, failed: 1, skipped: 0 };
  // A suite that failed to run has no tests to count, yet must not go unseen.
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return {
    passed: result.numPassedTests,
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.stdout.write('\n0 passed, 1 failed\n');
  process.exitCode = 1;
});
