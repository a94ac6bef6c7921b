// The Bus while its broker crashes, its connections break, memory runs out and queues are full. Own broker: the run's is not ours to kill.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { connect } from 'amqplib';
import { type BusOptions, openBus } from '../../src/bus/bus.js';
import { type Services, startServices } from '../../src/local/services.js';
import type { Bus, Delivery, Topology } from '../../src/ports.js';
import { eventually } from '../support/eventually.js';
import { TcpProxy } from '../support/tcp-proxy.js';

jest.setTimeout(120_000);

describe('the bus in trouble', () => {
  let services: Services;
  let url: string;
  const open: { close(): Promise<void> }[] = [];
  const proxies: TcpProxy[] = [];

  beforeAll(async () => {
    services = await startServices({ directory: mkdtempSync(join(tmpdir(), 'muster-bus-')), redis: false });
    url = services.amqpUrl!;
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((bus) => bus.close()));
    await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
  });
  afterAll(async () => services.stop());

  async function enter(options: Partial<BusOptions> = {}): Promise<Bus> {
    const bus = await openBus({ urls: [url], name: 'faults', ...options });
    open.push(bus);
    return bus;
  }

  async function viaProxy(options: Partial<BusOptions> = {}, query = ''): Promise<{ bus: Bus; proxy: TcpProxy }> {
    const proxy = await TcpProxy.start(url);
    proxies.push(proxy);
    return { bus: await enter({ urls: [`${proxy.url}${query}`], ...options }), proxy };
  }

  const fresh = (kind: string) => `${kind}.${randomBytes(6).toString('hex')}`;
  const quorum = (name: string): Topology => ({
    exchanges: [],
    queues: [{ name, kind: 'quorum', arguments: { 'x-delivery-limit': 20 } }],
    bindings: [],
  });
  const message = (queue: string, id: string) => ({
    exchange: '',
    routingKey: queue,
    messageId: id,
    body: Buffer.from(id),
  });

  /** RabbitMQ writes the list of its quorum queues half a second after a change: a crash before that forgets a new queue. */
  async function isOnDisk(): Promise<void> {
    const declaredAt = performance.now();
    await eventually(
      () => performance.now() - declaredAt,
      (ms) => ms > 1500,
    );
  }

  /** Publishes a stream of messages; what was accepted, and how the others failed. */
  function stream(bus: Bus, queue: string, total: number) {
    const accepted: string[] = [];
    const failed: string[] = [];
    const publishAll = async () => {
      const publishes: Promise<unknown>[] = [];
      for (let i = 0; i < total; i++) {
        const id = `m${i}`;
        publishes.push(
          bus.publish(message(queue, id)).then(
            () => accepted.push(id),
            (error) => failed.push(error.code),
          ),
        );
        // Spread over turns of the event loop, so that the fault meets some in every state.
        if (i % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await Promise.all(publishes);
    };
    const all = publishAll();
    return { accepted, failed, all };
  }

  /** Consumes until all of these have come. */
  async function allArrive(bus: Bus, queue: string, ids: readonly string[]): Promise<void> {
    const missing = new Set(ids);
    const subscription = await bus.consume(queue, { prefetch: 500 }, (delivery) => {
      missing.delete(delivery.message.messageId!);
      delivery.ack();
    });
    await eventually(
      () => [...missing],
      (left) => left.length === 0,
      { withinMs: 15_000 },
    );
    await subscription.cancel();
  }

  it('loses no accepted message when the broker crashes amid publishing', async () => {
    const queue = fresh('crash');
    const bus = await enter({ publishTimeoutMs: 60_000 });
    await bus.declare(quorum(queue));
    await isOnDisk();
    const { accepted, failed, all } = stream(bus, queue, 3000);
    await eventually(
      () => accepted.length,
      (count) => count > 200,
      { everyMs: 1 },
    );
    await services.killBroker();
    expect(accepted.length).toBeLessThan(3000);
    await services.restartBroker();
    await all;
    expect(failed).toEqual([]);
    expect(accepted).toHaveLength(3000);
    await allArrive(bus, queue, accepted);
  });

  it('loses no accepted message when the connection is cut again and again', async () => {
    const queue = fresh('cut');
    const { bus, proxy } = await viaProxy({ publishTimeoutMs: 60_000 });
    await bus.declare(quorum(queue));
    const { accepted, failed, all } = stream(bus, queue, 4000);
    for (const mark of [100, 800, 1500, 2500]) {
      await eventually(
        () => accepted.length,
        (count) => count >= mark,
        { withinMs: 30_000, everyMs: 1 },
      );
      proxy.cut();
    }
    await all;
    expect(failed).toEqual([]);
    await allArrive(bus, queue, accepted);
  });

  it('consumes on after a crash, each message until it is acked', async () => {
    const queue = fresh('consume');
    const bus = await enter({ publishTimeoutMs: 60_000 });
    await bus.declare(quorum(queue));
    await isOnDisk();
    const ids = Array.from({ length: 500 }, (_, i) => `m${i}`);
    await Promise.all(ids.map((id) => bus.publish(message(queue, id))));
    const seen = new Set<string>();
    const held: Delivery[] = [];
    await bus.consume(queue, { prefetch: 20 }, (delivery) => {
      seen.add(delivery.message.messageId!);
      if (held.length < 20 && !delivery.message.redelivered) held.push(delivery);
      else delivery.ack();
    });
    await eventually(
      () => held.length,
      (count) => count === 20,
    );
    await services.killBroker();
    await eventually(
      () => held.every((delivery) => delivery.lost),
      (lost) => lost,
    );
    expect(held.map((delivery) => delivery.ack())).toEqual(held.map(() => 'stale'));
    await services.restartBroker();
    await eventually(
      () => seen.size,
      (size) => size === 500,
      { withinMs: 30_000 },
    );
  });

  it('brings an instance queue back although the broker still holds the old connection', async () => {
    const queue = fresh('instance');
    const { bus, proxy } = await viaProxy({}, '?heartbeat=1');
    await bus.declare({ exchanges: [], queues: [{ name: queue, kind: 'instance', arguments: {} }], bindings: [] });
    const seen: string[] = [];
    await bus.consume(queue, { prefetch: 1, noAck: true }, (delivery) => seen.push(delivery.message.messageId!));
    proxy.abandon();
    const other = await enter();
    await eventually(
      async () => {
        await other.publish(message(queue, 'after')).catch(() => {});
        return seen.includes('after');
      },
      (arrived) => arrived,
      { withinMs: 30_000, everyMs: 100 },
    );
    await eventually(
      () => bus.state,
      (state) => state === 'ready',
    );
  });

  it('does not lose confirms when an exchange is deleted under it', async () => {
    const [gone, queue] = [fresh('gone'), fresh('stays')];
    const bus = await enter();
    await bus.declare({ ...quorum(queue), exchanges: [{ name: gone, type: 'fanout' }] });
    const admin = await connect(url);
    const channel = await admin.createChannel();
    await channel.deleteExchange(gone);
    await admin.close();
    const before = Array.from({ length: 300 }, (_, i) => bus.publish(message(queue, `before${i}`)));
    const lost = bus.publish({ ...message('any', 'lost'), exchange: gone });
    const after = Array.from({ length: 300 }, (_, i) => bus.publish(message(queue, `after${i}`)));
    await expect(lost).rejects.toMatchObject({ code: 'UNROUTABLE' });
    await Promise.all([...before, ...after]);
    const all = Array.from({ length: 300 }, (_, i) => [`before${i}`, `after${i}`]).flat();
    await allArrive(bus, queue, all);
  });

  it('does not lose confirms to failures of other calls', async () => {
    const queue = fresh('other');
    const bus = await enter();
    await bus.declare(quorum(queue));
    const { failed, all } = stream(bus, queue, 1000);
    for (let i = 0; i < 5; i++) {
      const conflict: Topology = {
        ...quorum(queue),
        queues: [{ name: queue, kind: 'quorum', arguments: { 'x-delivery-limit': i } }],
      };
      await expect(bus.declare(conflict)).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
      expect(await bus.inspect(fresh('missing'))).toBeUndefined();
      await expect(bus.consume(fresh('missing'), { prefetch: 1 }, () => {})).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
      });
    }
    await all;
    expect(failed).toEqual([]);
    expect(bus.state).toBe('ready');
  });

  it('tells a wrong login at once, without the password', async () => {
    for (const wrong of [url.replace(/:[^:@]+@/, ':S3CRET@'), `${url}/no-such-vhost`]) {
      const started = performance.now();
      const error = await openBus({ urls: [wrong], name: 'refused' }).catch((refused) => refused);
      expect(error).toMatchObject({ code: 'BROKER_REFUSED' });
      expect(performance.now() - started).toBeLessThan(3000);
      expect(JSON.stringify([error, error.stack, error.cause?.message])).not.toMatch(/S3CRET/);
      expect(error.message).not.toContain(new URL(url).password);
    }
  });

  it('waits for a broker that is still starting, and gives up in time', async () => {
    const proxy = await TcpProxy.start(url);
    proxies.push(proxy);
    proxy.refuse(true);
    await expect(openBus({ urls: [proxy.url], name: 'late', openTimeoutMs: 300 })).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
    });
    const late = enter({ urls: [proxy.url], openTimeoutMs: 20_000 });
    proxy.refuse(false);
    expect((await late).state).toBe('ready');
  });

  it('refuses what cannot be sent now, each with its own reason', async () => {
    const queue = fresh('refuse');
    const { bus, proxy } = await viaProxy({
      publishTimeoutMs: 400,
      maxPending: 50,
      maxPendingBytes: 100_000,
    });
    await bus.declare(quorum(queue));
    // Frozen: written, not confirmed. Whether the broker has it cannot be known.
    proxy.freeze();
    const outcomes = (messages: Promise<void>[]) =>
      Promise.all(
        messages.map((publish) =>
          publish.then(
            () => 'taken',
            (error) => error.code,
          ),
        ),
      );
    const unknown = Array.from({ length: 50 }, (_, i) => bus.publish(message(queue, `m${i}`)));
    await expect(bus.publish(message(queue, 'too many'))).rejects.toMatchObject({ code: 'THROTTLED' });
    expect(new Set(await outcomes(unknown))).toEqual(new Set(['CONFIRM_TIMEOUT']));
    const heavy = bus.publish({ ...message(queue, 'heavy'), body: Buffer.alloc(90_000) });
    await expect(bus.publish({ ...message(queue, 'more'), body: Buffer.alloc(20_000) })).rejects.toMatchObject({
      code: 'THROTTLED',
    });
    expect(await outcomes([heavy])).toEqual(['CONFIRM_TIMEOUT']);
    // Away: never written.
    proxy.refuse(true);
    proxy.cut();
    await eventually(
      () => bus.state,
      (state) => state === 'connecting',
    );
    expect(() => bus.send(message(queue, 's'))).toThrow(expect.objectContaining({ code: 'BROKER_UNAVAILABLE' }));
    expect(await outcomes([bus.publish(message(queue, 'away'))])).toEqual(['BROKER_UNAVAILABLE']);
    proxy.thaw();
    proxy.refuse(false);
    await eventually(
      () => bus.state,
      (state) => state === 'ready',
      { withinMs: 15_000 },
    );
    expect(await outcomes([bus.publish(message(queue, 'back'))])).toEqual(['taken']);
  });

  it('notices a peer that went silent, and closes within its time', async () => {
    const { bus, proxy } = await viaProxy({}, '?heartbeat=1');
    await bus.declare(quorum(fresh('silent')));
    proxy.freeze();
    await eventually(
      () => bus.state,
      (state) => state === 'connecting',
      { withinMs: 10_000 },
    );
    proxy.thaw();
    proxy.cut();
    await eventually(
      () => bus.state,
      (state) => state === 'ready',
      { withinMs: 15_000 },
    );
    proxy.freeze();
    const started = performance.now();
    await bus.close();
    expect(performance.now() - started).toBeLessThan(5500);
    expect(bus.state).toBe('closed');
  });

  it('tries a full queue again, and says at the end that it was refused', async () => {
    const queue = fresh('full');
    const bus = await enter({ publishTimeoutMs: 600 });
    await bus.declare({
      exchanges: [],
      queues: [{ name: queue, kind: 'instance', arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } }],
      bindings: [],
    });
    await bus.publish(message(queue, 'first'));
    await expect(bus.publish(message(queue, 'refused'))).rejects.toMatchObject({ code: 'PUBLISH_NACKED' });
    const patient = bus.publish(message(queue, 'patient'));
    (await bus.get(queue))?.ack();
    await patient;
    await allArrive(bus, queue, ['patient']);
  });

  it('refuses a body of 64 MiB and lives on', async () => {
    const queue = fresh('large');
    const bus = await enter();
    await bus.declare(quorum(queue));
    const states: string[] = [];
    bus.onState((state) => states.push(state));
    const body = Buffer.alloc(64 * 1024 * 1024);
    await expect(bus.publish({ ...message(queue, 'large'), body })).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    });
    await bus.publish(message(queue, 'small'));
    await allArrive(bus, queue, ['small']);
    expect(states).toEqual([]);
  });

  it('throttles publishers during a memory alarm, and consumers not', async () => {
    const environment = `/proc/${services.pids.rabbitmq}/environ`;
    const ctl = ['/usr/lib/rabbitmq/bin/rabbitmqctl', '/usr/sbin/rabbitmqctl'].find((path) => existsSync(path));
    // Only a broker of this machine can be starved on purpose.
    if (ctl === undefined || !existsSync(environment)) return;
    const env = Object.fromEntries(
      readFileSync(environment, 'utf8')
        .split('\0')
        .filter(Boolean)
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    const watermark = (value: string) =>
      promisify(execFile)(ctl, ['set_vm_memory_high_watermark', value], {
        env: { ...env, PATH: `${dirname(ctl)}:${env.PATH}` },
      });
    const queue = fresh('alarm');
    const bus = await enter({ publishTimeoutMs: 500 });
    await bus.declare(quorum(queue));
    await Promise.all(Array.from({ length: 20 }, (_, i) => bus.publish(message(queue, `m${i}`))));
    try {
      await watermark('0.0000001');
      // The broker tells a publisher only once it publishes.
      const codes = new Set<string>();
      await eventually(
        async () => {
          await bus.publish(message(queue, 'probe')).catch((error) => codes.add(error.code));
          return bus.state;
        },
        (state) => state === 'blocked',
        { withinMs: 20_000 },
      );
      await expect(bus.publish(message(queue, 'late'))).rejects.toMatchObject({ code: 'THROTTLED' });
      expect(() => bus.send(message(queue, 'now'))).toThrow(expect.objectContaining({ code: 'THROTTLED' }));
      const seen = new Set<string>();
      const subscription = await bus.consume(queue, { prefetch: 5 }, (delivery) => {
        seen.add(delivery.message.messageId!);
        delivery.ack();
      });
      await eventually(
        () => Array.from({ length: 20 }, (_, i) => seen.has(`m${i}`)).every(Boolean),
        (all) => all,
      );
      await subscription.cancel();
    } finally {
      await watermark('0.4');
    }
    await eventually(
      () => bus.state,
      (state) => state === 'ready',
      { withinMs: 20_000 },
    );
    await bus.publish(message(queue, 'again'));
  });

  it('stays closed when closed amid reconnecting', async () => {
    for (let turn = 0; turn < 20; turn++) {
      const { bus, proxy } = await viaProxy();
      proxy.refuse(turn % 2 === 0);
      proxy.cut();
      // Each time at another point of the way back.
      for (let i = 0; i < turn * 3; i++) await new Promise((resolve) => setImmediate(resolve));
      await bus.close();
      proxy.refuse(false);
    }
    const closedAt = performance.now();
    await eventually(
      () => performance.now() - closedAt,
      (ms) => ms > 500,
    );
    expect(proxies.map((proxy) => proxy.connections)).toEqual(proxies.map(() => 0));
  });

  it('closes cleanly with the broker gone', async () => {
    const bus = await enter();
    await bus.declare(quorum(fresh('gone')));
    await services.killBroker();
    const started = performance.now();
    await bus.close();
    expect(performance.now() - started).toBeLessThan(5500);
    await services.restartBroker();
  });
});
