// `npm start`: from a fresh clone to the running demo. Prepares what is missing, then hands over to the CLI.
// Arguments go to `muster demo`; signals too, and its exit code is ours.
const { spawn } = require('node:child_process');
const { readFileSync } = require('node:fs');
const { constants } = require('node:os');
const { join } = require('node:path');
const { build, fail, installDependencies, requireNode, root } = require('./prepare.cjs');

requireNode();
installDependencies();
if (build() !== 0) fail('The build failed, so there is nothing to start. Next: `npm run typecheck`.');

const demo = spawn(process.execPath, [join(root, 'dist/cli/main.js'), 'demo', ...process.argv.slice(2)], {
  cwd: root,
  // The channel carries nothing: it closes when we are killed, which is how the demo learns of it.
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
});
// Listening also keeps us alive until the demo has cleaned up: ended first, we would give the prompt back too early.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => demo.kill(signal));
// Killed, npm takes its shell along, or leaves it waiting for us: the demo would go on with nobody in front of it.
if (process.env.npm_lifecycle_event === 'start') {
  const before = starters();
  setInterval(() => starters() === before || demo.kill('SIGTERM'), 300).unref();
}
demo.on('error', (error) => fail(`The demo could not be started: ${error.message}`));
demo.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));

/** Who started us: the shell that npm runs its scripts in and, where /proc tells, npm itself. */
function starters() {
  const shell = `/proc/${process.ppid}`;
  try {
    // A shell that made way for us leaves npm as our parent: what is above npm may go, as under nohup.
    if (readFileSync(`${shell}/comm`, 'utf8') !== 'sh\n') return `${process.ppid}`;
    return `${process.ppid} ${/^PPid:.*$/m.exec(readFileSync(`${shell}/status`, 'utf8'))}`;
  } catch {
    return `${process.ppid}`;
  }
}
