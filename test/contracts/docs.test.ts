// The docs say what the source says, in both directions. Tables between markers are made here: UPDATE_DOCS=1 writes them.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { settings } from '../../src/config.js';
import { EVENT_NAMES } from '../../src/contracts/events.js';
import { TASK_REASONS } from '../../src/contracts/task.js';
import { DEFAULT_WEIGHTS, P0_RUN, starvationBound } from '../../src/decide/drain.js';
import { errorTable } from '../../src/errors.js';
import { KEY_KINDS, keysFor } from '../../src/redis/keys.js';

const root = path.resolve(__dirname, '../..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const update = process.env.UPDATE_DOCS === '1';

/** Holds what stands between the markers to `content`, or writes it. */
function generated(file: string, name: string, content: string): void {
  const text = read(file);
  const begin = new RegExp(`<!-- ${name}: begin .*-->\n`).exec(text)!;
  const start = begin.index + begin[0].length;
  const end = text.indexOf(`<!-- ${name}: end -->`);
  if (update) writeFileSync(path.join(root, file), text.slice(0, start) + content + text.slice(end));
  else expect(text.slice(start, end)).toBe(content);
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows]
    .map((row) => `| ${row.join(' | ')} |\n`)
    .join('')
    .replace(/\| --- (?=\|)/g, '|---');
const escaped = (text: string): string => text.replaceAll('|', '\\|');

// ---------------------------------------------------------------- settings, errors, keys, events

it('docs/settings.md lists every setting with its default', () => {
  const { properties } = z.toJSONSchema(settings, { io: 'output' }) as {
    properties: Record<string, Record<string, unknown>>;
  };
  const kind = (setting: Record<string, unknown>): string => {
    if (Array.isArray(setting.enum)) return setting.enum.map((value) => `\`${value}\``).join(' ');
    if (setting.type === 'integer' || setting.type === 'number') return `${setting.minimum} to ${setting.maximum}`;
    return typeof setting.pattern === 'string' ? `\`${escaped(setting.pattern)}\`` : 'text';
  };
  const rows = Object.entries(properties).map(([name, setting]) => [
    `\`${name}\``,
    kind(setting),
    setting.default === undefined || setting.default === '' ? '' : `\`${setting.default}\``,
    String(setting.description),
  ]);
  generated('docs/settings.md', 'settings', table(['Variable', 'Values', 'Default', 'What it says'], rows));
});

it('docs speak of no setting that is not one', () => {
  const known = new Set(Object.keys(settings.shape));
  const wrong = pages().flatMap((page) =>
    [...read(page).matchAll(/\bMUSTER_[A-Z_]+\b/g)]
      .map((match) => match[0])
      .filter((name) => !known.has(name) && !name.startsWith('MUSTER_TEST_'))
      .map((name) => `${page}: ${name}`),
  );
  expect(wrong).toEqual([]);
});

it('docs/errors.md lists every error with its traits and its words', () => {
  const source = read('src/errors.ts');
  const words = (code: string): string => {
    const at = source.indexOf(`'${code}'`);
    const template = /=>\s*`([^`]*)`/.exec(source.slice(at))![1]!;
    return escaped(template.replace(/\$\{([^}]*)\}/g, (_, inner: string) => `{${inner.replace(/\.join\(.*/, '')}}`));
  };
  const rows = [...errorTable].map(([code, { status, retryable }]) => [
    `\`${code}\``,
    String(status),
    retryable ? 'yes' : 'no',
    words(code),
  ]);
  generated('docs/errors.md', 'errors', table(['Code', 'HTTP', 'Retryable', 'Message'], rows));
});

it('docs/errors.md lists every reason', () => {
  generated('docs/errors.md', 'reasons', `${TASK_REASONS.map((reason) => `- \`${reason}\`\n`).join('')}`);
});

it('docs speak of no error code that is not one', () => {
  const known = new Set([...errorTable.keys(), ...Object.keys(settings.shape), 'AGENT_BUSY']);
  const unknown = [...read('docs/errors.md').matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g)]
    .map((match) => match[1]!)
    .filter((code) => !known.has(code) && code !== 'NO_COLOR');
  expect(unknown).toEqual([]);
});

it('docs/redis-keys.md lists every kind of key', () => {
  const keys = keysFor('muster') as unknown as Record<string, unknown>;
  const sample: Record<string, unknown> = { ready: 0, held: 'reviewer-k3j9x2', reserved: 'reviewer', beat: 'reviewer' };
  const example = (kind: string): string => {
    const key = keys[kind];
    const of =
      sample[kind] ??
      (['run', 'members'].includes(kind) ? 'release-42' : kind === 'offers' ? 'deploy' : 'release-42.deploy');
    return typeof key === 'function' ? (key as (of: unknown) => string)(of) : String(key);
  };
  const rows = Object.entries(KEY_KINDS).map(([kind, says]) => {
    const [type, ...rest] = says.split('; ');
    return [`\`${example(kind)}\``, type!, escaped(rest.join('; '))];
  });
  generated('docs/redis-keys.md', 'keys', table(['Key', 'Type', 'What it holds; how long'], rows));
});

it('every key that keys.ts builds is of a kind it lists', () => {
  const built = Object.keys(keysFor('muster')).filter(
    (name) => !['prefix', 'instanceChannel', 'registryChannel'].includes(name),
  );
  expect(built.sort()).toEqual(Object.keys(KEY_KINDS).sort());
});

