// Builds dist/: tsc emits CommonJS, then the Lua scripts are copied beside the modules that run them.
const { execFileSync } = require('node:child_process');
const { cpSync, mkdirSync, readdirSync, rmSync } = require('node:fs');
const { dirname, join } = require('node:path');

const root = join(__dirname, '..');
const src = join(root, 'src');
const dist = join(root, 'dist');

rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
for (const entry of readdirSync(src, { recursive: true })) {
  if (!entry.endsWith('.lua')) continue;
  const to = join(dist, entry);
  mkdirSync(dirname(to), { recursive: true });
  cpSync(join(src, entry), to);
}
