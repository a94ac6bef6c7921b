/**
 * Foreign clients against a manager of the test's own: runs the files of examples/protocol as a stranger would, under a prefix of
 * its own. close() ends what was started and removes every queue and key.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { connect as connectAmqp } from 'amqplib';
import {
  baseTopology,
  capabilityTopology,
  EXCHANGE_KINDS,
  exchangeName,
  inboxTopology,
  malformedQueue,
  taskQueue,
} from '../../src/bus/topology.js';
import { agent, type Client, connect, type Offer, serve } from '../../src/index.js';
import { openRedis } from '../../src/redis/client.js';
import { eventually } from '../support/eventually.js';

const EXAMPLES = path.resolve(__dirname, '../../examples/protocol');
const PYTHON = '/usr/bin/python3';
const works = (command: string, args: string[]): boolean => spawnSync(command, args, { stdio: 'ignore' }).status === 0;

/** Why the tests of a foreign client cannot run here; undefined: they can. */
export function missing(client: 'pika' | 'amqp-tools'): string | undefined {
  const there =
    client === 'pika' ? works(PYTHON, ['-c', 'import pika']) : works('sh', ['-c', 'command -v amqp-consume amqp-get']);
  if (there) return undefined;
  const name = client === 'pika' ? 'python3-pika' : 'amqp-tools';
  process.stderr.write(
    `\nSKIPPED: no foreign client was tried, ${name} is not installed (apt-get install ${name})\n\n`,
  );
  return name;
}

export interface Finished {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class Foreign {
  readonly prefix = `t-${randomBytes(6).toString('hex')}`;
  readonly amqpUrl = process.env.MUSTER_TEST_AMQP_URL ?? '';
  readonly settings = {
    AMQP_URL: this.amqpUrl,
    REDIS_URL: process.env.MUSTER_TEST_REDIS_URL ?? '',
    MUSTER_PREFIX: this.prefix,
    MUSTER_LOG_LEVEL: 'silent',
    MUSTER_TRACES: 'none',
  };
  readonly #closing: (() => Promise<unknown>)[] = [];
  readonly #capabilities = new Set<string>();
  readonly #agents = new Set<string>();
  client!: Client;

  static async open(): Promise<Foreign> {
    const foreign = new Foreign();
    const manager = await serve({ settings: foreign.settings });
    foreign.#closing.push(() => manager.stop());
    foreign.client = await connect({ settings: foreign.settings });
    foreign.#closing.push(() => foreign.client.close());
    return foreign;
  }

  /** One more manager: reports are then applied by either. */
  async addManager(): Promise<void> {
    const manager = await serve({ settings: this.settings });
    this.#closing.push(() => manager.stop());
  }

  /** An SDK agent. */
  async join(id: string, offer: Offer): Promise<void> {
    this.remember(id, offer.name);
    const running = await agent(id, offer).start({ settings: this.settings });
    this.#closing.push(() => running.stop());
  }

  /** An agent that others start: its queues are removed with the rest. */
  remember(id: string, capability: string): void {
    this.#agents.add(id);
    this.#capabilities.add(capability);
  }

  /** Runs an example to its end. */
  run(file: string, args: readonly string[] = [], input = ''): Promise<Finished> {
    const { command, first } = this.#command(file);
    return new Promise((resolve) => {
      const child = execFile(command, [...first, ...args], { env: this.#env, timeout: 25_000 }, (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), out: out.trim(), err }),
      );
      child.stdin?.end(input);
    });
  }

  /** Starts an example that goes on; resolves with its lines once `ready` was printed on either output. */
  async start(
    file: string,
    args: readonly string[],
    ready?: string,
  ): Promise<{ child: ChildProcess; lines: string[] }> {
    const { command, first } = this.#command(file);
    const child = spawn(command, [...first, ...args], { env: this.#env, stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#closing.push(() => {
      child.kill('SIGTERM');
      return ended;
    });
    const lines: string[] = [];
    const errors: string[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
    createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
    if (ready !== undefined) {
      await eventually(
        () => ({ lines, errors }),
        (seen) => [...seen.lines, ...seen.errors].includes(ready),
        { withinMs: 15_000 },
      );
    }
    return { child, lines };
  }

  /** A foreign agent: remembered, so that its queues are removed. */
  startAgent(file: string, id: string, capability: string, ready?: string) {
    this.remember(id, capability);
    return this.start(file, [id, capability], ready);
  }

  /** The oldest dead letter of those that cannot be read, once there is one. */
  async malformed(): Promise<{ body: string; headers: Record<string, unknown> }> {
    return this.#onChannel(async (channel) => {
      const found = await eventually(
        () => channel.get(malformedQueue(this.prefix), { noAck: true }),
        (message) => message !== false,
        { withinMs: 10_000 },
      );
      if (found === false) throw new Error('unreachable');
      return { body: found.content.toString(), headers: found.properties.headers ?? {} };
    });
  }

  queueOf(capability: string): string {
    return taskQueue(this.prefix, capability, 2);
  }

  exec(command: string, args: readonly string[]): Promise<Finished> {
    return new Promise((resolve) => {
      execFile(command, args, { timeout: 20_000 }, (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
      );
    });
  }

  async close(): Promise<void> {
    for (const end of this.#closing.reverse()) await end();
    await this.#onChannel(async (channel) => {
      const topologies = [
        baseTopology(this.prefix),
        ...[...this.#capabilities].map((name) => capabilityTopology(this.prefix, name)),
        ...[...this.#agents].map((id) => inboxTopology(this.prefix, id)),
      ];
      for (const { queues } of topologies) for (const { name } of queues) await channel.deleteQueue(name);
      for (const kind of EXCHANGE_KINDS) await channel.deleteExchange(exchangeName(this.prefix, kind));
    });
    const redis = await openRedis({ url: this.settings.REDIS_URL, name: 'cleanup' });
    for (const key of await redis.keys(`${this.prefix}:*`)) await redis.unlink(key);
    redis.disconnect();
  }

  get #env(): NodeJS.ProcessEnv {
    return { ...process.env, AMQP_URL: this.amqpUrl, MUSTER_PREFIX: this.prefix };
  }

  #command(file: string): { command: string; first: string[] } {
    const script = path.join(EXAMPLES, file);
    return file.endsWith('.py') ? { command: PYTHON, first: [script] } : { command: 'sh', first: [script] };
  }

  async #onChannel<T>(
    use: (channel: Awaited<ReturnType<Awaited<ReturnType<typeof connectAmqp>>['createChannel']>>) => Promise<T>,
  ) {
    const connection = await connectAmqp(this.amqpUrl);
    try {
      return await use(await connection.createChannel());
    } finally {
      await connection.close();
    }
  }
}
