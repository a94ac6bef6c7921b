// The structure of src/, enforced: what docs/architecture.md says of layers, purity, sizes and names is so.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(__dirname, '../..');
const src = path.join(root, 'src');

interface Source {
  /** Below src/, with '/'. */
  readonly file: string;
  readonly text: string;
  /** Without comments and strings' contents left as they are: for words in code. */
  readonly code: string;
  /** `code` without what stands in quotes. */
  readonly words: string;
  readonly imports: readonly string[];
}

const sources: readonly Source[] = (readdirSync(src, { recursive: true }) as string[])
  .filter((file) => file.endsWith('.ts'))
  .map((file) => {
    const text = readFileSync(path.join(src, file), 'utf8');
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
    const imports = [...code.matchAll(/(?:from|import|import\()\s*'([^']+)'/g)].map((match) => match[1]!);
    const words = code.replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''");
    return { file: file.split(path.sep).join('/'), text, code, words, imports };
  });

/** Offenders as 'file: what', so that a failure reads as a list of what to mend. */
function offending(find: (source: Source) => readonly string[] | undefined): string[] {
  return sources.flatMap((source) => (find(source) ?? []).map((what) => `${source.file}: ${what}`));
}

/** Words of code that match, in files that are not excepted. */
const uses = (pattern: RegExp, except: (file: string) => boolean): string[] =>
  offending(({ file, words }) =>
    except(file) ? [] : [...words.matchAll(new RegExp(pattern, 'g'))].map((match) => match[0]),
  );

// ---------------------------------------------------------------- layers

const LAYERS: readonly (readonly string[])[] = [
  ['contracts', 'errors', 'ports'],
  ['decide'],
  ['bus', 'redis', 'telemetry', 'testing', 'local', 'config', 'clock', 'batch'],
  ['registry', 'tasks'],
  ['agent', 'reference'],
  ['cli', 'api', 'mcp'],
  ['index'],
];
const DOORS = ['cli', 'api', 'mcp'];

/** The room of a file: its folder below src/, or its own name. */
const roomOf = (file: string): string => file.split('/')[0]!.replace(/\.(ts|js)$/, '');
const layerOf = (room: string): number => LAYERS.findIndex((rooms) => rooms.includes(room));

/** What may be imported against the rule, with the reason. An entry that is not needed any more fails. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  'testing/memory-handle.ts -> bus/codec.js':
    'the same rules for messages live and in memory, or a test proves nothing',
  'testing/memory-ports.ts -> telemetry/emitter.js': 'only its type: memory is observed as the live ports are',
};

const edges = sources.flatMap(({ file, imports }) =>
  imports
    .filter((name) => name.startsWith('.'))
    .map((name) => {
      const target = path.posix.join(path.posix.dirname(file), name);
      return { file, target, from: roomOf(file), to: roomOf(target) };
    })
    .filter(({ from, to }) => from !== to),
);

function forbidden({ from, to }: { from: string; to: string }): string | undefined {
  if (layerOf(to) > layerOf(from)) return 'points up';
  if (DOORS.includes(from) && DOORS.includes(to)) return 'doors do not import each other';
  if ((from === 'bus' && to === 'redis') || (from === 'redis' && to === 'bus')) return 'bus and redis never meet';
  if (from === 'registry' && to === 'tasks') return 'tasks may import registry, not the other way round';
  if (from === 'testing' && layerOf(to) === 2 && to !== 'clock') return 'testing takes contracts, decide, clock, ports';
  return undefined;
}

it('has a layer for every folder and file of src/', () => {
  expect([...new Set(sources.map(({ file }) => roomOf(file)))].filter((room) => layerOf(room) < 0)).toEqual([]);
});

it('imports point down only', () => {
  const broken = edges.flatMap((edge) => {
    const why = forbidden(edge);
    return why === undefined || `${edge.file} -> ${edge.target}` in EXCEPTIONS
      ? []
      : [`${edge.file} -> ${edge.target}: ${why}`];
  });
  expect(broken).toEqual([]);
});

it('has no exception that is not needed', () => {
  const needed = new Set(
    edges.filter((edge) => forbidden(edge) !== undefined).map(({ file, target }) => `${file} -> ${target}`),
  );
  expect(Object.keys(EXCEPTIONS).filter((edge) => !needed.has(edge))).toEqual([]);
});

it('has no circle of imports between rooms', () => {
  const pairs = edges.map(({ from, to }) => `${from} ${to}`);
  const circles = [...new Set(pairs)].filter((pair) => pairs.includes(pair.split(' ').reverse().join(' ')));
  expect(circles).toEqual([]);
});

// ---------------------------------------------------------------- purity

it('decide/ and contracts/ are pure: no node modules, nothing async, no clock, no chance', () => {
  const pure = (file: string) => !['decide', 'contracts'].includes(roomOf(file));
  expect(
    offending(({ file, imports }) => (pure(file) ? [] : imports.filter((name) => name.startsWith('node:')))),
  ).toEqual([]);
  expect(uses(/\b(async|await|Promise|setTimeout|setImmediate|process)\b(?!')/, pure)).toEqual([]);
  expect(uses(/\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b/, pure)).toEqual([]);
});

it('only clock.ts touches the clock and chance', () => {
  const allowed = (file: string) => file === 'clock.ts' || CLOCKS.includes(file);
  expect(uses(/\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b/, allowed)).toEqual([]);
});

/** Shown to a person at a terminal, or read from what one typed ('in 10 minutes'): the moment is the terminal's own. */
const CLOCKS = ['cli/demo-run.ts', 'cli/progress-view.ts', 'cli/commands/doctor.ts', 'cli/commands/submit.ts'];

it('only config.ts reads the environment, but for what starts other programs', () => {
  const allowed = (file: string) => file === 'config.ts' || ENVIRONMENT.some((path) => file.startsWith(path));
  expect(uses(/\bprocess\.env\b/, allowed)).toEqual([]);
});
const ENVIRONMENT = [
  // Programs started from here inherit it, or a named part of it.
  'local/',
  'reference/command.ts',
  'cli/fleet.ts',
  // Handed to loadConfig() under the settings that win over it.
  'agent/connect.ts',
  // NO_COLOR is the terminal's, not a setting of Muster.
  'cli/output.ts',
  'cli/progress-view.ts',
];

it('throws errors of the table, never bare ones', () => {
  expect(uses(/\bnew (Type|Range)?Error\(/, (file) => BARE_ERRORS.some((path) => file.startsWith(path)))).toEqual([]);
});
const BARE_ERRORS = [
  'errors.ts',
  // Caught by itself, two lines on.
  'config.ts',
  'redis/client.ts',
  // What a dead socket is destroyed with, and what an exporter answers: read by a library, not by callers.
  'bus/connection.ts',
  'bus/socket.ts',
  'telemetry/tracing-sdk.ts',
  // The reason of an aborted signal.
  'agent/agent.ts',
  // A broken invariant of the model: a bug in the model itself.
  'decide/task-moves.ts',
  // Failures of other programs, told to people in a terminal or to a task's own record.
  'local/',
  'reference/',
];

// ---------------------------------------------------------------- size and names

it('has no source file above 300 lines', () => {
  const lines = (text: string): number => text.split('\n').length - 1;
  expect(offending(({ text }) => (lines(text) > 300 ? [`${lines(text)} lines`] : []))).toEqual([]);
});

it('opens every file with what it is for', () => {
  expect(offending(({ text }) => (/^(#!.*\n)?(\/\/|\/\*\*)/.test(text) ? [] : ['no comment at its head']))).toEqual([]);
});

it('uses the words of the glossary', () => {
  // A word in code, as a whole or as a part of a camelCase name.
  const banned = /\b(jobs?|enqueue|dequeue|poison|morgue|utils?|helpers?|fn|cb|mgr)\b|\b\w+(Job|Helper|Util|Utils)\b/;
  // zod's own namespace is called so.
  expect(uses(banned, (file) => file === 'agent/capability.ts')).toEqual([]);
  const drawers = /(^|\/)(utils?|helpers?|lib|common|misc|interfaces|types)(\/|\.ts$)/;
  expect(sources.map(({ file }) => file).filter((file) => drawers.test(file))).toEqual([]);
});

it('exports by name, and never everything', () => {
  expect(uses(/export \* from/, () => false)).toEqual([]);
  expect(uses(/export default/, () => false)).toEqual([]);
});

// ---------------------------------------------------------------- Lua

describe('Lua scripts', () => {
  const scripts = (readdirSync(src, { recursive: true }) as string[]).filter((file) => file.endsWith('.lua'));
  it.each(scripts)('%s opens with its contract and scans nothing', (file) => {
    const text = readFileSync(path.join(src, file), 'utf8').replace(/^#!lua.*\n/, '');
    expect(text).toMatch(/^-- /);
    expect(text).not.toMatch(/'(KEYS|SCAN|FLUSHALL|FLUSHDB)'/i);
    expect(text.split('\n').length).toBeLessThanOrEqual(301);
  });
});

// ---------------------------------------------------------------- packages

interface Locked {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly resolved?: string;
}

describe('package-lock.json', () => {
  const lock = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Locked>>;
  };
  const known = new Set(Object.keys(lock.packages).map((name) => name.split('node_modules/').pop()));

  it('holds every optional dependency, so that another platform finds its own binary', () => {
    const absent = Object.entries(lock.packages).flatMap(([name, { optionalDependencies }]) =>
      Object.keys(optionalDependencies ?? {})
        .filter((optional) => !known.has(optional))
        .map((optional) => `${name}: ${optional}`),
    );
    expect(absent).toEqual([]);
  });

  it('names no registry', () => {
    expect(Object.values(lock.packages).filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  });
});

it('names no registry host and no folder of the machine it was made on', () => {
  const looked = ['package.json', 'package-lock.json', '.npmrc', 'jest.config.cjs', 'biome.json', 'README.md'];
  const folders = ['src', 'scripts', 'bin', 'docs', 'examples', 'schemas', '.ci'];
  const files = [
    ...looked,
    ...folders.flatMap((folder) => {
      try {
        return (
          readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true }) as import('node:fs').Dirent[]
        )
          .filter((entry) => entry.isFile())
          .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));
      } catch {
        return [];
      }
    }),
  ];
  const named = files.filter((file) =>
    /registry\.npmjs|npmmirror|\/work\/(main|shared)|registry=/.test(readFileSync(path.join(root, file), 'utf8')),
  );
  expect(named).toEqual([]);
});
