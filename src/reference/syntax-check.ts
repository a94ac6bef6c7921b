/** Asks the real tools whether the changed code is sound: `tsc` where the repository has a tsconfig.json
 *  and a compiler can be found, and `node --check` for every changed JavaScript file. */
import { copyFile, readFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { runCommand } from './command.js';
import type { Dependencies } from './dependencies.js';
import { exists } from './paths.js';
import type { Finding } from './risk-rules.js';

export interface SyntaxCheckOptions {
  readonly checkout: string;
  /** Empty directory for copies. */
  readonly scratch: string;
  /** Changed files that exist at the new commit, relative. */
  readonly files: readonly string[];
  readonly dependencies: Dependencies;
  readonly signal: AbortSignal;
}

export interface CheckReport {
  readonly name: 'tsc' | 'node --check';
  readonly status: 'done' | 'skipped';
  readonly note: string;
  readonly findings: readonly Finding[];
}

const maxFiles = 100;

/** Type errors of the whole project; those outside the change are warnings, for they may be older than it. */
export async function typeCheck(options: SyntaxCheckOptions): Promise<CheckReport> {
  const skip = (note: string): CheckReport => ({ name: 'tsc', status: 'skipped', note, findings: [] });
  if (!(await exists(join(options.checkout, 'tsconfig.json')))) return skip('There is no tsconfig.json.');
  if (options.dependencies.state === 'missing') return skip(options.dependencies.note);
  const compiler = await findCompiler(options.checkout);
  if (compiler === null) return skip('TypeScript is installed neither in the repository nor beside Muster.');
  const result = await runCommand(process.execPath, [compiler.path, '--noEmit', '--pretty', 'false'], {
    cwd: options.checkout,
    signal: options.signal,
    timeoutMs: 180_000,
    headBytes: 1024 * 1024,
  });
  if (result.timedOut) return skip('tsc took longer than 180 s.');
  const findings = typeErrors(result.stdout, options);
  if (result.exitCode !== 0 && findings.length === 0) return skip(`tsc failed: ${result.output.trim().slice(0, 300)}`);
  return { name: 'tsc', status: 'done', note: `TypeScript ${compiler.version}.`, findings };
}

/** Syntax errors in changed JavaScript files. Nothing of them is executed. */
export async function syntaxCheck(options: SyntaxCheckOptions): Promise<CheckReport> {
  const scripts = options.files.filter((file) => /\.[cm]?js$/.test(file));
  const checked = scripts.slice(0, maxFiles);
  const findings: Finding[] = [];
  const pending = [...checked];
  const drain = async () => {
    for (let file = pending.shift(); file !== undefined; file = pending.shift()) {
      const error = await syntaxError(file, options);
      if (error !== null) findings.push(error);
    }
  };
  await Promise.all([drain(), drain()]);
  if (scripts.length === 0)
    return { name: 'node --check', status: 'skipped', note: 'No JavaScript changed.', findings };
  const left = scripts.length - checked.length;
  const note = `${checked.length} changed JavaScript files${left > 0 ? `; ${left} more were left out` : ''}.`;
  return { name: 'node --check', status: 'done', note, findings };
}

async function findCompiler(checkout: string): Promise<{ path: string; version: string } | null> {
  const candidates = [join(checkout, 'node_modules', 'typescript', 'package.json'), ownCompiler()];
  for (const manifest of candidates) {
    const text = manifest === null ? null : await readFile(manifest, 'utf8').catch(() => null);
    if (manifest === null || text === null) continue;
    const { version, bin } = JSON.parse(text) as { version?: string; bin?: { tsc?: string } };
    if (version !== undefined && bin?.tsc !== undefined) return { path: resolve(manifest, '..', bin.tsc), version };
  }
  return null;
}

function ownCompiler(): string | null {
  try {
    return require.resolve('typescript/package.json');
  } catch {
    return null; // not shipped with Muster, only used to build it
  }
}

function typeErrors(output: string, options: SyntaxCheckOptions): Finding[] {
  const changed = new Set(options.files);
  return output.split('\n').flatMap((row): Finding[] => {
    const match = /^(?:(.+?)\((\d+),\d+\): )?error (TS\d+): (.*)$/.exec(row);
    if (match === null) return [];
    const file = match[1] === undefined ? 'tsconfig.json' : tidy(options.checkout, match[1]);
    const inside = changed.has(file);
    return [
      {
        file,
        line: Number(match[2] ?? 1),
        rule: 'type-check',
        severity: inside ? 'error' : 'warning',
        message: `${match[3]}: ${match[4]}${inside ? '' : ' (outside the changed files)'}`.slice(0, 500),
      },
    ];
  });
}

function tidy(checkout: string, file: string): string {
  return relative(checkout, resolve(checkout, file)).replaceAll('\\', '/');
}

async function syntaxError(file: string, options: SyntaxCheckOptions): Promise<Finding | null> {
  const complaint = await check(join(options.checkout, file), options);
  if (complaint === null) return null;
  // Bundled code has modules in plain .js files without saying so in package.json: try it as a module before complaining.
  const modular = /import statement outside|Unexpected token 'export'|import\.meta|await is only valid/.test(complaint);
  if (modular && file.endsWith('.js')) {
    const copy = join(options.scratch, `${basename(file, '.js')}-${file.length}.mjs`);
    await copyFile(join(options.checkout, file), copy);
    const second = await check(copy, options);
    return second === null ? null : syntaxFinding(file, second);
  }
  return syntaxFinding(file, complaint);
}

async function check(path: string, options: SyntaxCheckOptions): Promise<string | null> {
  const result = await runCommand(process.execPath, ['--check', path], {
    cwd: options.checkout,
    signal: options.signal,
    timeoutMs: 30_000,
    headBytes: 16_384,
  });
  return result.exitCode === 0 ? null : result.stderr;
}

function syntaxFinding(file: string, stderr: string): Finding {
  const line = Number(/^[^\n]*:(\d+)\n/.exec(stderr)?.[1] ?? 1);
  const message = /^SyntaxError: (.*)$/m.exec(stderr)?.[1] ?? 'node --check refuses it';
  return { file, line, rule: 'syntax', severity: 'error', message: `${message}.`.slice(0, 500) };
}
