// What an operator does, with the real program against live services: submit, wait, run, look, act. stdout holds the answer and
// nothing else, and the exit code says how it went.
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capability } from '../../src/agent/capability.js';
import { task as taskSchema } from '../../src/contracts/task.js';
import { eventually } from '../support/eventually.js';
import { type World, world } from '../support/world.js';
import { type Environment, environmentOf, json, muster, start } from './terminal.js';

// Each command is a process: on a busy machine a test of ten of them takes its time.
jest.setTimeout(90_000);

let w: World;
let env: Environment;
beforeAll(async () => {
  w = await world();
  env = environmentOf(w);
  await w.manager();
  const echo = capability('echo').handle((input) => ({ said: input }));
  const fail = capability('fail', { retry: { max_attempts: 1 } }).handle(() => {
    throw new Error('no such branch');
  });
  await w.join('ann', [echo, fail], { concurrency: 4, tags: ['fast'] });
});
afterAll(() => w.close());

function file(name: string, text: string): string {
  const path = join(tmpdir(), `${w.prefix}-${name}`);
  writeFileSync(path, text);
  return path;
}

describe('submit', () => {
  it('prints the id alone', async () => {
    const { code, out, err } = await muster(['submit', 'echo', '--input', '{"a":1}'], env);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^[A-Za-z0-9_-]+\n$/);
    expect(await w.client.result(out.trim())).toEqual({ said: { a: 1 } });
  });

  it('waits and prints the outcome, input from stdin or a file', async () => {
    const piped = await json(['submit', 'echo', '--input', '-', '--wait', '--priority', 'critical'], env, '{"b":2}');
    expect(piped).toMatchObject({ code: 0, document: { status: 'completed', output: { said: { b: 2 } } } });
    expect(await w.client.task(piped.document.id)).toMatchObject({ priority: 'P0' });
    const path = file('input.json', '[1,2]');
    const read = await muster(['submit', 'echo', '-i', `@${path}`, '-w'], env);
    expect(read.code).toBe(0);
    expect(JSON.parse(read.out)).toEqual({ said: [1, 2] });
  });

  it('exits 1 when the task dies, and says why', async () => {
    const { code, document } = await json(['submit', 'fail', '--wait'], env);
    expect(code).toBe(1);
    expect(document).toMatchObject({ status: 'dead', error: { message: expect.stringContaining('no such branch') } });
    const text = await muster(['task', 'why', document.id], env);
    expect(text.out).toMatch(/^Dead since .*no such branch\.\n$/);
  });

  it('exits 6 when it takes longer than one waits, and goes on', async () => {
    const { code, document } = await json(['submit', 'nobody', '--wait', '--wait-timeout', '200ms'], env);
    expect(code).toBe(6);
    expect(document).toMatchObject({ timed_out: true, status: expect.stringMatching(/ready|dispatched/) });
  });

  it('gives the same task for the same key, and exits 5 for other work under it', async () => {
    const words = ['submit', 'echo', '--idempotency-key', 'k1', '--input'];
    const [first, again] = [await json([...words, '1'], env), await json([...words, '1'], env)];
    expect(again.document.id).toBe(first.document.id);
    const other = await json([...words, '2'], env);
    expect(other).toMatchObject({ code: 5, document: { error: { code: 'IDEMPOTENCY_CONFLICT' } } });
  });

  it('adds a task to the run of the one it waits for, held for approval', async () => {
    const { document: first } = await json(['submit', 'echo', '--delay', '1h'], env);
    const run = await w.client.run({ tasks: [{ key: 'a', capability: 'echo', not_before: '2099-01-01T00:00:00Z' }] });
    const { document } = await json(
      ['submit', 'echo', '--after', `${run.id}.a`, '--key', 'b', '--approval', '--timeout', '5s'],
      env,
    );
    expect(document.id).toBe(`${run.id}.b`);
    const why = await json(['task', 'why', document.id], env);
    expect(why.document).toMatchObject({ reason: 'blocked_on_dependencies', facts: { approval: true } });
    expect((await json(['task', 'why', first.id], env)).document.reason).toBe('scheduled');
    expect((await json(['task', 'approve', document.id], env)).document.approved).toBe(true);
    expect((await json(['task', 'approve', document.id], env)).code).toBe(5);
    const cancelled = await json(['task', 'cancel', run.id, '--run'], env);
    // The second falls with the first, before its own turn comes.
    expect(cancelled).toMatchObject({ code: 0, document: { run: run.id, cancelled: 1 } });
    await muster(['task', 'cancel', first.id], env);
  });
});

