// What is wrong is refused with a code, or put aside whole with the reason; nothing of it is stored, and everyone works on.
import type { Options } from 'amqplib';
import { capability } from '../../src/agent/capability.js';
import { agent } from '../../src/agent/define.js';
import { eventually } from '../support/eventually.js';
import { type World, world } from '../support/world.js';

let w: World;
const states: string[] = [];
beforeAll(async () => {
  w = await world();
  const manager = await w.manager();
  const worker = await w.join('worker', [
    capability('work').handle((input) => input),
    capability('constructor').handle(() => 'built'),
  ]);
  for (const { ports } of [manager.instance, worker.instance, w.client.instance]) {
    ports.bus.onState((state) => states.push(state));
  }
});
afterAll(() => w.close());
// Whatever was sent: the connections of the client, the agent and the manager are up, and were all the time.
afterEach(async () => {
  const task = await w.client.submit('work', { still: 'alive' });
  expect(await w.client.result(task)).toEqual({ still: 'alive' });
  expect(states).toEqual([]);
});

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const HOSTILE = ['#', '*', 'a.b', '', 'A', '../etc', '{x}', 'a b', 'a\r\nb', 'a\u0000', '__proto__', 'x'.repeat(300)];

describe('the SDK', () => {
  it.each(HOSTILE)('refuses the name %j for a capability, a key, an agent and a dependency', async (name) => {
    const before = await w.storedKeys();
    const refusals = [
      () => w.client.submit(name, {}),
      () => w.client.submit('work', {}, { assignedTo: name }),
      () => w.client.run({ tasks: [{ capability: 'work', key: name }] }),
      () => w.client.run({ tasks: [{ capability: 'work', after: [name] }] }),
      () => w.client.run({ id: name === 'A' ? '-' : name, tasks: [{ capability: 'work' }] }),
      async () => capability(name),
      () => agent(name, []).start({ settings: w.settings }),
    ];
    for (const refusal of refusals) await expect(refusal()).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    expect(await w.storedKeys()).toEqual(before);
  });

  it("takes 'constructor' for the ordinary name it is", async () => {
    expect(await w.client.result(await w.client.submit('constructor'))).toBe('built');
    expect(await w.client.request('constructor', 'constructor')).toBe('built');
    const run = await w.client.run({
      tasks: [
        { key: 'constructor', capability: 'constructor' },
        { key: 'hasownproperty', capability: 'work', after: ['constructor'] },
      ],
    });
    expect(await w.client.runOutcome(run.id)).toMatchObject({ status: 'completed' });
  });

  it('names the path of a circle, and stores nothing of the run', async () => {
    const before = await w.storedKeys();
    const circle = {
      tasks: [
        { key: 'free', capability: 'work' },
        { key: 'a', capability: 'work', after: ['free', 'c'] },
        { key: 'b', capability: 'work', after: ['a'] },
        { key: 'c', capability: 'work', after: ['b'] },
      ],
    };
    await expect(w.client.run(circle)).rejects.toMatchObject({
      code: 'CYCLIC_RUN',
      message: expect.stringMatching(
        /(a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c|a -> c -> b -> a|c -> b -> a -> c|b -> a -> c -> b)/,
      ),
    });
    await expect(w.client.run({ tasks: [{ key: 'self', capability: 'work', after: ['self'] }] })).rejects.toMatchObject(
      {
        code: 'CYCLIC_RUN',
        message: expect.stringContaining('self -> self'),
      },
    );
    await expect(w.client.run({ tasks: [{ key: 'x', capability: 'work', after: ['y'] }] })).rejects.toMatchObject({
      code: 'UNKNOWN_DEPENDENCY',
    });
    await expect(
      w.client.run({
        tasks: [
          { key: 'x', capability: 'work' },
          { key: 'x', capability: 'work' },
        ],
      }),
    ).rejects.toMatchObject({ code: 'DUPLICATE_TASK' });
    expect(await w.storedKeys()).toEqual(before);
  });

  it('refuses input that is too large, too deep, circular, or not JSON', async () => {
    const before = await w.storedKeys();
    const circular: Record<string, unknown> = {};
    Object.assign(circular, { self: circular, again: circular, more: [circular, circular] });
    const wrong: [unknown, string][] = [
      ['x'.repeat(64 * 1024 * 1024), 'PAYLOAD_TOO_LARGE'],
      [JSON.parse(deep(200_000)), 'INVALID_INPUT'],
      [circular, 'INVALID_INPUT'],
      [10n, 'INVALID_INPUT'],
    ];
    for (const [input, code] of wrong) await expect(w.client.submit('work', input)).rejects.toMatchObject({ code });
    for (const [input, code] of wrong.slice(0, 2)) {
      await expect(w.client.request('worker', 'work', input, { timeoutMs: 2000 })).rejects.toMatchObject({ code });
      await expect(w.client.publish('topic', input)).rejects.toMatchObject({ code });
    }
    expect(await w.storedKeys()).toEqual(before);
  }, 20_000);

  it('refuses what is not a task or run at all', async () => {
    for (const run of [
      null,
      [],
      'run',
      {},
      { tasks: [] },
      { tasks: [{}] },
      { tasks: [{ capability: 'work', typo: 1 }] },
    ]) {
      await expect(w.client.run(run as never)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    }
    await expect(w.client.submit('work', {}, { priority: 11 as never })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    await expect(w.client.result('no-such-task')).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' });
  });
});

describe('a stranger on the bus', () => {
  const malformed = () => `${w.prefix}.dlq.unknown`;

  /** Publishes and waits until it was put aside: the same bytes, with the reason. */
  async function putAside(exchange: string, key: string, body: Buffer, properties: Options.Publish = {}) {
    const channel = await (await w.amqp()).createConfirmChannel();
    channel.publish(`${w.prefix}.${exchange}`, key, body, { persistent: true, ...properties });
    await channel.waitForConfirms();
    const found = await eventually(
      () => channel.get(malformed(), { noAck: true }),
      (message) => message !== false,
      { withinMs: 15_000 },
    );
    await channel.close();
    if (found === false) throw new Error('unreachable');
    expect(found.content.equals(body)).toBe(true);
    return found.properties.headers as Record<string, unknown>;
  }

  const bodies: [string, string][] = [
    ['malformed JSON', '{"capability": "work"'],
    ['no JSON', 'hello'],
    ['nothing', ''],
    ['null', 'null'],
    ['a list', '[]'],
    ['a wrong schema', '{"capability":7}'],
    ['a hostile name', '{"id":"x","capability":"#"}'],
    [
      'a polluting key',
      '{"id":"x","capability":"work","__proto__":{"a":1},"constructor":{"prototype":{"a":1}},"priority":"__proto__"}',
    ],
    ['200,000 levels', `{"id":"x","capability":"work","parameters":${deep(200_000)}}`],
  ];

  it.each(bodies)('that sends %s as a task has it put aside with the reason', async (_, body) => {
    const before = await w.storedKeys();
    const headers = await putAside('task', 'task.work.p2', Buffer.from(body), { messageId: 'x' });
    expect(headers).toMatchObject({
      'x-muster-error-code': expect.stringMatching(/^(MALFORMED|INVALID_INPUT)$/),
      'x-muster-key': 'task.work.p2',
    });
    expect(await w.storedKeys()).toEqual(before);
    expect(({} as { a?: unknown }).a).toBeUndefined();
  });

  it.each(bodies)("that sends %s as a task in Muster's own name has it put aside with the reason", async (_, body) => {
    const before = await w.storedKeys();
    await putAside('task', 'task.work.p2', Buffer.from(body), { messageId: 'x', appId: 'muster' });
    expect(await w.storedKeys()).toEqual(before);
  });

  it.each(['#', 'a.b.c', '__proto__', 'x'.repeat(200), '{x}:y'])(
    'that gives a task the id %j has it put aside',
    async (id) => {
      const before = await w.storedKeys();
      for (const appId of ['stranger', 'muster']) {
        await putAside('task', 'task.work.p2', Buffer.from('{"capability":"work"}'), { messageId: id, appId });
      }
      expect(await w.storedKeys()).toEqual(before);
    },
  );

  it.each(bodies)('that submits %s as a run is told, and it is put aside with the reason', async (_, body) => {
    const before = await w.storedKeys();
    const channel = await (await w.amqp()).createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, `${w.prefix}.reply`, 'reply.me');
    await putAside('submit', 'run', Buffer.from(body), { replyTo: 'reply.me', correlationId: 'c1' });
    const reply = await eventually(
      () => channel.get(queue, { noAck: true }),
      (message) => message !== false,
    );
    await channel.close();
    if (reply === false) throw new Error('unreachable');
    expect(reply.properties.correlationId).toBe('c1');
    expect(JSON.parse(reply.content.toString())).toMatchObject({
      status: 'refused',
      error: { code: expect.any(String) },
    });
    expect(await w.storedKeys()).toEqual(before);
  });

  it.each(bodies)('that reports %s as a result has it put aside', async (_, body) => {
    await putAside('result', 'result', Buffer.from(body));
  });

  it('that submits a circle is told its path', async () => {
    const body =
      '{"tasks":[{"key":"a","capability":"work","after":["b"]},{"key":"b","capability":"work","after":["a"]}]}';
    expect(await putAside('submit', 'run', Buffer.from(body))).toMatchObject({
      'x-muster-error-code': 'CYCLIC_RUN',
      'x-muster-error-message': expect.stringMatching(/a -> b -> a|b -> a -> b/),
    });
  });

  it('that sends rubbish to everyone and to one agent disturbs no one', async () => {
    const channel = await (await w.amqp()).createConfirmChannel();
    for (const [, body] of bodies) {
      for (const type of ['agent_request', 'agent_response', 'control', 'odd']) {
        channel.publish(`${w.prefix}.broadcast`, '', Buffer.from(body), { type, replyTo: '#' });
      }
    }
    await channel.waitForConfirms();
    await channel.close();
    expect(await w.client.request('worker', 'work', { fine: 1 })).toEqual({ fine: 1 });
  });

  it('that sends 64 MiB is put aside too, or refused by the broker itself', async () => {
    const channel = await (await w.amqp()).createConfirmChannel();
    const refused = new Promise<'refused'>((resolve) => channel.on('error', () => resolve('refused')));
    channel.on('close', () => undefined);
    channel.publish(`${w.prefix}.task`, 'task.work.p2', Buffer.alloc(64 * 1024 * 1024, 0x20), { messageId: 'big' });
    const answer = await Promise.race([refused, channel.waitForConfirms().then(() => 'taken' as const)]);
    if (answer === 'refused') return;
    const { bus } = w.client.instance.ports;
    await eventually(
      async () => (await bus.inspect(`${w.prefix}.dlq.work`))?.messages,
      (messages) => messages === 1,
      { withinMs: 20_000 },
    );
    await channel.purgeQueue(`${w.prefix}.dlq.work`);
    await channel.close();
  }, 30_000);
});

describe('a wrong login or address', () => {
  it.each<[string, 'AMQP_URL' | 'REDIS_URL', Partial<URL>, string]>([
    ['password for RabbitMQ', 'AMQP_URL', { password: 'hunter2' }, 'BROKER_REFUSED'],
    ['virtual host', 'AMQP_URL', { pathname: '/nowhere' }, 'BROKER_REFUSED'],
    ['password for Redis', 'REDIS_URL', { password: 'hunter2' }, 'STORE_REFUSED'],
    ['missing password for Redis', 'REDIS_URL', { password: '' }, 'STORE_REFUSED'],
    ['port of Redis', 'REDIS_URL', { port: '1' }, 'STORE_UNAVAILABLE'],
  ])(
    '%s is told by its code, without the secret',
    async (_, name, change, code) => {
      const url = Object.assign(new URL(String(w.settings[name])), change).href;
      const error = await w.connect('stranger', { [name]: url }).then(
        () => 'connected',
        (refused) => refused,
      );
      expect(error).toMatchObject({ code, message: expect.stringMatching(/RabbitMQ at|Redis at|Redis cannot/) });
      expect(JSON.stringify([error, error.message])).not.toContain('hunter2');
    },
    20_000,
  );
});
