// RabbitMQ and Redis killed under load, each on its own: everybody reconnects by himself, nothing accepted is lost, nobody hangs.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Services, startServices } from '../../src/local/services.js';
import { eventually } from '../support/eventually.js';
import { countingWork, expectAllCompletedOnce, figure, submitLoad } from '../support/load.js';
import { type World, world } from '../support/world.js';

const RUNS = 12;

let services: Services;
let directory: string;
let w: World;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'muster-faults-'));
  services = await startServices({ directory, keepData: true });
}, 60_000);
afterAll(async () => {
  await services.stop();
  rmSync(directory, { recursive: true, force: true });
}, 30_000);
beforeEach(async () => {
  w = await world({ amqpUrl: services.amqpUrl, redisUrl: services.redisUrl });
});
afterEach(() => w.close(), 30_000);

async function loaded() {
  const { offer, executions } = countingWork(20);
  await w.manager();
  await w.join('one', offer, { concurrency: 4, drain: 'pull' });
  await w.join('two', offer, { concurrency: 4, drain: 'push' });
  const load = await submitLoad(w.client, RUNS);
  await eventually(
    () => w.seen('task.completed').length,
    (completed) => completed >= load.tasks.length / 5,
  );
  return { load, executions };
}

/** Submitted while something is away: accepted or refused with a code, but never left hanging. */
async function submitAnyway(): Promise<string> {
  return w.client.submit('work').then(
    (task) => task.id,
    (error) => error.code,
  );
}

it('RabbitMQ killed and restarted under load loses nothing', async () => {
  const { load, executions } = await loaded();
  await services.killBroker();
  await eventually(
    () => w.client.instance.ports.bus.state,
    (state) => state !== 'ready',
  );
  expect(await submitAnyway()).toBe('BROKER_UNAVAILABLE');
  await services.restartBroker();
  const back = performance.now();
  await expectAllCompletedOnce(w, load, executions);
  const times = [...executions.values()].reduce((sum, n) => sum + n, 0);
  figure(
    `RabbitMQ restarted: ${load.tasks.length} tasks completed once each, ${times} executions, ${Math.round(performance.now() - back)} ms after it was back`,
  );
  await eventually(
    () => w.client.instance.ports.bus.state,
    (state) => state === 'ready',
  );
  expect(await w.client.result(await w.client.submit('work'))).toBe('');
}, 90_000);

it('Redis killed and restarted under load loses nothing', async () => {
  const { load, executions } = await loaded();
  await services.killRedis();
  const during = submitAnyway();
  await services.restartRedis();
  const back = performance.now();
  const answered = await during;
  await expectAllCompletedOnce(w, load, executions);
  const times = [...executions.values()].reduce((sum, n) => sum + n, 0);
  figure(
    `Redis restarted: ${load.tasks.length} tasks completed once each, ${times} executions, ${Math.round(performance.now() - back)} ms after it was back; a submission meanwhile: ${answered}`,
  );
  expect(await w.client.result(await w.client.submit('work'))).toBe('');
}, 90_000);
