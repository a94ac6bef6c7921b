// The Bus on a real RabbitMQ keeps the promises of the port. Each process is connected through its own proxy, to be cut alone.
import { randomBytes } from 'node:crypto';
import { openBus } from '../../src/bus/bus.js';
import type { Bus } from '../../src/ports.js';
import { testBus } from '../conformance/bus.suite.js';
import { eventually } from '../support/eventually.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const url = process.env.MUSTER_TEST_AMQP_URL ?? '';

testBus(
  'RabbitMQ',
  async () => {
    const prefix = `t-${randomBytes(6).toString('hex')}`;
    const proxies = new Map<Bus, TcpProxy>();
    const problems = new Map<Bus, string[]>();
    const names = new Set<string>();
    const connect = async () => {
      const proxy = await TcpProxy.start(url);
      const seen: string[] = [];
      const bus = await openBus({ urls: [proxy.url], name: prefix, onProblem: (where) => seen.push(where) });
      problems.set(bus, seen);
      const declare = bus.declare;
      bus.declare = async (topology) => {
        for (const queue of topology.queues) if (queue.kind === 'quorum') names.add(queue.name);
        return declare(topology);
      };
      proxies.set(bus, proxy);
      return bus;
    };
    return {
      prefix,
      connect,
      async cut(bus) {
        // It may be back before one could look.
        const lost = new Promise<void>((resolve) => {
          const stop = bus.onState((state) => {
            if (state !== 'connecting') return;
            stop();
            resolve();
          });
        });
        proxies.get(bus)!.cut();
        await lost;
      },
      async kill(bus) {
        await proxies.get(bus)!.stop();
        await bus.close();
      },
      async missed(bus, queue) {
        await eventually(
          () => problems.get(bus)!,
          (seen) => seen.includes(queue),
        );
      },
      async close() {
        const sweeper = await openBus({ urls: [url], name: `${prefix} sweeper` });
        for (const name of names) await sweeper.removeQueue(name);
        await sweeper.close();
        for (const [bus, proxy] of proxies) {
          await bus.close();
          await proxy.stop();
        }
      },
    };
  },
  { exactCounts: false },
);
