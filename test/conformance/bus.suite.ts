// What every Bus promises, in the same sentences for memory and RabbitMQ. A world is one broker, and processes connected to it.
import type { Bus, ConsumeOptions, Delivery, OutgoingMessage, Topology } from '../../src/ports.js';
import { eventually } from '../support/eventually.js';

export interface BusWorld {
  /** Begins every name: tests of a run share a broker. */
  readonly prefix: string;
  /** Another process. */
  connect(): Promise<Bus>;
  /** Cuts the process's connections. They come back by themselves. */
  cut(bus: Bus): Promise<void>;
  /** The process dies. */
  kill(bus: Bus): Promise<void>;
  /** Resolves once the process knows that a queue it consumes from is gone. */
  missed(bus: Bus, queue: string): Promise<void>;
  close(): Promise<void>;
}

export interface BusFeatures {
  /** Counts of queues are true at once. */
  readonly exactCounts: boolean;
}

type Queue = Topology['queues'][number];

export function testBus(name: string, make: () => Promise<BusWorld>, features: BusFeatures): void {
  describe(`the bus on ${name}`, () => {
    let world: BusWorld;
    let bus: Bus;
    let count = 0;

    beforeAll(async () => {
      world = await make();
    });
    afterAll(async () => world.close());
    beforeEach(async () => {
      bus = await world.connect();
    });
    afterEach(async () => bus.close());

    const fresh = (kind: string) => `${world.prefix}.${kind}${++count}`;

    async function aQueue(over: Partial<Queue> = {}, on = bus): Promise<string> {
      const queue: Queue = { name: fresh('queue'), kind: 'quorum', arguments: { 'x-delivery-limit': 20 }, ...over };
      await on.declare({ exchanges: [], queues: [queue], bindings: [] });
      return queue.name;
    }

    /** An exchange, and queues bound to it by these keys. */
    async function bound(type: 'topic' | 'direct' | 'fanout', keys: string[], alternate?: string) {
      const exchange = fresh('exchange');
      const queues = keys.map(() => fresh('queue'));
      await bus.declare({
        exchanges: [{ name: exchange, type, ...(alternate === undefined ? {} : { alternate }) }],
        queues: queues.map((queue) => ({ name: queue, kind: 'quorum', arguments: { 'x-delivery-limit': 20 } })),
        bindings: keys.map((routingKey, i) => ({ exchange, queue: queues[i]!, routingKey })),
      });
      return { exchange, queues };
    }

    const aMessage = (exchange: string, routingKey: string, body = 'x'): OutgoingMessage => ({
      exchange,
      routingKey,
      body: Buffer.from(body),
    });
    const put = (queue: string, ...bodies: string[]) =>
      Promise.all(bodies.map((body) => bus.publish(aMessage('', queue, body))));
    const text = (delivery: Delivery | undefined) => delivery?.message.body.toString();

    /** Takes everything out of a queue. */
    async function drain(queue: string): Promise<string[]> {
      const bodies: string[] = [];
      for (;;) {
        const delivery = await bus.get(queue);
        if (delivery === undefined) return bodies;
        bodies.push(text(delivery)!);
        delivery.ack();
      }
    }

    async function collect(queue: string, options: ConsumeOptions, on = bus) {
      const deliveries: Delivery[] = [];
      const subscription = await on.consume(queue, options, (delivery) => void deliveries.push(delivery));
      return { deliveries, subscription, bodies: () => deliveries.map((delivery) => text(delivery)) };
    }

    describe('publishing', () => {
      it('keeps bytes and properties', async () => {
        const { exchange, queues } = await bound('topic', ['a.b']);
        const body = Buffer.from([0, 255, 10, 13, 206]);
        await bus.publish({
          exchange,
          routingKey: 'a.b',
          body,
          messageId: 'id',
          correlationId: 'run',
          replyTo: 'reply.me',
          type: 'task',
          appId: 'test',
          contentType: 'application/octet-stream',
          timestamp: 1_700_000_000,
          headers: { text: 'ü', count: 3, ratio: 0.5, big: 2 ** 40, yes: true },
        });

        const delivery = await bus.get(queues[0]!);

        expect(delivery?.message).toMatchObject({
          exchange,
          routingKey: 'a.b',
          queue: queues[0],
          redelivered: false,
          messageId: 'id',
          correlationId: 'run',
          replyTo: 'reply.me',
          type: 'task',
          appId: 'test',
          contentType: 'application/octet-stream',
          timestamp: 1_700_000_000,
          headers: { text: 'ü', count: 3, ratio: 0.5, big: 2 ** 40, yes: true },
        });
        expect(delivery?.message.body.equals(body)).toBe(true);
        expect(delivery?.ack()).toBe('sent');
      });

      it('says JSON where nothing is said', async () => {
        const queue = await aQueue();
        await put(queue, '{}');
        const delivery = await bus.get(queue);
        expect(delivery?.message).toMatchObject({ contentType: 'application/json' });
        expect(delivery?.message.messageId).toBeUndefined();
        delivery?.ack();
      });

      it('carries empty bodies and large ones', async () => {
        const queue = await aQueue();
        const large = 'y'.repeat(900_000);
        await put(queue, '', large);
        expect(await drain(queue)).toEqual(['', large]);
      });

      it('matches words and the rest of a key on a topic exchange', async () => {
        const { exchange, queues } = await bound('topic', ['task.*.p0', 'task.#', '#.p0', 'task.a.p0', '#']);
        await bus.publish(aMessage(exchange, 'task.a.p0', '1'));
        await bus.publish(aMessage(exchange, 'task.a.b.p0', '2'));
        await bus.publish(aMessage(exchange, 'task', '3'));
        await bus.publish(aMessage(exchange, 'p0', '4'));
        const seen = [];
        for (const queue of queues) seen.push((await drain(queue)).join(''));
        expect(seen).toEqual(['1', '123', '124', '1', '1234']);
      });

      it('takes the key as it is on a direct exchange, and ignores it on a fanout', async () => {
        const direct = await bound('direct', ['a', '#', 'a.b']);
        const fanout = await bound('fanout', ['', 'x']);
        await bus.publish(aMessage(direct.exchange, 'a', '1'));
        await bus.publish(aMessage(direct.exchange, 'a.b', '2'));
        await bus.publish(aMessage(fanout.exchange, 'anything', '3'));
        expect(await Promise.all(direct.queues.map(drain))).toEqual([['1'], [], ['2']]);
        expect(await Promise.all(fanout.queues.map(drain))).toEqual([['3'], ['3']]);
      });

      it('gives a queue bound twice one copy', async () => {
        const { exchange, queues } = await bound('topic', ['a.#']);
        await bus.declare({
          exchanges: [],
          queues: [],
          bindings: [{ exchange, queue: queues[0]!, routingKey: '*.b' }],
        });
        await bus.publish(aMessage(exchange, 'a.b', '1'));
        expect(await drain(queues[0]!)).toEqual(['1']);
      });

      it('hands to the alternate exchange what no binding takes', async () => {
        const parking = await bound('fanout', ['']);
        const { exchange, queues } = await bound('topic', ['a'], parking.exchange);
        await bus.publish(aMessage(exchange, 'a', '1'));
        await bus.publish(aMessage(exchange, 'b', '2'));
        expect(await drain(queues[0]!)).toEqual(['1']);
        expect(await drain(parking.queues[0]!)).toEqual(['2']);
      });

      it('says which messages no queue took, with and without an id, among many that were taken', async () => {
        const { exchange, queues } = await bound('direct', ['here']);
        const outcomes = await Promise.all(
          Array.from({ length: 120 }, async (_, i) => {
            const message = aMessage(exchange, i % 3 === 0 ? 'nowhere' : 'here', String(i));
            return bus.publish(i % 2 === 0 ? message : { ...message, messageId: `m${i}` }).then(
              () => 'taken',
              (error) => error.code,
            );
          }),
        );
        const expected = outcomes.map((_, i) => (i % 3 === 0 ? 'UNROUTABLE' : 'taken'));
        expect(outcomes).toEqual(expected);
        expect(await drain(queues[0]!)).toHaveLength(80);
      });

      it('refuses a missing exchange without harm to publishes beside it', async () => {
        const queue = await aQueue();
        const before = put(queue, ...Array.from({ length: 50 }, (_, i) => `before${i}`));
        const missing = bus.publish(aMessage(fresh('missing'), 'a'));
        const after = put(queue, ...Array.from({ length: 50 }, (_, i) => `after${i}`));
        await expect(missing).rejects.toMatchObject({ code: 'UNROUTABLE' });
        await Promise.all([before, after]);
        expect((await drain(queue)).sort()).toEqual(
          Array.from({ length: 50 }, (_, i) => [`before${i}`, `after${i}`])
            .flat()
            .sort(),
        );
      });

      it('keeps the order of one publisher', async () => {
        const queue = await aQueue();
        const bodies = Array.from({ length: 300 }, (_, i) => String(i));
        await put(queue, ...bodies);
        expect(await drain(queue)).toEqual(bodies);
      });

      it("removes headers that are not the sender's to set", async () => {
        const queue = await aQueue();
        const elsewhere = await aQueue();
        await bus.publish({
          ...aMessage('', queue),
          headers: {
            CC: elsewhere,
            BCC: elsewhere,
            'x-death': 'no',
            'x-first-death-reason': 'no',
            'x-last-death-queue': 'no',
            'x-delivery-count': 9,
            table: { nested: 1 } as unknown as string,
            kept: 'yes',
          },
        });
        const delivery = await bus.get(queue);
        const { 'x-delivery-count': returns = 0, ...headers } = delivery!.message.headers;
        expect({ returns, headers }).toEqual({ returns: 0, headers: { kept: 'yes' } });
        delivery?.ack();
        expect(await bus.get(elsewhere)).toBeUndefined();
      });

      it('refuses what is too large and stays usable', async () => {
        const queue = await aQueue();
        const tooLarge = { ...aMessage('', queue), body: Buffer.alloc(2 * 1024 * 1024) };
        await expect(bus.publish(tooLarge)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
        expect(() => bus.send(tooLarge)).toThrow(expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }));
        const wide = { ...aMessage('', queue), headers: { wide: 'w'.repeat(9000) } };
        await expect(bus.publish(wide)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
        const longKey = aMessage('', 'k'.repeat(300));
        await expect(bus.publish(longKey)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
        await put(queue, 'fine');
        expect(await drain(queue)).toEqual(['fine']);
      });
    });

    describe('sending', () => {
      it('delivers, and calls back only for what nobody took', async () => {
        const { exchange, queues } = await bound('direct', ['here']);
        const returned: string[] = [];
        bus.send(aMessage(exchange, 'here', '1'), () => returned.push('here'));
        bus.send(aMessage(exchange, 'nowhere', '2'), () => returned.push('nowhere'));
        bus.send({ ...aMessage(exchange, 'nowhere', '3'), messageId: 'same' }, () => returned.push('with id'));
        bus.send({ ...aMessage(exchange, 'nowhere', '4'), messageId: 'same' }, () => returned.push('same id'));
        bus.send(aMessage(exchange, 'nowhere', '5'));
        bus.send(aMessage(fresh('missing'), 'a'), () => returned.push('missing'));
        await eventually(
          () => [...returned].sort(),
          (seen) => seen.length === 4,
        );
        expect([...returned].sort()).toEqual(['missing', 'nowhere', 'same id', 'with id']);
        const arrived = await eventually(
          () => bus.get(queues[0]!),
          (seen) => seen !== undefined,
        );
        expect(text(arrived)).toBe('1');
        arrived?.ack();
      });
    });

    describe('consuming', () => {
      it('delivers later, never inside the publish', async () => {
        const queue = await aQueue();
        let isInside = false;
        const seen: boolean[] = [];
        await bus.consume(queue, { prefetch: 10 }, (delivery) => {
          seen.push(isInside);
          delivery.ack();
        });
        isInside = true;
        const published = put(queue, 'a', 'b');
        isInside = false;
        await published;
        await eventually(
          () => seen,
          () => seen.length === 2,
        );
        expect(seen).toEqual([false, false]);
      });

      it('leaves no more than the prefetch unsettled', async () => {
        const queue = await aQueue();
        await put(queue, '1', '2', '3', '4', '5');
        const { deliveries, bodies } = await collect(queue, { prefetch: 2 });
        await eventually(bodies, (seen) => seen.length === 2);
        expect(text(await bus.get(queue))).toBe('3');
        deliveries[0]!.ack();
        await eventually(bodies, (seen) => seen.length === 3);
        deliveries[1]!.ack();
        await eventually(bodies, (seen) => seen.length === 4);
        expect(bodies()).toEqual(['1', '2', '4', '5']);
        for (const delivery of deliveries) delivery.ack();
      });

      it('gives a requeued delivery back to the front, marked as redelivered', async () => {
        const queue = await aQueue();
        await put(queue, '1', '2', '3');
        const first = await bus.get(queue);
        const second = await bus.get(queue);
        expect(second?.requeue()).toBe('sent');
        expect(first?.requeue()).toBe('sent');
        const again = await bus.get(queue);
        expect(text(again)).toMatch(/[12]/);
        expect(again?.message.redelivered).toBe(true);
        again?.ack();
        expect(text(await bus.get(queue))).toMatch(/[12]/);
      });

      it('settles a delivery once', async () => {
        const queue = await aQueue();
        await put(queue, '1', '2');
        const first = await bus.get(queue);
        expect(first?.lost).toBe(false);
        expect([first?.ack(), first?.ack(), first?.requeue()]).toEqual(['sent', 'stale', 'stale']);
        const second = await bus.get(queue);
        expect([second?.requeue(), second?.ack(), second?.reject()]).toEqual(['sent', 'stale', 'stale']);
        expect(await drain(queue)).toEqual(['2']);
      });

      it('acks exactly what was acked, in any order', async () => {
        const queue = await aQueue();
        const bodies = Array.from({ length: 90 }, (_, i) => String(i));
        await put(queue, ...bodies);
        const other = await world.connect();
        const { deliveries } = await collect(queue, { prefetch: 90 }, other);
        await eventually(
          () => deliveries.length,
          (seen) => seen === 90,
        );
        // In three turns: every third backwards, then every other one given back, then the rest but two.
        for (let i = 89; i >= 0; i -= 3) deliveries[i]!.ack();
        await put(queue, 'turn');
        for (let i = 1; i < 90; i += 3) deliveries[i]!.ack();
        await put(queue, 'turn');
        for (let i = 0; i < 90; i += 3) if (i !== 30 && i !== 60) deliveries[i]!.ack();
        await put(queue, 'turn');
        await other.close();
        const left = await eventually(
          async () => {
            const delivery = await bus.get(queue);
            return delivery;
          },
          (seen) => seen !== undefined,
        );
        left?.ack();
        expect([text(left), ...(await drain(queue))].sort()).toEqual(['30', '60', 'turn', 'turn', 'turn']);
      });

      it('forgets at once without acks', async () => {
        const queue = await aQueue({ kind: 'instance', arguments: {} });
        const { bodies, deliveries } = await collect(queue, { prefetch: 1, noAck: true });
        await put(queue, '1', '2', '3');
        await eventually(bodies, (seen) => seen.length === 3);
        expect(deliveries.map((delivery) => delivery.ack())).toEqual(['sent', 'sent', 'sent']);
        expect(deliveries[0]!.requeue()).toBe('stale');
      });

      it('stops delivering once cancelled; what is here can still be settled', async () => {
        const queue = await aQueue();
        await put(queue, '1', '2');
        const { deliveries, subscription } = await collect(queue, { prefetch: 1 });
        await eventually(
          () => deliveries.length,
          (seen) => seen === 1,
        );
        await subscription.cancel();
        expect(deliveries[0]!.ack()).toBe('sent');
        await put(queue, '3');
        expect(await drain(queue)).toEqual(['2', '3']);
        expect(deliveries).toHaveLength(1);
        await subscription.cancel();
      });

      it('changes the prefetch of a running subscription, never above it', async () => {
        const queue = await aQueue();
        await put(queue, ...Array.from({ length: 20 }, (_, i) => String(i)));
        const { deliveries, subscription } = await collect(queue, { prefetch: 2 });
        const arrived = (n: number) =>
          eventually(
            () => deliveries.length,
            (seen) => seen === n,
          );
        await arrived(2);
        await subscription.setPrefetch(5);
        await arrived(5);
        await subscription.setPrefetch(3);
        deliveries[0]!.ack();
        deliveries[1]!.ack();
        // Three are unsettled, as many as there may be.
        expect(text(await bus.get(queue))).toBe('5');
        expect(deliveries).toHaveLength(5);
        deliveries[2]!.ack();
        await arrived(6);
        for (const delivery of deliveries) delivery.ack();
        await arrived(9);
        for (const delivery of deliveries) delivery.ack();
        await arrived(12);
      });

      it('shares a queue between consumers, each message to one', async () => {
        const queue = await aQueue();
        const other = await world.connect();
        const seen: string[] = [];
        const shares = [0, 0];
        for (const [i, process] of [bus, other].entries()) {
          await process.consume(queue, { prefetch: 5 }, (delivery) => {
            seen.push(text(delivery)!);
            shares[i]! += 1;
            setImmediate(() => delivery.ack());
          });
        }
        const bodies = Array.from({ length: 200 }, (_, i) => String(i));
        await put(queue, ...bodies);
        await eventually(
          () => seen.length,
          (length) => length >= 200,
        );
        expect([...seen].sort()).toEqual([...bodies].sort());
        expect(Math.min(...shares)).toBeGreaterThan(20);
        await other.close();
      });

      it('gives back what a handler threw on, and goes on', async () => {
        const queue = await aQueue();
        let calls = 0;
        const done: string[] = [];
        await bus.consume(queue, { prefetch: 1 }, (delivery) => {
          calls += 1;
          if (calls === 1) throw new Error('broken');
          done.push(text(delivery)!);
          delivery.ack();
        });
        await put(queue, '1', '2');
        await eventually(
          () => done.length,
          (seen) => seen === 2,
        );
        expect([...done].sort()).toEqual(['1', '2']);
      });

      it('refuses a queue that is not there', async () => {
        await expect(bus.consume(fresh('missing'), { prefetch: 1 }, () => {})).rejects.toMatchObject({
          code: 'INVALID_CONFIG',
        });
        await expect(bus.get(fresh('missing'))).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
      });

      it('gets one message at a time, also many at once', async () => {
        const queue = await aQueue();
        expect(await bus.get(queue)).toBeUndefined();
        const bodies = Array.from({ length: 30 }, (_, i) => String(i));
        await put(queue, ...bodies);
        const deliveries = await Promise.all(bodies.map(() => bus.get(queue)));
        expect(deliveries.map(text).sort()).toEqual([...bodies].sort());
        for (const delivery of deliveries) expect(delivery?.ack()).toBe('sent');
        expect(await bus.get(queue)).toBeUndefined();
      });
    });

    describe('losing a process or a connection', () => {
      it.each(['close', 'kill'] as const)('redelivers what a process held: %s', async (how) => {
        const queue = await aQueue();
        await put(queue, '1', '2', '3');
        const other = await world.connect();
        const { deliveries } = await collect(queue, { prefetch: 2 }, other);
        await eventually(
          () => deliveries.length,
          (seen) => seen === 2,
        );
        if (how === 'close') await other.close();
        else await world.kill(other);
        const { bodies, deliveries: again } = await collect(queue, { prefetch: 10 });
        await eventually(bodies, (seen) => seen.length === 3);
        expect([...bodies()].sort()).toEqual(['1', '2', '3']);
        expect(again.filter((delivery) => delivery.message.redelivered)).toHaveLength(2);
        for (const delivery of again) delivery.ack();
      });

      it('goes on after a cut, and a late ack settles nothing', async () => {
        const queue = await aQueue();
        const { deliveries, bodies } = await collect(queue, { prefetch: 1 });
        await put(queue, 'A');
        await eventually(bodies, (seen) => seen.length === 1);

        await world.cut(bus);
        await eventually(
          () => deliveries[0]!.lost,
          (lost) => lost,
        );
        await put(queue, 'B');
        await eventually(bodies, (seen) => seen.length === 2);

        expect(deliveries[1]!.message).toMatchObject({ redelivered: true });
        expect(deliveries[0]!.ack()).toBe('stale');
        expect(deliveries[0]!.requeue()).toBe('stale');
        // Had the late ack settled the one in work, B would come now.
        expect(bodies()).toEqual(['A', 'A']);
        deliveries[1]!.ack();
        await eventually(bodies, (seen) => seen.length === 3);
        expect(text(deliveries[2])).toBe('B');
        deliveries[2]!.ack();
      });

      it('brings its instance queue back under the same name, with bindings and subscription', async () => {
        const exchange = fresh('exchange');
        const queue = fresh('instance');
        const topology: Topology = {
          exchanges: [{ name: exchange, type: 'direct' }],
          queues: [{ name: queue, kind: 'instance' }],
          bindings: [{ exchange, queue, routingKey: 'me' }],
        };
        await bus.declare(topology);
        const { bodies } = await collect(queue, { prefetch: 1, noAck: true });
        const other = await world.connect();
        await other.declare({ ...topology, queues: [], bindings: [] });
        await other.publish(aMessage(exchange, 'me', 'before'));
        await eventually(bodies, (seen) => seen.length === 1);

        await world.cut(bus);
        await eventually(
          () =>
            other.publish(aMessage(exchange, 'me', 'after')).then(
              () => bodies().includes('after'),
              () => false,
            ),
          (arrived) => arrived,
          { withinMs: 10_000 },
        );

        await bus.close();
        await eventually(
          () =>
            other.publish(aMessage(exchange, 'me', 'gone')).then(
              () => 'taken',
              (error) => error.code,
            ),
          (code) => code === 'UNROUTABLE',
        );
        await other.close();
      });

      it('tells its states', async () => {
        const states: string[] = [];
        expect(bus.state).toBe('ready');
        const stop = bus.onState((state) => states.push(state));
        await world.cut(bus);
        await eventually(
          () => states,
          (seen) => seen.includes('ready'),
        );
        expect(states[0]).toBe('connecting');
        await eventually(
          () => bus.state,
          (state) => state === 'ready',
        );
        stop();
        const length = states.length;
        await bus.close();
        expect([bus.state, states.length]).toEqual(['closed', length]);
      });

      it('refuses everything once closed, and closes twice', async () => {
        const queue = await aQueue();
        const states: string[] = [];
        bus.onState((state) => states.push(state));
        await Promise.all([bus.close(), bus.close()]);
        expect(states).toEqual(['closed']);
        const closed = { code: 'CLOSED' };
        await expect(bus.publish(aMessage('', queue))).rejects.toMatchObject(closed);
        await expect(bus.consume(queue, { prefetch: 1 }, () => {})).rejects.toMatchObject(closed);
        await expect(bus.get(queue)).rejects.toMatchObject(closed);
        await expect(bus.declare({ exchanges: [], queues: [], bindings: [] })).rejects.toMatchObject(closed);
        expect(() => bus.send(aMessage('', queue))).toThrow(expect.objectContaining(closed));
      });
    });

    describe('topology', () => {
      it('may be declared again, and refuses something different under the same name', async () => {
        const queue = await aQueue();
        await aQueue({ name: queue });
        await expect(aQueue({ name: queue, arguments: { 'x-delivery-limit': 3 } })).rejects.toMatchObject({
          code: 'INVALID_CONFIG',
        });
        const { exchange } = await bound('topic', []);
        await expect(
          bus.declare({ exchanges: [{ name: exchange, type: 'direct' }], queues: [], bindings: [] }),
        ).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
        await put(queue, 'still here');
        expect(await drain(queue)).toEqual(['still here']);
      });

      it('keeps an instance queue to the process that declared it', async () => {
        const queue = await aQueue({ kind: 'instance', arguments: {} });
        const other = await world.connect();
        await expect(other.consume(queue, { prefetch: 1 }, () => {})).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
        await expect(other.inspect(queue)).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
        await other.close();
        expect(await bus.inspect(queue)).toEqual({ messages: 0, consumers: 0 });
      });

      it('counts messages and consumers', async () => {
        const queue = await aQueue();
        expect(await bus.inspect(fresh('missing'))).toBeUndefined();
        await put(queue, '1', '2', '3');
        const { deliveries } = await collect(queue, { prefetch: 1 });
        await eventually(
          () => deliveries.length,
          (seen) => seen === 1,
        );
        const withinMs = features.exactCounts ? 0 : 10_000;
        await eventually(
          () => bus.inspect(queue),
          (seen) => seen?.messages === 2 && seen.consumers === 1,
          { withinMs },
        );
        deliveries[0]!.ack();
      });

      it('removes a queue for good', async () => {
        const { exchange, queues } = await bound('direct', ['a']);
        await bus.removeQueue(queues[0]!);
        await bus.removeQueue(queues[0]!);
        expect(await bus.inspect(queues[0]!)).toBeUndefined();
        await expect(bus.publish(aMessage(exchange, 'a'))).rejects.toMatchObject({ code: 'UNROUTABLE' });
        await world.cut(bus);
        await eventually(
          () => bus.state,
          (state) => state === 'ready',
        );
        expect(await bus.inspect(queues[0]!)).toBeUndefined();
      });

      it('brings back a queue it declared and consumes from, whoever removed it', async () => {
        const { exchange, queues } = await bound('direct', ['a']);
        const { bodies, deliveries } = await collect(queues[0]!, { prefetch: 5 });
        const other = await world.connect();
        await other.removeQueue(queues[0]!);
        await eventually(
          () =>
            other.publish(aMessage(exchange, 'a', 'again')).then(
              () => bodies().length > 0,
              () => false,
            ),
          (arrived) => arrived,
          { withinMs: 10_000 },
        );
        for (const delivery of deliveries) delivery.ack();
        await other.close();
      });

      it('subscribes again when a queue is removed and declared anew', async () => {
        const other = await world.connect();
        const queue = await aQueue({}, other);
        const { bodies, deliveries } = await collect(queue, { prefetch: 5 });
        await put(queue, 'old');
        await eventually(bodies, (seen) => seen.length === 1);
        await other.removeQueue(queue);
        // Declared anew within milliseconds, RabbitMQ 3.10 takes the old consumer for one of the new queue, and it starves.
        await world.missed(bus, queue);
        await aQueue({ name: queue }, other);
        await other.publish(aMessage('', queue, 'new'));
        await eventually(bodies, (seen) => seen.length === 2);
        expect(text(deliveries[1])).toBe('new');
        deliveries[1]!.ack();
        await other.close();
      });
    });

    describe('dead letters', () => {
      it('sends what waited too long to the dead-letter exchange', async () => {
        const graves = await bound('topic', ['task.#']);
        const queue = await aQueue({
          arguments: {
            'x-delivery-limit': 20,
            'x-message-ttl': 50,
            'x-dead-letter-exchange': graves.exchange,
            'x-dead-letter-strategy': 'at-least-once',
            'x-overflow': 'reject-publish',
          },
        });
        const exchange = fresh('exchange');
        await bus.declare({
          exchanges: [{ name: exchange, type: 'direct' }],
          queues: [],
          bindings: [{ exchange, queue, routingKey: 'task.a' }],
        });
        await bus.publish({ ...aMessage(exchange, 'task.a', 'late'), messageId: 'id', headers: { kept: 1 } });
        const dead = await eventually(
          () => bus.get(graves.queues[0]!),
          (seen) => seen !== undefined,
        );
        expect(dead?.message).toMatchObject({
          exchange: graves.exchange,
          routingKey: 'task.a',
          messageId: 'id',
          headers: { kept: 1, 'x-first-death-reason': 'expired', 'x-first-death-queue': queue },
        });
        dead?.ack();
      });

      it('sends a rejected delivery to the dead-letter exchange, whole', async () => {
        const graves = await bound('topic', ['rejected']);
        const queue = await aQueue({
          arguments: {
            'x-delivery-limit': 20,
            'x-dead-letter-exchange': graves.exchange,
            'x-dead-letter-routing-key': 'rejected',
            'x-dead-letter-strategy': 'at-least-once',
            'x-overflow': 'reject-publish',
          },
        });
        await bus.publish({ ...aMessage('', queue, 'bad'), headers: { kept: 1 } });
        expect((await bus.get(queue))?.reject()).toBe('sent');
        const dead = await eventually(
          () => bus.get(graves.queues[0]!),
          (seen) => seen !== undefined,
        );
        expect(text(dead)).toBe('bad');
        expect(dead?.message.headers).toMatchObject({ kept: 1, 'x-first-death-reason': 'rejected' });
        dead?.ack();
        expect(await bus.get(queue)).toBeUndefined();
      });

      it('gives up after the delivery limit, and no sooner', async () => {
        const graves = await bound('topic', ['given-up']);
        const queue = await aQueue({
          arguments: {
            'x-delivery-limit': 3,
            'x-dead-letter-exchange': graves.exchange,
            'x-dead-letter-routing-key': 'given-up',
            'x-dead-letter-strategy': 'at-least-once',
            'x-overflow': 'reject-publish',
          },
        });
        let deliveries = 0;
        await bus.consume(queue, { prefetch: 1 }, (delivery) => {
          deliveries += 1;
          delivery.requeue();
        });
        await put(queue, 'poison');
        const dead = await eventually(
          () => bus.get(graves.queues[0]!),
          (seen) => seen !== undefined,
        );
        expect(text(dead)).toBe('poison');
        expect(dead?.message.headers['x-first-death-reason']).toBe('delivery_limit');
        expect(deliveries).toBe(4);
        dead?.ack();
      });
    });
  });
}
