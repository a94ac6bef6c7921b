// Builds dist/: tsc emits CommonJS, then the Lua scripts are copied beside the modules that run them.
// Built aside and swapped in whole: a program that is running from dist/ never meets half a build.
const { execFileSync } = require('node:child_process');
const { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } = require('node:fs');
const { dirname, join } = require('node:path');

const root = join(__dirname, '..');
const src = join(root, 'src');
const dist = join(root, 'dist');
const fresh = join(root, `.dist-${process.pid}`);
const stale = `${fresh}-old`;

try {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh], {
    cwd: root,
    stdio: 'inherit',
  });
  for (const entry of readdirSync(src, { recursive: true })) {
    if (!entry.endsWith('.lua')) continue;
    const to = join(fresh, entry);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(join(src, entry), to);
  }
  if (existsSync(dist)) renameSync(dist, stale);
  renameSync(fresh, dist);
} finally {
  rmSync(fresh, { recursive: true, force: true });
  rmSync(stale, { recursive: true, force: true });
}
