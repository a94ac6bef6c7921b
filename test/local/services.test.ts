/**
 * Private RabbitMQ and Redis, really started: reachable, restartable with their data, and gone when they should be.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import { answers } from '../../src/local/ports.js';
import { type Services, startServices } from '../../src/local/services.js';
import { eventually } from '../support/eventually.js';
import { descendants, startParent, stillRunning } from './processes.js';

const root = mkdtempSync(join(tmpdir(), 'muster-services-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const portOf = (url: string) => Number(new URL(url).port);
const isOpen = (url: string) => answers(portOf(url), '', () => true);

// Test files share jest's processes: what an earlier one left to end is not of these servers.
const earlier = new Set(descendants(process.pid).map((one) => one.pid));
const ours = () => descendants(process.pid).filter((one) => !earlier.has(one.pid));

async function put(amqpUrl: string, text: string): Promise<void> {
  const connection = await connect(amqpUrl);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('kept', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  channel.sendToQueue('kept', Buffer.from(text), { persistent: true });
  await channel.waitForConfirms();
  await connection.close();
}

async function take(amqpUrl: string): Promise<string | undefined> {
  const connection = await connect(amqpUrl);
  const channel = await connection.createChannel();
  // A quorum queue elects its leader anew after a restart: empty at first is no loss.
  const message = await eventually(() => channel.get('kept', { noAck: true }), Boolean);
  await connection.close();
  return message ? message.content.toString() : undefined;
}

async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 2, disableClientInfo: true });
  redis.on('error', () => {});
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

describe('private servers', () => {
  const directory = join(root, 'life');
  const lines: string[] = [];
  let services: Services;

  beforeAll(async () => {
    services = await startServices({ directory, log: (line) => lines.push(line), install: false });
  });
  afterAll(() => services?.stop());

  it('are reachable, and each says in one line what it is', async () => {
    await put(services.amqpUrl!, 'first');
    expect(await take(services.amqpUrl!)).toBe('first');
    expect(await withRedis(services.redisUrl!, (redis) => redis.set('key', 'value'))).toBe('OK');
    expect(lines).toEqual([
      expect.stringMatching(/^RabbitMQ: using \S+ \(.+\)$/),
      expect.stringMatching(/^Redis: using \S+ \(.+\)$/),
      expect.stringMatching(/^Redis: ready on 127\.0\.0\.1:\d+ after/),
      expect.stringMatching(/^RabbitMQ: ready on 127\.0\.0\.1:\d+ after/),
    ]);
  });

  it('refuse whoever lacks the password', async () => {
    await expect(connect(`amqp://guest:guest@127.0.0.1:${portOf(services.amqpUrl!)}`)).rejects.toThrow(
      /ACCESS_REFUSED/,
    );
    const port = portOf(services.redisUrl!);
    expect(await answers(port, 'PING\r\n', (reply) => reply.startsWith('-NOAUTH'))).toBe(true);
  });

  it('are restarted in good order while alive: same address, same data', async () => {
    const { amqpUrl, redisUrl } = services;
    await put(amqpUrl!, 'kept');
    await withRedis(redisUrl!, (redis) => redis.set('kept', 'too'));
    await Promise.all([services.restartBroker(), services.restartRedis()]);
    expect(services).toMatchObject({ amqpUrl, redisUrl });
    expect(await take(amqpUrl!)).toBe('kept');
    expect(await withRedis(redisUrl!, (redis) => redis.get('kept'))).toBe('too');
  });

  // After the test above, not before: RabbitMQ 3.10 writes a new quorum queue's name to disk up to a second after it has
  // confirmed messages in it. Killed within that second it comes back with that queue empty, leaderless and silent.
  it('come back from a crash on the same port with what they had confirmed: RabbitMQ', async () => {
    const before = { url: services.amqpUrl!, pid: services.pids.rabbitmq };
    await put(before.url, 'survives');
    await services.killBroker();
    expect(services.pids.rabbitmq).toBeUndefined();
    expect(await isOpen(before.url)).toBe(false);
    await services.restartBroker();
    expect(services.amqpUrl).toBe(before.url);
    expect(services.pids.rabbitmq).not.toBe(before.pid);
    expect(await take(before.url)).toBe('survives');
  });

  it('come back from a crash on the same port with what they had confirmed: Redis', async () => {
    const url = services.redisUrl!;
    await withRedis(url, (redis) => redis.set('survives', 'yes'));
    await services.killRedis();
    expect(await isOpen(url)).toBe(false);
    await services.restartRedis();
    expect(services.redisUrl).toBe(url);
    expect(await withRedis(url, (redis) => redis.get('survives'))).toBe('yes');
  });

  it('keep connections open and silent while paused, and go on when resumed', async () => {
    const port = portOf(services.amqpUrl!);
    const greeting = 'AMQP\x00\x00\x09\x01';
    const greets = (withinMs: number) => answers(port, greeting, (reply) => reply.startsWith('\x01'), withinMs);
    services.pauseBroker();
    expect(await isOpen(services.amqpUrl!)).toBe(true);
    expect(await greets(200)).toBe(false);
    services.resumeBroker();
    expect(await greets(5_000)).toBe(true);
  });

  it('leave no process, no port and no directory when stopped, within 1.5 s', async () => {
    const processes = ours();
    expect(processes.map((one) => one.pid)).toEqual(expect.arrayContaining(Object.values(services.pids)));
    const began = performance.now();
    await services.stop();
    expect(performance.now() - began).toBeLessThan(1_500);
    await services.stop();
    expect(existsSync(directory)).toBe(false);
    expect(await isOpen(services.amqpUrl!)).toBe(false);
    expect(await isOpen(services.redisUrl!)).toBe(false);
    await eventually(
      () => stillRunning(processes),
      (left) => left.length === 0,
    );
  });
});

describe('when the program that started them is killed with SIGKILL', () => {
  it('nothing is left: no process (epmd included), no port, no directory', async () => {
    const directory = join(root, 'killed');
    const { program, pid, announced } = await startParent({ directory, keepData: false });
    const processes = descendants(pid);
    // guard, epmd, Redis, the broker and what Erlang starts beside it
    expect(processes.length).toBeGreaterThanOrEqual(4);
    program.kill('SIGKILL');
    await eventually(
      () => stillRunning(processes),
      (left) => left.length === 0,
    );
    await eventually(
      () => existsSync(directory),
      (there) => !there,
    );
    expect(await isOpen(announced.amqpUrl)).toBe(false);
    expect(await isOpen(announced.redisUrl)).toBe(false);
  });

  it('kept data stays, the servers end in good order, and the next start has the same addresses and data', async () => {
    const directory = join(root, 'kept');
    const { program, pid, announced } = await startParent({ directory, keepData: true });
    await put(announced.amqpUrl, 'kept');
    await withRedis(announced.redisUrl, (redis) => redis.set('kept', 'too'));
    await expect(startServices({ directory, keepData: true, install: false })).rejects.toThrow(
      `Process ${pid} already runs its servers in ${directory}`,
    );
    const processes = descendants(pid);
    program.kill('SIGKILL');
    // At once, while the old ones are still ending: the start waits for them instead of fighting over the data.
    const services = await startServices({ directory, keepData: true, install: false });
    try {
      expect(stillRunning(processes)).toEqual([]);
      expect(services.amqpUrl).toBe(announced.amqpUrl);
      expect(services.redisUrl).toBe(announced.redisUrl);
      expect(await take(services.amqpUrl!)).toBe('kept');
      expect(await withRedis(services.redisUrl!, (redis) => redis.get('kept'))).toBe('too');
    } finally {
      await services.stop();
    }
    expect(existsSync(join(directory, 'services.json'))).toBe(true);
    expect(existsSync(join(directory, 'run.json'))).toBe(false);
  });
});

describe('a directory', () => {
  it('that holds files is not taken, because it would be removed at the end', async () => {
    const directory = join(root, 'full');
    mkdirSync(directory);
    writeFileSync(join(directory, 'thesis.txt'), 'months of work');
    await expect(startServices({ directory, rabbitmq: false })).rejects.toThrow(/is not empty.*Next:/);
    expect(existsSync(join(directory, 'thesis.txt'))).toBe(true);
  });
});

describe('the guard', () => {
  it('killed itself, takes its servers with it', async () => {
    const directory = join(root, 'unguarded');
    const services = await startServices({ directory, rabbitmq: false });
    const processes = ours();
    process.kill(services.pids.guard, 'SIGKILL');
    await eventually(
      () => stillRunning(processes),
      (left) => left.length === 0,
    );
    await eventually(
      () => existsSync(directory),
      (there) => !there,
    );
    await services.stop();
  });
});
