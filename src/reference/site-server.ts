/** A static file server on 127.0.0.1 for one deployed site. Serves regular files below its root and nothing else;
 *  the root can be exchanged while it runs, so a new deployment keeps the address of the one before. */
import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { contains } from './paths.js';

export interface Site {
  /** `http://127.0.0.1:<port>/` */
  readonly url: string;
  /** Absolute path now being served. */
  root(): string;
  /** Serves another directory from the next request on. */
  exchange(root: string): void;
  /** Ends open connections too. Safe to call twice. */
  stop(): Promise<void>;
}

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.htm': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.xml': 'application/xml; charset=utf-8',
  '.svg': 'image/svg+xml; charset=utf-8',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.gif': 'image/gif',
  '.webp': 'image/webp',
  '.avif': 'image/avif',
  '.ico': 'image/x-icon',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
  '.pdf': 'application/pdf',
  '.wasm': 'application/wasm',
};

/** The type of a file by its name; unknown ones are never guessed. */
export function contentType(name: string): string {
  return contentTypes[extname(name).toLowerCase()] ?? 'application/octet-stream';
}

/** Starts serving `root` at a free port. The server alone does not keep the process alive. */
export async function startSite(root: string): Promise<Site> {
  let current = root;
  const server = createServer((request, response) => {
    answer(current, request, response).catch(() => {
      if (!response.headersSent) return refuse(response, 500, 'The file could not be read.');
      response.destroy(); // better cut off than ended as if it were whole
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  server.unref();
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    root: () => current,
    exchange: (next) => {
      current = next;
    },
    stop: () => close(server),
  };
}

async function answer(root: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume();
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return refuse(response, 405, 'Only GET and HEAD are answered.');
  }
  const segments = segmentsOf(request.url ?? '/');
  const file = segments === null ? null : await locate(root, segments);
  if (segments === null || file === null) return refuse(response, 404, 'There is no such file.');
  if (file.isDirectory) {
    // Relative links on an index page only work below an address that ends in a slash.
    const location = `/${segments
      .filter((part) => part !== '')
      .map(encodeURIComponent)
      .join('/')}/`;
    response.setHeader('location', location);
    return refuse(response, 308, 'See the address with a slash at its end.');
  }
  response.writeHead(200, {
    'content-type': contentType(file.path),
    'content-length': file.bytes,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-cache',
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  await pipeline(createReadStream(file.path, { end: Math.max(0, file.bytes - 1) }), response);
}

/** Decoded parts of the path; a last empty one means the address ends in a slash. `null` for anything odd. */
function segmentsOf(url: string): string[] | null {
  const path = url.split(/[?#]/, 1)[0]!;
  if (!path.startsWith('/')) return null;
  try {
    const segments = path.slice(1).split('/').map(decodeURIComponent);
    // Names with a leading dot cover `.`, `..` and everything hidden; an encoded slash must not make a new segment.
    const odd = segments.some((part, at) => /^\.|[/\\\0]/.test(part) || (part === '' && at < segments.length - 1));
    return odd ? null : segments;
  } catch {
    return null;
  }
}

interface Located {
  readonly path: string;
  readonly bytes: number;
  readonly isDirectory: boolean;
}

async function locate(root: string, segments: readonly string[]): Promise<Located | null> {
  try {
    const base = await realpath(root);
    const wanted = join(base, ...segments);
    const asIndex = segments.at(-1) === '';
    const path = await realpath(asIndex ? join(wanted, 'index.html') : wanted);
    if (!contains(base, path)) return null; // a symbolic link leads out
    const found = await stat(path);
    if (found.isFile()) return { path, bytes: found.size, isDirectory: false };
    if (!found.isDirectory() || asIndex) return null;
    const index = await stat(join(path, 'index.html'));
    return index.isFile() ? { path, bytes: 0, isDirectory: true } : null;
  } catch {
    return null;
  }
}

function refuse(response: ServerResponse, status: number, message: string): void {
  const body = `${message}\n`;
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
