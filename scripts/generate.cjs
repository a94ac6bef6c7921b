// Writes what follows from the contracts and the topology: schemas/*.json and docs/asyncapi.json. Plain node over dist/.
// A test calls documents() over the sources and compares, so a forgotten `npm run generate` fails.
const { mkdirSync, readdirSync, rmSync, writeFileSync } = require('node:fs');
const { dirname, join } = require('node:path');

const BINDING = '0.3.0';

/** Path -> content of every generated file. `contracts`, `topology`, `events`: the modules of those names. */
function documents({ contracts, topology, events, version }) {
  const files = {};
  for (const name of Object.keys(contracts.CONTRACTS)) {
    files[`schemas/${name}.json`] = print(contracts.schemaOf(name, 'draft-2020-12'));
  }
  files['docs/asyncapi.json'] = print(asyncapi({ contracts, topology, events, version }));
  return files;
}

/** AsyncAPI 3.0.0, seen from a foreign client: `send` is what it publishes, `receive` what it takes. */
function asyncapi({ contracts, topology, events, version }) {
  const prefix = topology.DEFAULT_PREFIX;
  const { exchanges } = topology.baseTopology(prefix);
  const exchange = (kind) => {
    const { name, type } = exchanges.find((one) => one.name === topology.exchangeName(prefix, kind));
    return { is: 'routingKey', exchange: { name, type, durable: true, autoDelete: false, vhost: '/' } };
  };
  const channel = (title, address, binding, messages, parameters) => ({
    title,
    address,
    messages: Object.fromEntries(messages.map((name) => [name, { $ref: `#/components/messages/${name}` }])),
    ...(parameters === undefined ? {} : { parameters }),
    bindings: { amqp: { ...binding, bindingVersion: BINDING } },
  });
  const CAPABILITY = { capability: { description: 'Name of a capability.' } };
  const CLASS = { class: { description: 'Priority class.', enum: ['p0', 'p1', 'p2', 'p3'], default: 'p2' } };
  const INSTANCE = { instance: { description: 'An instance: the process of an agent or client.' } };
  const queueName = topology.taskQueue(prefix, '{capability}', 0).replace(/p0$/, '{class}');
  const key = topology.taskKey('{capability}', 0).replace(/p0$/, '{class}');
  const channels = {
    task: channel('Tasks', key, exchange('task'), ['task'], { ...CAPABILITY, ...CLASS }),
    taskQueue: channel(
      'Tasks of one capability and class',
      queueName,
      { is: 'queue', queue: { name: queueName, durable: true, exclusive: false, autoDelete: false, vhost: '/' } },
      ['task'],
      { ...CAPABILITY, ...CLASS },
    ),
    submit: channel('Runs', 'run', exchange('submit'), ['run']),
    result: channel('Reports of bus-only agents', '{type}', exchange('result'), ['report'], {
      type: { description: "The report's type; not used for routing." },
    }),
    agent: channel('Requests to an agent', '{instance}', exchange('agent'), ['request'], INSTANCE),
    broadcast: channel('Requests to all agents', '', exchange('broadcast'), ['request']),
    reply: channel(
      'Answers',
      topology.replyKey('{instance}'),
      exchange('reply'),
      ['response', 'runResponse'],
      INSTANCE,
    ),
    event: channel('Events', topology.eventKey('{event}'), exchange('event'), ['event'], {
      event: { description: "One of Muster's own events, or a topic of a client.", examples: [...events.EVENT_NAMES] },
    }),
  };
  const operation = (action, name, summary, binding, reply) => ({
    action,
    channel: { $ref: `#/channels/${name}` },
    summary,
    ...(reply === undefined ? {} : { reply: { channel: { $ref: `#/channels/${reply}` } } }),
    bindings: { amqp: { ...binding, bindingVersion: BINDING } },
  });
  const kept = { deliveryMode: 2, mandatory: false };
  const transient = { deliveryMode: 1, mandatory: true };
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Muster',
      version,
      description:
        'The bus as any AMQP 0-9-1 client sees it: send is what such a client publishes, receive what it takes. ' +
        'Names begin with MUSTER_PREFIX, here its default. docs/protocol.md has worked examples.',
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers: {
      local: { host: 'localhost:5672', protocol: 'amqp', protocolVersion: '0.9.1', description: 'AMQP_URL' },
    },
    channels,
    operations: {
      publishTask: operation('send', 'task', 'Publish a task; an unknown capability is parked, not dropped.', kept),
      takeTask: operation('receive', 'taskQueue', 'Take a task; acked once its report was confirmed.', { ack: true }),
      submitRun: operation('send', 'submit', 'Publish a run; answered if it names reply_to.', kept, 'reply'),
      report: operation('send', 'result', 'Register, beat, and report on tasks.', kept),
      request: operation('send', 'agent', 'Ask an agent now; returned if it is gone.', transient, 'reply'),
      broadcastRequest: operation('send', 'broadcast', 'Tell every agent.', { ...transient, mandatory: false }),
      answer: operation('send', 'reply', 'Answer a request.', { ...transient, mandatory: false }),
      takeAnswer: operation('receive', 'reply', 'Take answers.', { ack: false }),
      followEvents: operation('receive', 'event', 'Hear what happens.', { ack: false }),
    },
    components: {
      messages: {
        task: message(contracts, 'task', 'task'),
        run: message(contracts, 'run', 'run'),
        runResponse: message(contracts, 'run-response', 'run_response'),
        report: message(contracts, 'report'),
        request: message(contracts, 'request', 'agent_request'),
        response: message(contracts, 'response', 'agent_response'),
        event: message(contracts, 'event'),
      },
      schemas: Object.fromEntries(
        ['task', 'run', 'run-response', 'report', 'request', 'response', 'event'].map((name) => [
          name,
          embedded(contracts, name),
        ]),
      ),
    },
  };
}

function message(contracts, name, messageType) {
  const { title, description, examples } = contracts.CONTRACTS[name];
  return {
    name,
    title,
    summary: description,
    contentType: 'application/json',
    payload: { $ref: `#/components/schemas/${name}` },
    examples: examples.map((payload) => ({ payload })),
    bindings: { amqp: { ...(messageType === undefined ? {} : { messageType }), bindingVersion: BINDING } },
  };
}

/** A schema inside the document: its own references must start at the document's root. */
function embedded(contracts, name) {
  const { examples: _, ...schema } = contracts.schemaOf(name, 'draft-7');
  const text = JSON.stringify(schema).replaceAll(
    '"$ref":"#/definitions/',
    `"$ref":"#/components/schemas/${name}/definitions/`,
  );
  return JSON.parse(text);
}

function print(value) {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function main() {
  const root = join(__dirname, '..');
  const files = documents({
    contracts: require('../dist/contracts/registry.js'),
    topology: require('../dist/bus/topology.js'),
    events: require('../dist/contracts/events.js'),
    version: require('../package.json').version,
  });
  mkdirSync(join(root, 'schemas'), { recursive: true });
  for (const file of readdirSync(join(root, 'schemas'))) {
    if (files[`schemas/${file}`] === undefined) rmSync(join(root, 'schemas', file));
  }
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  process.stderr.write(`Generated: ${Object.keys(files).length} files in schemas/ and docs/\n`);
}

module.exports = { documents };
if (require.main === module) main();
