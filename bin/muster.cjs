#!/usr/bin/env node
// `muster`: runs dist/cli/main.js. In a checkout that was not built yet it builds first, where the compiler is there.
const { spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const root = join(__dirname, '..');
const main = join(root, 'dist', 'cli', 'main.js');

if (!existsSync(main)) {
  if (!existsSync(join(root, 'node_modules', 'typescript')) || !existsSync(join(root, 'src'))) {
    process.stderr.write(
      `error: Muster is not built: ${main} is missing. Next, in ${root}: npm install && npm run build\n`,
    );
    process.exit(1);
  }
  process.stderr.write('Building Muster (once)...\n');
  // What the compiler says goes to stderr: stdout is for the command's own answer.
  const built = spawnSync(process.execPath, [join(root, 'scripts', 'build.cjs')], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (built.status !== 0 || !existsSync(main)) {
    process.stderr.write(`error: Muster could not be built. Next, in ${root}: npm run build\n`);
    process.exit(1);
  }
}

void require(main).main();
