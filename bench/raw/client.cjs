// What a user would write with amqplib alone, as fast as it goes: the yardstick.
const amqplib = require('amqplib');
const { actor } = require('../actor.cjs');
const { drive, now, payload } = require('../measure.cjs');

const PREFETCH = 200;
const DIRECT = 'amq.rabbitmq.reply-to';
const body = payload(1024);
const prepared = Buffer.from(JSON.stringify(body));
const pending = new Map();
let connection;
let prefix;
let confirmed;
let transient;
let replyQueue;
let next = 0;

const isEcho = (content) => JSON.parse(content).items.length === body.items.length;

actor({
  async open(given) {
    prefix = given.prefix;
    connection = await amqplib.connect(given.amqpUrl, { noDelay: true });
    confirmed = await connection.createConfirmChannel();
    const results = await connection.createChannel();
    await results.prefetch(PREFETCH);
    await results.consume(`${prefix}.result`, (message) => {
      const waiting = pending.get(message.properties.correlationId);
      pending.delete(message.properties.correlationId);
      waiting?.(message.content);
      results.ack(message);
    });
    transient = await connection.createChannel();
    const onReply = ({ content, properties }) => {
      const waiting = pending.get(properties.correlationId);
      pending.delete(properties.correlationId);
      waiting?.(content);
    };
    await transient.consume(DIRECT, onReply, { noAck: true });
    replyQueue = (await transient.assertQueue('', { exclusive: true })).queue;
    await transient.consume(replyQueue, onReply, { noAck: true });
  },
  close: () => connection.close(),

  /** Durable and confirmed both ways; known once the result is here and the broker has taken the task. */
  tasks: (span) =>
    drive(span, (done) => {
      const messageId = `task-${next++}`;
      let open = 2;
      pending.set(messageId, (content) => {
        if (!isEcho(content)) done(new Error('not an echo'));
        else if (--open === 0) done();
      });
      confirmed.sendToQueue(
        `${prefix}.task`,
        Buffer.from(JSON.stringify(body)),
        { persistent: true, messageId },
        (error) => {
          if (error) done(error);
          else if (--open === 0) done();
        },
      );
    }),

  /** `reply`: 'direct' or 'queue'; `bodies`: 'made' (built and parsed, as any user must) or 'prepared' (one Buffer, never read). */
  requests: (span, reply, bodies) =>
    drive(span, (done) => {
      const correlationId = `request-${next++}`;
      const made = bodies === 'made';
      pending.set(correlationId, (content) => done(made && !isEcho(content) ? new Error('not an echo') : undefined));
      transient.sendToQueue(`${prefix}.requests`, made ? Buffer.from(JSON.stringify(body)) : prepared, {
        correlationId,
        replyTo: reply === 'direct' ? DIRECT : replyQueue,
        type: bodies,
      });
    }),

  /** One chain over the quorum queue; milliseconds. */
  chain: (length) =>
    new Promise((resolve, reject) => {
      const messageId = `chain-${next++}`;
      const began = now();
      pending.set(messageId, () => resolve(now() - began));
      const first = Buffer.from(JSON.stringify({ hop: 1, of: length }));
      confirmed.sendToQueue(
        `${prefix}.chain`,
        first,
        { persistent: true, messageId },
        (error) => error && reject(error),
      );
    }),

  async stamps(count, everyMs) {
    for (let i = 0; i < count; i++) {
      const sent = Buffer.from(JSON.stringify({ sentAt: now() }));
      confirmed.sendToQueue(`${prefix}.stamp`, sent, { persistent: true });
      await confirmed.waitForConfirms();
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  },
});
