import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { EVENT_NAMES, type EventName, type EventRecord } from '../../src/contracts/events.js';
import { createLog, type LogLevel, logLine } from '../../src/telemetry/log.js';
import { redact, redactText } from '../../src/telemetry/redact.js';

const root = path.resolve(__dirname, '../..');
const at = '2026-01-01T12:00:00.000Z';

function written(level: LogLevel | undefined, records: readonly object[], fields?: Record<string, string>): object[] {
  const lines: string[] = [];
  const log = createLog({
    destination: { write: (line) => void lines.push(line) },
    ...(level === undefined ? {} : { level }),
    ...(fields === undefined ? {} : { fields }),
  });
  for (const record of records) log({ at, source: 'manager', ...record } as EventRecord);
  return lines.map((line) => JSON.parse(line));
}

const dead = { event: 'task.dead', task: 'r1.a', capability: 'c', reason: 'deadline', attempt: 2, error: 'too late' };

it('writes one line of JSON per event, with its ids under the names that log queries use', () => {
  expect(written(undefined, [dead])).toEqual([
    {
      level: 'warn',
      time: at,
      component: 'manager',
      event: 'task.dead',
      task_id: 'r1.a',
      run_id: 'r1',
      capability: 'c',
      reason: 'deadline',
      attempt: 2,
      err: { message: 'too late' },
      msg: 'task r1.a is dead (deadline) after attempt 2',
    },
  ]);
});

it('lets an event say the agent that the fields of every line name otherwise', () => {
  const lines = written(
    undefined,
    [
      { event: 'agent.draining', agent: 'a2' },
      { event: 'store.state', state: 'ready' },
    ],
    { agent_id: 'a1' },
  );
  expect(lines).toMatchObject([{ agent_id: 'a2' }, { agent_id: 'a1' }]);
});

// Everything an event may hold, so that each line of the table can be said.
const everything = {
  task: 'r1.a',
  run: 'r1',
  capability: 'c',
  priority: 'P2',
  exchange: 'muster.task',
  routing_key: 'c.p2',
  agent: 'a1',
  instance: 'a1-x',
  attempt: 1,
  waited_ms: 5,
  fraction: 0.5,
  duration_ms: 7,
  after_ms: 9,
  error: 'oops',
  reason: 'deadline',
  cause: 'agent_gone',
  state: 'ready',
  tasks: 1,
  status: 'completed',
  queue: 'q',
  problem: 'not JSON',
  messages: 2,
  capabilities: ['c'],
  silent_ms: 11,
  blocked_ms: 13,
  target: 'a2',
  action: 'review',
  found: 1,
  role: 'publisher',
  loop: 'rescuer',
};

it('keeps tasks and requests at debug, trouble at warn, comings and goings at info', () => {
  const levels: Record<string, EventName[]> = {};
  for (const event of EVENT_NAMES) {
    const [line] = written('debug', [{ event, ...everything }]) as [{ level: string }];
    levels[line.level] = [...(levels[line.level] ?? []), event];
  }
  expect(levels).toEqual({
    debug: [
      'task.submitted',
      'task.ready',
      'task.dispatched',
      'task.started',
      'task.progressed',
      'task.completed',
      'task.cancelled',
      'task.stale',
      'task.duplicate',
      'request.sent',
      'request.answered',
      'request.served',
      'registry.lookup',
    ],
    warn: [
      'task.retrying',
      'task.dead',
      'task.rescued',
      'message.malformed',
      'message.parked',
      'agent.stale',
      'agent.stalled',
    ],
    info: [
      'run.submitted',
      'run.finished',
      'message.forwarded',
      'agent.joined',
      'agent.left',
      'agent.changed',
      'agent.draining',
      'queue.paused',
      'queue.resumed',
      'bus.state',
      'store.state',
    ],
    error: ['loop.failed'],
  });
});

