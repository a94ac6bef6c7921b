// Shell scripts on the bus, with amqp-tools: the very files docs/protocol.md quotes.

import { malformedQueue } from '../../src/bus/topology.js';
import { capability } from '../../src/index.js';
import { eventually } from '../support/eventually.js';
import { Foreign, missing } from './foreign.js';

const describeIf = missing('amqp-tools') === undefined ? describe : describe.skip;
const size = capability('size').handle((input) => ({ fields: Object.keys(input as object).length }));

describeIf('a shell script', () => {
  let foreign: Foreign;
  beforeEach(async () => {
    foreign = await Foreign.open();
  });
  afterEach(() => foreign.close());

  const outcomeOf = async (id: string) => {
    await eventually(
      () => foreign.client.task(id),
      (task) => task !== undefined,
      { withinMs: 10_000 },
    );
    return foreign.client.outcome(id);
  };

  it('publishes a task that an SDK agent runs, once however often it is published', async () => {
    await foreign.join('sdk', size);
    for (let n = 0; n < 3; n++) {
      expect(await foreign.run('publish_task.sh', ['from-shell', 'size', '{"a":1,"b":2}'])).toMatchObject({ code: 0 });
    }
    expect(await outcomeOf('from-shell')).toMatchObject({ status: 'completed', attempt: 1, output: { fields: 2 } });
  });

  it('is an agent', async () => {
    await foreign.startAgent('agent.sh', 'sh-agent', 'count');
    const found = await eventually(
      () => foreign.client.agents({ capabilities: ['count'] }),
      (agents) => agents.length > 0,
    );
    expect(found[0]!.agent).toMatchObject({ agent_id: 'sh-agent', kind: 'bus' });
    const tasks = await Promise.all([1, 2, 3].map((n) => foreign.client.submit('count', { n })));
    const results = await Promise.all(tasks.map((task) => foreign.client.result(task) as Promise<{ bytes: number }>));
    for (const { bytes } of results) expect(bytes).toBeGreaterThan(50);
  });

  it('is an agent for the task of another shell script', async () => {
    await foreign.startAgent('agent.sh', 'sh-agent', 'count');
    await foreign.run('publish_task.sh', ['sh-to-sh', 'count', '{}']);
    expect(await outcomeOf('sh-to-sh')).toMatchObject({ status: 'completed', agent: 'bus:sh-agent' });
  });

  it('publishes what cannot be read, and gets it back from the dead-letter queue byte for byte', async () => {
    await foreign.join('sdk', size);
    const bytes = '{"capability": "size", "parameters": {"a": 1}, "priority": ["?"], "id": "odd"}';
    const target = ['--exchange', `${foreign.prefix}.task`, '--routing-key', 'task.size.p2', '--body', bytes];
    expect(await foreign.exec('amqp-publish', ['--url', foreign.amqpUrl, ...target])).toMatchObject({ code: 0 });
    const queue = malformedQueue(foreign.prefix);
    const got = await eventually(
      () => foreign.exec('amqp-get', ['--url', foreign.amqpUrl, '--queue', queue]),
      ({ code }) => code === 0,
      { everyMs: 200, withinMs: 10_000 },
    );
    expect(got.out).toBe(bytes);
  });
});