it('docs/events.md lists every event with its fields', () => {
  const source = read('src/contracts/events.ts');
  const union = source.slice(
    source.indexOf('export interface MusterEvents {'),
    source.indexOf('export type EventName'),
  );
  const declared = union.split(/\n {2}'(?=[a-z]+\.[a-z]+':)/).slice(1);
  const expected = declared.map((text) => {
    const [name, type] = [text.slice(0, text.indexOf("'")), text.slice(text.indexOf("'"))];
    const fields = [...type.matchAll(/readonly (\w+)(\??):/g)].map(([, field, optional]) => `${field}${optional}`);
    return [name, ...(type.includes('OfTask') ? ['task', 'capability'] : []), ...fields];
  });
  const shown = [...read('docs/events.md').matchAll(/^\| `([a-z.]+)` \| ([^|]*) \| \S.* \|$/gm)].map(
    ([, name, fields]) => [name, ...[...fields!.matchAll(/`([^`]+)`/g)].map((match) => match[1])],
  );
  expect(shown).toEqual(expected);
  expect(shown.map(([name]) => name)).toEqual(EVENT_NAMES);
});

// ---------------------------------------------------------------- numbers, files, packages

it('docs/priority.md gives the bounds that drain.ts computes', () => {
  const page = read('docs/priority.md');
  for (const priority of [0, 1, 2, 3] as const) {
    expect(page).toMatch(new RegExp(`^\\| P${priority} \\| ${starvationBound(DEFAULT_WEIGHTS, priority)} \\|`, 'm'));
  }
  const [p1, p2, p3] = DEFAULT_WEIGHTS;
  expect(page).toContain(`After ${P0_RUN} of them in a row`);
  expect(page.replace(/\s+/g, ' ')).toContain(
    `P1 after ${p1} picks of more urgent classes, P2 after ${p2}, P3 after ${p3}`,
  );
});

describe('docs/protocol.md', () => {
  const examples = readdirSync(path.join(root, 'examples/protocol')).map((file) => `examples/protocol/${file}`);

  it('quotes every example whole', () => {
    const marker = /<!-- file: (\S+) -->\n(?:```\w+\n[\s\S]*?\n```\n)?/g;
    const page = read('docs/protocol.md');
    const made = page.replace(marker, (_, file: string) => {
      const language = file.endsWith('.py') ? 'python' : 'sh';
      return `<!-- file: ${file} -->\n\`\`\`${language}\n${read(file)}\`\`\`\n`;
    });
    if (update) writeFileSync(path.join(root, 'docs/protocol.md'), made);
    else expect(page).toBe(made);
    expect([...page.matchAll(/<!-- file: (\S+) -->/g)].map((match) => match[1]).sort()).toEqual(examples.sort());
  });

  it('quotes only what tests run', () => {
    const tests = ['pika', 'shell'].map((name) => read(`test/protocol/${name}.test.ts`)).join('');
    expect(examples.filter((file) => !tests.includes(`'${path.basename(file)}'`))).toEqual([]);
  });
});

it('docs/dependencies.md has every package of package.json with its version, and no other', () => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
  const rows = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \| (\S+) \|/gm)].map(([, name, version]) => [
    name,
    version,
  ]);
  expect(rows.sort()).toEqual(Object.entries({ ...dependencies, ...devDependencies }).sort());
});

it('docs/architecture.md names files that exist, and every room of src/', () => {
  const page = read('docs/architecture.md');
  const named = [...page.matchAll(/`((?:src|test)\/[^`]+)`/g)].map((match) => match[1]!);
  expect(named.filter((file) => !existsSync(path.join(root, file)))).toEqual([]);
  const rooms = readdirSync(path.join(root, 'src')).map((entry) =>
    statSync(path.join(root, 'src', entry)).isDirectory() ? `src/${entry}/` : `src/${entry}`,
  );
  expect(rooms.filter((room) => !page.includes(`\`${room}\``))).toEqual([]);
});

it('README.md is short', () => {
  expect(read('README.md').split('\n').length).toBeLessThan(120);
});

// ---------------------------------------------------------------- links

function pages(): string[] {
  const docs = (readdirSync(path.join(root, 'docs'), { recursive: true }) as string[])
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`);
  return ['README.md', 'CHANGELOG.md', ...docs];
}

const anchors = (page: string): string[] =>
  [...page.matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

it.each(pages())('links of %s lead somewhere', (page) => {
  const text = read(page).replace(/```[\s\S]*?```/g, '');
  const broken = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1]!)
    .filter((link) => !/^https?:/.test(link))
    .filter((link) => {
      const [file, anchor] = link.split('#') as [string, string | undefined];
      const target = file === '' ? page : path.posix.join(path.posix.dirname(page), file);
      if (!existsSync(path.join(root, target))) return true;
      return anchor !== undefined && !anchors(read(target)).includes(anchor);
    });
  expect(broken).toEqual([]);
});

it('every page of docs/ can be reached from the README', () => {
  const reached = new Set<string>();
  const visit = (page: string): void => {
    if (reached.has(page) || !existsSync(path.join(root, page))) return;
    reached.add(page);
    if (!page.endsWith('.md')) return;
    for (const [, link] of read(page).matchAll(/\]\(([^)\s#]+)/g)) {
      if (!/^https?:/.test(link!)) visit(path.posix.join(path.posix.dirname(page), link!));
    }
  };
  visit('README.md');
  expect(pages().filter((page) => !reached.has(page))).toEqual([]);
});
