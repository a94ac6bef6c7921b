// The hello world of the README: the same file without any services, and unchanged on RabbitMQ and Redis.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Foreign } from '../protocol/foreign.js';

const root = path.resolve(__dirname, '../..');
const file = path.join(root, 'examples/hello.mjs');
const source = readFileSync(file, 'utf8');

function hello(environment: Record<string, string>): Promise<{ code: number; out: string; err: string }> {
  if (!existsSync(path.join(root, 'dist/index.js'))) throw new Error('dist/ is missing: npm run build');
  const { AMQP_URL: _, REDIS_URL: __, ...rest } = process.env;
  return new Promise((resolve) => {
    // In a folder where nobody ran `muster up`.
    const options = { cwd: tmpdir(), env: { ...rest, ...environment }, timeout: 20_000 };
    execFile(process.execPath, [file], options, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
    );
  });
}

it('is at most 12 lines, and what the README shows', () => {
  expect(source.trimEnd().split('\n').length).toBeLessThanOrEqual(12);
  expect(readFileSync(path.join(root, 'README.md'), 'utf8')).toContain(`\`\`\`js\n${source}\`\`\``);
});

it('runs with no services at all', async () => {
  expect(await hello({})).toEqual({ code: 0, out: 'Hello, world!\n', err: '' });
});

it('runs unchanged on RabbitMQ and Redis', async () => {
  const foreign = await Foreign.open();
  foreign.remember('greeter', 'greet');
  try {
    const { AMQP_URL, REDIS_URL, MUSTER_PREFIX } = foreign.settings;
    expect(await hello({ AMQP_URL, REDIS_URL, MUSTER_PREFIX })).toEqual({ code: 0, out: 'Hello, world!\n', err: '' });
    const [task] = await foreign.client.tasks();
    expect(task).toMatchObject({ capability: 'greet', status: 'completed', result: 'Hello, world!' });
  } finally {
    await foreign.close();
  }
});
