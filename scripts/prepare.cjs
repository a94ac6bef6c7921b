// What `npm start` and `npm test` need before they can begin, on a fresh clone of a bare machine: Node, packages, dist/.
// Node's own modules only: nothing else is there yet.
const { spawnSync } = require('node:child_process');
const { existsSync, readdirSync, statSync, writeFileSync } = require('node:fs');
const { join, resolve } = require('node:path');

const root = resolve(__dirname, '..');
const OLDEST = [20, 19];

/** Ends the process with an explanation if this Node is too old. */
function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return;
  fail(
    `Muster needs Node ${OLDEST.join('.')} or newer and this is ${process.versions.node}, so nothing was started.\n` +
      'Next: install Node 22 or 24 from https://nodejs.org, or `nvm install 22`.',
  );
}

/** `npm ci` if packages are missing or older than the lock file. */
function installDependencies() {
  const installed = modified(join(root, 'node_modules/.package-lock.json'));
  if (installed >= modified(join(root, 'package-lock.json'))) return;
  say('Packages: installing what package-lock.json lists (npm ci)');
  // npm names its own script when it runs us; a bare `npm` may be missing from PATH or be another version.
  const npm = process.env.npm_execpath;
  const [command, first] = npm && /\.c?js$/.test(npm) ? [process.execPath, [npm]] : ['npm', []];
  // Development packages always: TypeScript is one of them, and NODE_ENV=production would leave it out.
  // Errors shown even under `npm test --silent`: the outer npm's log level would otherwise hide why this one failed.
  const code = run(command, [...first, 'ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']);
  if (code !== 0)
    fail(`npm ci failed (${code}), so Muster cannot run. Next: read its lines above, then \`npm ci\` again.`);
}

/** Builds dist/ if a source is newer than the last build that succeeded. Returns the exit code. */
function build({ always = false } = {}) {
  const stamp = join(root, 'dist/.built');
  const newest = Math.max(newestIn(join(root, 'src')), modified(join(root, 'tsconfig.build.json')));
  if (!always && modified(stamp) > newest) return 0;
  say('Build: compiling src/ to dist/');
  const code = run(process.execPath, [join(root, 'scripts/build.cjs')]);
  // Written after success only: tsc leaves files behind when it fails, and they must not pass for a build.
  if (code === 0) writeFileSync(stamp, '');
  return code;
}

/** Runs a command in the checkout with our terminal; resolves to its exit code. */
function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) process.stderr.write(`${command}: ${error.message}\n`);
  return status ?? 1;
}

function newestIn(directory) {
  let newest = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    newest = Math.max(newest, entry.isDirectory() ? newestIn(path) : modified(path));
  }
  // The directory itself changes when a file is removed, which no file's time shows.
  return Math.max(newest, modified(directory));
}

function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

function say(line) {
  process.stderr.write(`${line}\n`);
}

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

module.exports = { root, requireNode, installDependencies, build, run, say, fail };