describe('run', () => {
  it('submits a YAML file, waits, and shows its tasks', async () => {
    const path = file(
      'run.yaml',
      'tasks:\n  - {key: a, capability: echo}\n  - {key: b, capability: echo, after: [a]}\n',
    );
    const { code, document } = await json(['run', path, '--wait'], env);
    expect(code).toBe(0);
    expect(document).toMatchObject({
      run: { status: 'completed', total: 2, done: 2 },
      tasks: [{ key: 'a' }, { key: 'b' }],
    });
    const trace = await muster(['task', 'show', document.run.id, '--trace'], env);
    expect(trace.out).toContain('2 completed');
  });

  it('exits 1 when the run fails, and why leads to where it began', async () => {
    const path = file(
      'bad.json',
      '{"tasks":[{"key":"a","capability":"fail"},{"key":"b","capability":"echo","after":["a"]}]}',
    );
    const { code, document } = await json(['run', path, '--wait'], env);
    expect(code).toBe(1);
    const fallen = await json(['task', 'why', `${document.run.id}.b`], env);
    expect(fallen.document.reason).toBe('dependency_failed');
    expect(fallen.document.sentence).toContain("'a' (dead");
    const whole = await json(['task', 'why', document.run.id], env);
    expect(whole.document.id).toBe(`${document.run.id}.a`);
  });
});

describe('looking', () => {
  it('lists and shows tasks as the contract says', async () => {
    const { id } = await w.client.submit('echo', 'x');
    await w.client.result(id);
    const { document } = await json(['task', 'show', id], env);
    expect(taskSchema.parse(document)).toMatchObject({ id, status: 'completed' });
    const list = await json(['task', 'list', '--state', 'completed', '--capability', 'echo', '--limit', '3'], env);
    expect(list.document.length).toBeGreaterThan(0);
    expect((await muster(['task', 'list'], env)).out).toContain(id);
  });

  it('exits 3 for what is not there', async () => {
    for (const words of [
      ['task', 'show', 'nope'],
      ['task', 'cancel', 'nope'],
      ['agent', 'show', 'nope'],
    ]) {
      expect(await json(words, env)).toMatchObject({
        code: 3,
        document: { error: { code: expect.stringMatching(/_NOT_FOUND$/) } },
      });
    }
    expect(await json(['task', 'why', 'nope'], env)).toMatchObject({ code: 3, document: { reason: 'unknown_id' } });
  });

  it('finds agents, drains one, and lets it go on', async () => {
    const find = async (...words: string[]) => (await json(['agent', 'list', ...words], env)).document.length;
    expect([await find('--capability', 'echo'), await find('--tag', 'slow'), await find('--search', 'ann')]).toEqual([
      1, 0, 1,
    ]);
    expect((await json(['agent', 'drain', 'ann'], env)).document).toMatchObject({ agent: 'ann', draining: true });
    expect((await json(['agent', 'show', 'ann'], env)).document.draining).toBe(true);
    const { id } = await w.client.submit('echo', 1);
    expect((await json(['task', 'why', id], env)).document.reason).toBe('agents_draining');
    expect((await json(['agent', 'drain', 'ann', '--undo'], env)).document.draining).toBe(false);
    expect(await w.client.result(id)).toEqual({ said: 1 });
  });

  it('pauses a capability, says so, and resumes it', async () => {
    await muster(['queue', 'pause', 'echo'], env);
    const { id } = await w.client.submit('echo', 2);
    const { document } = await json(['queue', 'list'], env);
    const row = document.find((queue: { capability: string }) => queue.capability === 'echo');
    expect(row).toMatchObject({ paused: true, agents: 1 });
    expect(row.classes.map((one: { priority: string; ready: number }) => [one.priority, one.ready])).toContainEqual([
      'P2',
      1,
    ]);
    expect((await json(['task', 'why', id], env)).document.reason).toBe('capability_paused');
    await muster(['queue', 'resume', 'echo'], env);
    expect(await w.client.result(id)).toEqual({ said: 2 });
  });

  it('asks an agent and prints the reply', async () => {
    const { code, document } = await json(['request', 'ann', 'echo', '--input', '[true]'], env);
    expect([code, document]).toEqual([0, { said: [true] }]);
    expect(await json(['request', 'echo', 'nothing'], env)).toMatchObject({ code: 3 });
    expect(await json(['request', 'ann', 'fail'], env)).toMatchObject({
      code: 1,
      document: { error: { code: 'REQUEST_FAILED' } },
    });
  });
});