it.each(EVENT_NAMES)('has words for %s', (event) => {
  const record = { event, at, source: 'manager', ...everything } as EventRecord;
  expect(logLine(record).msg).toMatch(/^[^{}]{8,}$/);
  expect(logLine(record).msg).not.toMatch(/undefined|NaN|\[object/);
});

it('raises a blocked or lost connection to warn', () => {
  const states = ['ready', 'blocked', 'down', 'closed'].map((state) => ({ event: 'bus.state', role: 'p', state }));
  expect(written('warn', states)).toMatchObject([{ state: 'blocked' }, { state: 'down' }]);
});

it('writes only what its level lets through, and nothing when silent', () => {
  const records = [{ event: 'task.ready', task: 'r1', capability: 'c' }, dead];
  expect(written('debug', records)).toHaveLength(2);
  expect(written('info', records)).toHaveLength(1);
  expect(written('error', records)).toHaveLength(0);
  expect(written('silent', records)).toHaveLength(0);
});

const CANARY = 'c4n4ry-s3cr3t';

it.each([
  `cannot reach amqp://muster:${CANARY}@broker:5672/vhost`,
  `redis://:${CANARY}@redis:6379`,
  `amqps://muster:pa/ss@${CANARY}@broker`,
  `https://${CANARY}@registry.example/path`,
  `login failed: password=${CANARY}`,
  `{"password": "${CANARY}", "user": "x"}`,
  `{"api_key":"${CANARY}"}`,
  `Authorization: Bearer ${CANARY}`,
  `header 'authorization': 'Basic ${CANARY}'`,
  `token: ${CANARY}, retry`,
  `secret='${CANARY} with spaces'`,
])('never lets a secret through: %s', (text) => {
  expect(redactText(text)).not.toContain(CANARY);
  const lines = written(
    'debug',
    EVENT_NAMES.map((event) => ({
      event,
      ...everything,
      error: text,
      problem: text,
      why: text,
      note: text,
      action: text,
    })),
  );
  expect(JSON.stringify(lines)).not.toContain(CANARY);
  expect(lines).toHaveLength(EVENT_NAMES.length);
});

it('hides whatever stands under the name of a secret, at any depth, and leaves the rest alone', () => {
  const value = { deep: [{ access_token: CANARY, Authorization: [CANARY], user: 'u', n: 1, none: null }] };
  expect(redact(value)).toEqual({
    deep: [{ access_token: '[redacted]', Authorization: '[redacted]', user: 'u', n: 1, none: null }],
  });
  for (const text of ['see https://example.org/a?b=c', 'mail me@example.org', 'task r1.a is dead (deadline)']) {
    expect(redactText(text)).toBe(text);
  }
});

it('goes to stderr by default, and a closed stderr does not end the process', () => {
  const program = `
    const { createLog } = require('./src/telemetry/log.ts');
    const log = createLog();
    if (process.argv[1] === 'closed') require('fs').closeSync(2);
    log({ event: 'queue.paused', at: '${at}', source: 'cli', capability: 'c' });
    setImmediate(() => console.log('alive'));
  `;
  const run = (mode: string) =>
    spawnSync(process.execPath, ['-r', './test/support/register.cjs', '-e', program, mode], {
      cwd: root,
      encoding: 'utf8',
      env: { PATH: process.env.PATH },
    });
  const open = run('open');
  expect(open.stdout).toBe('alive\n');
  expect(JSON.parse(open.stderr)).toMatchObject({ level: 'info', msg: 'capability c paused' });
  expect(run('closed')).toMatchObject({ status: 0, stdout: 'alive\n', stderr: '' });
});

it('loads pino with the first log, not with the module', () => {
  const program = `
    const { createLog } = require('./src/telemetry/log.ts');
    const loaded = () => Object.keys(require.cache).some((file) => file.includes('node_modules/pino/'));
    const before = loaded();
    createLog();
    console.log(before, loaded());
  `;
  const { stdout } = spawnSync(process.execPath, ['-r', './test/support/register.cjs', '-e', program], {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  });
  expect(stdout).toBe('false true\n');
});
