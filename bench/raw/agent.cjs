// The other end of the raw figures: amqplib and nothing else, written as fast as it goes.
const amqplib = require('amqplib');
const { actor } = require('../actor.cjs');
const { now } = require('../measure.cjs');

const PREFETCH = 200;
let connection;
let delays = [];

actor({
  async open({ amqpUrl, prefix }) {
    connection = await amqplib.connect(amqpUrl, { noDelay: true });
    const out = await connection.createConfirmChannel();
    const durable = { durable: true, arguments: { 'x-queue-type': 'quorum' } };
    for (const name of ['task', 'result', 'chain', 'stamp']) await out.assertQueue(`${prefix}.${name}`, durable);
    const result = `${prefix}.result`;
    const chain = `${prefix}.chain`;

    const acked = async (queue, handle) => {
      const channel = await connection.createChannel();
      await channel.prefetch(PREFETCH);
      await channel.consume(queue, (message) => handle(message, channel));
    };
    // Task in, result out: the result is confirmed before the task is acked.
    await acked(`${prefix}.task`, (message, channel) => {
      const output = JSON.stringify(JSON.parse(message.content));
      const options = { persistent: true, correlationId: message.properties.messageId };
      out.sendToQueue(result, Buffer.from(output), options, (error) => !error && channel.ack(message));
    });
    // A hop of a chain puts the next one into the same queue.
    await acked(chain, (message, channel) => {
      const { hop, of } = JSON.parse(message.content);
      const next = hop < of ? { hop: hop + 1, of } : { done: true };
      const { messageId } = message.properties;
      const options = { persistent: true, messageId, correlationId: messageId };
      out.sendToQueue(
        hop < of ? chain : result,
        Buffer.from(JSON.stringify(next)),
        options,
        (error) => !error && channel.ack(message),
      );
    });
    await acked(`${prefix}.stamp`, (message, channel) => {
      delays.push(now() - JSON.parse(message.content).sentAt);
      channel.ack(message);
    });

    const transient = await connection.createChannel();
    await transient.assertQueue(`${prefix}.requests`, { exclusive: true });
    const serve = ({ content, properties }) => {
      const { replyTo, correlationId, type } = properties;
      const body = type === 'prepared' ? content : Buffer.from(JSON.stringify(JSON.parse(content)));
      transient.sendToQueue(replyTo, body, { correlationId });
    };
    await transient.consume(`${prefix}.requests`, serve, { noAck: true });
  },
  delays() {
    const answer = delays;
    delays = [];
    return answer;
  },
  close: () => connection.close(),
});
