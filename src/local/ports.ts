/**
 * Loopback ports for private servers: picks free ones and asks a listening one whether it is really the server we started.
 * Below the services, above nothing: only `node:net` and chance.
 */
import { createConnection, createServer, type Server } from 'node:net';
import { systemRandom } from '../clock.js';

export const LOOPBACK = '127.0.0.1';

// Below every system's ephemeral range (Linux starts at 32768). A client that keeps dialling a dead port inside that range
// sooner or later gets it as its own source port, connects to itself, and the restarted server finds its port taken.
const LOWEST = 20_000;
const HIGHEST = 29_999;
const TRIES = 200;

/** Free ports, one per entry; an entry that names a port gets it if it is still free. */
export async function freePorts(wanted: readonly (number | undefined)[]): Promise<number[]> {
  // All are held until the last is found: released one by one, the same port could be handed out twice.
  const held: Server[] = [];
  try {
    for (const port of wanted) held.push(await hold(port));
    return held.map(portOf);
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

async function hold(wanted: number | undefined): Promise<Server> {
  if (wanted !== undefined) {
    const server = await listen(wanted);
    if (server) return server;
  }
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const server = await listen(LOWEST + Math.floor(systemRandom() * (HIGHEST - LOWEST + 1)));
    if (server) return server;
  }
  throw new Error(
    `No free port between ${LOWEST} and ${HIGHEST} on ${LOOPBACK} after ${TRIES} tries, so no private server can be started. ` +
      'Next: see what holds them with `ss -ltn` (Linux) or `lsof -iTCP -sTCP:LISTEN` (macOS).',
  );
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => resolve(server));
  });
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('A TCP listener has no port');
  return address.port;
}

/** Whether the server on `port` answers `question` as `accept` expects; refused, silent and wrong all mean no. */
export function answers(
  port: number,
  question: string,
  accept: (reply: string) => boolean,
  timeoutMs = 1000,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: LOOPBACK });
    let reply = '';
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setEncoding('latin1');
    // Total time, not idle time: a server that drips bytes would otherwise hold the caller for ever.
    const timer = setTimeout(() => settle(false), timeoutMs);
    socket.once('close', () => clearTimeout(timer));
    socket.once('error', () => settle(false));
    socket.once('end', () => settle(accept(reply)));
    socket.once('connect', () => {
      if (question === '') return settle(true);
      socket.write(question, 'latin1');
    });
    socket.on('data', (chunk: string) => {
      reply += chunk;
      if (accept(reply)) settle(true);
    });
  });
}
