// What can go wrong: names and JSON from hostile hands, wrong logins, services that are not there. A clear error, the right exit
// code, one JSON document, and nothing stored.
import { eventually } from '../support/eventually.js';
import { type World, world } from '../support/world.js';
import { type Environment, environmentOf, json, muster } from './terminal.js';

jest.setTimeout(90_000);

let w: World;
let env: Environment;
beforeAll(async () => {
  w = await world();
  env = environmentOf(w);
});
afterAll(() => w.close());

const NOWHERE = { AMQP_URL: 'amqp://u:s3cret@127.0.0.1:1', REDIS_URL: 'redis://:s3cret@127.0.0.1:1' };

it.each(['#', '*', 'a.b', 'x'.repeat(300), '__proto__', '', '../x', 'a b', '\u001b[31mred'])(
  'refuses the capability %j and stores nothing',
  async (name) => {
    const { code, document, err } = await json(['submit', name], env);
    expect([code, document.error.code]).toEqual([2, 'INVALID_INPUT']);
    expect(err).not.toContain('\u001b[31m');
    expect(await w.storedKeys()).toEqual([]);
  },
);

it.each([
  ['{"a": }', 'line 1, column 7: expected a value'],
  ["{'a': 1}", "line 1, column 2: expected a name in double quotes or '}'"],
  ['{\n  "a": 1,\n}', 'line 3, column 1: expected a name in double quotes'],
  ['[1 2]', "line 1, column 4: expected ',' or ']'"],
  ['{"a": 1', 'the text ends'],
  ['', 'line 1, column 1: expected a value'],
  ['{} {}', 'line 1, column 4: expected nothing more'],
])('says where the JSON %j stops being JSON', async (text, place) => {
  const { code, document } = await json(['submit', 'echo', '--input', '-'], env, text);
  expect(code).toBe(2);
  expect(document.error.message).toContain(place);
});

it('refuses input that is nested too deep or too large, and takes __proto__ as the name it is', async () => {
  const deep = await json(['submit', 'echo', '-i', '-'], env, `${'['.repeat(200_000)}${']'.repeat(200_000)}`);
  expect([deep.code, deep.document.error.code]).toEqual([2, 'INVALID_INPUT']);
  const large = await json(['submit', 'echo', '-i', '-'], env, JSON.stringify('x'.repeat(2_000_000)));
  expect([large.code, large.document.error.code]).toEqual([2, 'PAYLOAD_TOO_LARGE']);
  const odd = await muster(['submit', 'echo', '-i', '{"__proto__":{"polluted":1}}'], env);
  expect(odd.code).toBe(0);
  await w.client.cancel(odd.out.trim());
});

it.each([
  [['submit', 'echo', '--timeout', '60'], 'write a number and ms, s, m, h or d'],
  [['submit', 'echo', '--priority', 'P9'], 'P0 to P3'],
  [['submit', 'echo', '--deadline', '2026-01-01T10:00:00'], 'write it with an offset'],
  [['submit', 'echo', '--key', 'a'], 'use it with --after'],
  [['submit', 'echo', '--input', '@/nowhere/x.json'], 'cannot be read'],
  [['task', 'list', '--state', 'asleep'], 'use blocked, scheduled'],
  [['task', 'list', '--limit', '-1'], 'not a number'],
  [['events', 'a..b'], 'words joined by dots'],
])('%j is wrong usage, and says what is right', async (words, hint) => {
  const { code, document } = await json(words, env);
  expect(code).toBe(2);
  expect(document.error.message).toContain(hint);
});

it('knows no other commands and options, and suggests what was meant', async () => {
  const typo = await muster(['submti', 'echo'], env);
  expect([typo.code, typo.out]).toEqual([2, '']);
  expect(typo.err).toContain('submit');
  expect(await json(['submit', 'echo', '--piority', 'P0'], env)).toMatchObject({
    code: 2,
    document: { error: { code: 'USAGE' } },
  });
});

it('says where a run file is wrong', async () => {
  const file = 'tasks:\n  - key: a\n    capability: build\n  - key: b\n    capability: Bad Name\n';
  const meaning = await json(['run', '-'], env, file);
  expect([meaning.code, meaning.document.error.message]).toEqual([2, expect.stringContaining('line 5, column 17')]);
  const syntax = await json(['run', '-'], env, 'tasks:\n  - key: [a\n');
  expect([syntax.code, syntax.document.error.message]).toEqual([2, expect.stringMatching(/line \d+, column \d+/)]);
  const circle = '{"tasks":[{"key":"a","capability":"x","after":["b"]},{"key":"b","capability":"x","after":["a"]}]}';
  expect((await json(['run', '-'], env, circle)).document.error.code).toBe('CYCLIC_RUN');
});

it('exits 4 within seconds when nothing listens, and tells no password', async () => {
  for (const words of [['submit', 'echo'], ['task', 'list'], ['doctor'], ['manager']]) {
    const { code, document, err } = await json(words, { ...env, ...NOWHERE });
    expect([words, code]).toEqual([words, 4]);
    expect(JSON.stringify(document) + err).not.toContain('s3cret');
  }
});

it('exits 4 when nothing is configured, and names the next step', async () => {
  const { code, document } = await json(['task', 'list'], {});
  expect([code, document.error.message]).toEqual([4, expect.stringContaining('muster up')]);
  expect(await json(['doctor'], {})).toMatchObject({ code: 4, document: { status: 'unreachable' } });
  expect(await json(['task', 'list'], { AMQP_URL: 'amqp://127.0.0.1' })).toMatchObject({ code: 2 });
});

it('exits 4 when a login is refused', async () => {
  const wrong = (url: string) => url.replace(/\/\/([^:]*):[^@]*@/, '//$1:wrong@');
  const broker = { ...env, AMQP_URL: wrong(env.AMQP_URL!) };
  expect(await json(['submit', 'echo'], broker)).toMatchObject({
    code: 4,
    document: { error: { code: 'BROKER_REFUSED' } },
  });
  const store = { ...env, REDIS_URL: wrong(env.REDIS_URL!) };
  expect(await json(['task', 'list'], store)).toMatchObject({
    code: 4,
    document: { error: { code: 'STORE_REFUSED' } },
  });
  const { code, document } = await json(['doctor'], broker);
  expect(code).toBe(4);
  const levels = Object.fromEntries(
    document.findings.map((one: { check: string; level: string }) => [one.check, one.level]),
  );
  expect(levels).toMatchObject({ broker: 'unreachable', store: 'ok' });
});

it('why answers while the broker is away, and doctor says what is parked, paused and unmanaged', async () => {
  const { id } = await w.client.submit('nobody', 1);
  await eventually(
    () => w.client.task(id),
    (task) => task?.status === 'dispatched',
  );
  const why = await json(['task', 'why', id], { ...env, AMQP_URL: NOWHERE.AMQP_URL });
  expect(why).toMatchObject({ code: 0, document: { reason: 'broker_unreachable' } });
  expect((await json(['task', 'why', id], env)).document.reason).toBe('no_agent_offers');
  await muster(['queue', 'pause', 'nobody'], env);
  const { code, document } = await json(['doctor'], env);
  expect([code, document.status]).toEqual([1, 'warnings']);
  const warned = document.findings.filter((one: { level: string }) => one.level === 'warning');
  expect(warned.map((one: { check: string }) => one.check).sort()).toEqual([
    'capability',
    'managers',
    'parked',
    'paused',
  ]);
  for (const finding of warned)
    expect(finding).toMatchObject({ cause: expect.any(String), effect: expect.any(String), next: expect.any(String) });
});
