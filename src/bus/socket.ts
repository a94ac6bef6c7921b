// The way out of a connection: everything written in one turn of the event loop leaves in one system call.
// amqplib passes each frame through an object stream and a multiplexer and writes it alone; measured, that is a third of the
// CPU of a durable round trip. The version of amqplib is pinned, and where its insides look different nothing is changed.
import type { Socket } from 'node:net';
import type { Channel, ChannelModel } from 'amqplib';

interface Insides {
  readonly stream?: Socket;
  readonly channels?: ({ buffer: { write(frame: Buffer): boolean; end(): void } } | null)[];
}

// Larger chunks are not worth copying.
const LARGE = 65_536;

/** Bytes written and not yet taken by the kernel. */
export function unsentBytes(model: ChannelModel): number {
  return socketOf(model)?.writableLength ?? 0;
}

/**
 * Ends a connection without a word: for a peer that does not answer, and for sockets half closed. With an error, because amqplib
 * does not notice a plain close, and would keep its channels and its heartbeat.
 */
export function hangUp(model: ChannelModel): void {
  socketOf(model)?.destroy(new Error('hung up'));
}

function socketOf(model: ChannelModel): Socket | undefined {
  return (model.connection as unknown as Insides).stream;
}

/** Gathers the writes of one turn. To be called before channels are opened. */
export function gatherWrites(model: ChannelModel): void {
  const socket = socketOf(model);
  if (socket === undefined) return;
  const write = socket.write.bind(socket) as (chunk: Buffer) => boolean;
  const end = socket.end.bind(socket) as () => Socket;
  let chunks: Buffer[] = [];
  let bytes = 0;
  const flush = () => {
    if (chunks.length === 0) return;
    const [pending, length] = [chunks, bytes];
    chunks = [];
    bytes = 0;
    if (socket.writable) write(pending.length === 1 ? pending[0]! : Buffer.concat(pending, length));
  };
  const gather = (chunk: Buffer): boolean => {
    if (chunk.length >= LARGE) {
      flush();
      return write(chunk);
    }
    if (chunks.length === 0) process.nextTick(flush);
    chunks.push(chunk);
    bytes += chunk.length;
    return true;
  };
  socket.write = gather as typeof socket.write;
  // The answer to a connection.close is written just before the end: without the flush the broker would miss it.
  socket.end = (() => {
    flush();
    return end();
  }) as typeof socket.end;
}

/** Lets a channel write to the socket itself. Its frames stay in order: amqplib writes each message whole, in one call. */
export function writeStraight(model: ChannelModel, channel: Channel): void {
  const { stream, channels } = model.connection as unknown as Insides;
  const number = (channel as unknown as { ch?: unknown }).ch;
  const slot = typeof number === 'number' ? channels?.[number] : undefined;
  if (stream === undefined || slot === undefined || slot === null || typeof slot.buffer?.write !== 'function') return;
  const drained = slot.buffer;
  slot.buffer = {
    write: (frame) => stream.write(frame),
    // The multiplexer forgets the stream it was given when that ends.
    end: () => drained.end(),
  };
}
