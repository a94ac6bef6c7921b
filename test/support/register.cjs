// Lets plain node run the TypeScript sources: `node -r ./test/support/register.cjs file.ts`, or require() it first.
// For what runs outside jest's own transform: its global setup, and child processes that a test kills.
const { existsSync, readFileSync } = require('node:fs');
const Module = require('node:module');
const { dirname, join, resolve } = require('node:path');
const { transformSync } = require('@swc/core');

const root = resolve(__dirname, '../..');
const entries = { muster: 'src/index.ts', 'muster/testing': 'src/testing/index.ts' };
const resolveFilename = Module._resolveFilename;

Module._resolveFilename = function resolveSource(request, parent, ...rest) {
  if (entries[request]) return join(root, entries[request]);
  // Sources name their neighbours './x.js', as Node sees them after the build; here only x.ts exists.
  if (/^\.{1,2}\/.*\.js$/.test(request) && parent?.filename) {
    const source = resolve(dirname(parent.filename), request.replace(/\.js$/, '.ts'));
    if (existsSync(source)) return source;
  }
  return resolveFilename.call(this, request, parent, ...rest);
};

require.extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(readFileSync(filename, 'utf8'), {
    filename,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
    swcrc: false,
  });
  module._compile(code, filename);
};
