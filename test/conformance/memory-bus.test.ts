// The in-memory Bus keeps the promises of the port, on the system's clock and on one that stands still.
import fc from 'fast-check';
import type { Delivery } from '../../src/ports.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { MemoryBroker } from '../../src/testing/memory-bus.js';
import { matches } from '../../src/testing/memory-exchange.js';
import { testBus } from './bus.suite.js';

testBus(
  'memory',
  async () => {
    const broker = new MemoryBroker();
    return {
      prefix: 'test',
      connect: async () => broker.connect(),
      cut: async (bus) => broker.cut(bus),
      kill: async (bus) => broker.kill(bus),
      missed: async () => {},
      close: async () => {},
    };
  },
  { exactCounts: true },
);

describe('the broker in memory', () => {
  const queue = (name: string, settings: Record<string, string | number> = {}) => ({
    exchanges: [],
    queues: [{ name, kind: 'quorum' as const, arguments: settings }],
    bindings: [],
  });

  it('lives on virtual time', async () => {
    const clock = new ManualClock();
    const broker = new MemoryBroker({ clock });
    const bus = broker.connect();
    const bodies: string[] = [];
    await bus.declare(queue('graves'));
    await bus.declare(
      queue('q', { 'x-message-ttl': 300_000, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' }),
    );
    await bus.publish({ exchange: '', routingKey: 'q', body: Buffer.from('a') });
    clock.advance(299_999);
    expect(await bus.inspect('q')).toEqual({ messages: 1, consumers: 0 });
    clock.advance(1);
    expect(await bus.inspect('graves')).toEqual({ messages: 1, consumers: 0 });

    await bus.consume('graves', { prefetch: 1 }, (delivery: Delivery) => {
      bodies.push(delivery.message.body.toString());
      delivery.ack();
    });
    expect(bodies).toEqual([]);
    clock.advance(0);
    expect(bodies).toEqual(['a']);
  });

  it('removes a queue nobody used for its time, and not one that is consumed', async () => {
    const clock = new ManualClock();
    const bus = new MemoryBroker({ clock }).connect();
    await bus.declare(queue('left', { 'x-expires': 1000 }));
    await bus.declare(queue('used', { 'x-expires': 1000 }));
    await bus.consume('used', { prefetch: 1 }, () => {});
    clock.advance(5000);
    expect(await bus.inspect('left')).toBeUndefined();
    expect(await bus.inspect('used')).toEqual({ messages: 0, consumers: 1 });
  });

  it('stops publishers while blocked, and says so', async () => {
    const clock = new ManualClock();
    const broker = new MemoryBroker({ clock });
    const bus = broker.connect();
    const states: (string | undefined)[] = [];
    bus.onState((state, why) => states.push(state, why));
    await bus.declare(queue('q'));
    broker.block('low on memory');
    const message = { exchange: '', routingKey: 'q', body: Buffer.from('a') };
    expect(() => bus.send(message)).toThrow(expect.objectContaining({ code: 'THROTTLED' }));
    const late = expect(bus.publish(message)).rejects.toMatchObject({ code: 'THROTTLED' });
    clock.advance(10_000);
    await late;
    const patient = bus.publish(message);
    broker.unblock();
    await patient;
    expect(states).toEqual(['blocked', 'low on memory', 'ready', undefined]);
    expect(await bus.inspect('q')).toEqual({ messages: 1, consumers: 0 });
  });

  it('keeps dead letters that no queue takes yet', async () => {
    const clock = new ManualClock();
    const bus = new MemoryBroker({ clock }).connect();
    await bus.declare(
      queue('q', {
        'x-message-ttl': 10,
        'x-dead-letter-exchange': 'dlx',
        'x-dead-letter-strategy': 'at-least-once',
      }),
    );
    await bus.publish({ exchange: '', routingKey: 'q', body: Buffer.from('a') });
    clock.advance(10);
    await bus.declare({
      exchanges: [{ name: 'dlx', type: 'fanout' }],
      queues: [{ name: 'graves', kind: 'quorum' }],
      bindings: [{ exchange: 'dlx', queue: 'graves', routingKey: '' }],
    });
    expect(await bus.inspect('graves')).toEqual({ messages: 1, consumers: 0 });
  });

  it('matches topics as a slow, obviously right matcher does', () => {
    const slow = ([first, ...rest]: string[], words: string[]): boolean => {
      if (first === undefined) return words.length === 0;
      if (first === '#') return words.some((_, i) => slow(rest, words.slice(i))) || slow(rest, []);
      return words.length > 0 && (first === '*' || first === words[0]) && slow(rest, words.slice(1));
    };
    const word = fc.constantFrom('a', 'b', '');
    fc.assert(
      fc.property(
        fc.array(fc.oneof(word, fc.constantFrom('*', '#')), { minLength: 1, maxLength: 6 }),
        fc.array(word, { minLength: 1, maxLength: 6 }),
        (pattern, words) => matches(pattern, words) === slow(pattern, words),
      ),
      { numRuns: 2000 },
    );
  });
});