it('events prints one JSON document per line, until it has seen enough', async () => {
  const tail = start(['events', 'task.*', '--json', '--count', '2'], env);
  await eventually(tail.err, (err) => err.includes('listening'), { withinMs: 15_000 });
  const { id } = await w.client.submit('echo', 3);
  const { code, out } = await tail.ended;
  expect(code).toBe(0);
  const lines = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toHaveLength(2);
  expect(lines.map((line) => line.task)).toEqual([id, id]);
});

it('a Ctrl-C ends it with 130; a manager ends in order', async () => {
  const tail = start(['events'], env);
  const second = start(['manager', '--json'], env);
  await eventually(tail.err, (err) => err.includes('listening'), { withinMs: 15_000 });
  await eventually(second.out, (out) => out.includes('}'), { withinMs: 15_000 });
  const { instance } = JSON.parse(second.out());
  const managers = () => w.client.instance.ports.agents.managers();
  await eventually(managers, (alive) => alive.includes(instance));
  tail.child.kill('SIGINT');
  second.child.kill('SIGINT');
  expect((await tail.ended).code).toBe(130);
  expect((await second.ended).code).toBe(130);
});

it('why counts who is at capacity, what is ahead, and how far a running task is', async () => {
  const waiting: (() => void)[] = [];
  const slow = capability('slow').handle(async (_input, context) => {
    await context.progress(0.5, 'half way');
    await new Promise<void>((resolve) => waiting.push(resolve));
  });
  await w.join('ben', slow, { concurrency: 1 });
  const first = await w.client.submit('slow', 1);
  await w.until('task.progressed', { task: first.id });
  const urgent = await w.client.submit('slow', 2, { priority: 'P0' });
  const last = await w.client.submit('slow', 3);
  const dispatched = async () =>
    (await w.client.tasks({ capability: 'slow' })).filter((task) => task.status === 'dispatched');
  await eventually(dispatched, (tasks) => tasks.length === 2);
  const running = (await json(['task', 'why', first.id], env)).document;
  expect(running.reason).toBe('running');
  expect(running.sentence).toMatch(/^Running: attempt 1 of 3 has run on ben-\w+ for .*, 50 % done \(half way\)\.$/);
  const { reason, sentence } = (await json(['task', 'why', last.id], env)).document;
  expect(reason).toBe('agents_full');
  expect(sentence).toMatch(/: 1 agent offers 'slow', 1 is at capacity \(1 of 1\); 1 task is ahead \(1 P0\)\.$/);
  const ended = Promise.all([first, urgent, last].map((task) => w.client.result(task)));
  for (let done = 0; done < 3; done++) {
    await eventually(
      () => waiting.length,
      (n) => n > 0,
    );
    waiting.shift()!();
  }
  await ended;
});
