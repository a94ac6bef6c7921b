// The address that Prometheus scrapes: GET /metrics and nothing else.
// Loopback unless told otherwise: metrics name capabilities and agents, and ask for no login.
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

interface Scraped {
  readonly contentType: string;
  metrics(): Promise<string>;
}

/** Port 0 takes a free one. Rejects when the port is taken. Does not keep the process alive by itself. */
export async function servePrometheus(
  registry: Scraped,
  options: { readonly port: number; readonly host?: string },
): Promise<MetricsServer> {
  const server = http.createServer((request, response) => {
    void answer(registry, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host ?? '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.unref();
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(registry: Scraped, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const path = (request.url ?? '').split('?')[0];
  if (path !== '/metrics') return refuse(response, 404, 'Only /metrics is here.');
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'Use GET.');
  try {
    const text = await registry.metrics();
    response.writeHead(200, { 'content-type': registry.contentType }).end(request.method === 'HEAD' ? '' : text);
  } catch {
    refuse(response, 500, 'The metrics cannot be collected.');
  }
}

function refuse(response: http.ServerResponse, status: number, why: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`);
}
