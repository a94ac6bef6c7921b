/** Asks a site for its files over HTTP and compares what arrives with what is on disk.
 *  A deployment goes live only after this. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { z } from 'zod';
import { ReferenceFailure } from './errors.js';
import { contentType } from './site-server.js';

export const checkSchema = z.object({
  path: z.string().describe('As asked for, with its leading slash'),
  status: z.int(),
  contentType: z.string(),
  bytes: z.int(),
  sha256: z.string().describe('Of the bytes received; equal to the file on disk'),
});

export type HealthCheck = z.infer<typeof checkSchema>;

const maxChecks = 20;
const timeoutMs = 5_000;

/** Checks `/` and up to 19 further files. Throws `UNHEALTHY` at the first that differs. */
export async function checkHealth(
  url: string,
  root: string,
  files: readonly string[],
  signal: AbortSignal,
): Promise<HealthCheck[]> {
  const others = files.filter((file) => file !== 'index.html').slice(0, maxChecks - 1);
  const checks = [await checkOne(url, '/', join(root, 'index.html'), signal)];
  for (const file of others) {
    const path = `/${file.split('/').map(encodeURIComponent).join('/')}`;
    checks.push(await checkOne(url, path, join(root, file), signal));
  }
  return checks;
}

async function checkOne(url: string, path: string, file: string, signal: AbortSignal): Promise<HealthCheck> {
  const body = await readFile(file).catch(() => null);
  const answer = await ask(new URL(path, url), signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw unhealthy(path, String(cause), cause);
  });
  const sha256 = digest(answer.body);
  if (answer.status !== 200) throw unhealthy(path, `the status is ${answer.status}`);
  if (body === null || sha256 !== digest(body)) throw unhealthy(path, 'the bytes differ from the file');
  if (answer.contentType !== contentType(file)) throw unhealthy(path, `the content type is ${answer.contentType}`);
  return { path, status: answer.status, contentType: answer.contentType, bytes: answer.body.length, sha256 };
}

function ask(url: URL, signal: AbortSignal): Promise<{ status: number; contentType: string; body: Buffer }> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  return new Promise((resolve, reject) => {
    // No agent: a kept connection would hold the server, and the process, open.
    get(url, { agent: false, signal: limit }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          body: Buffer.concat(chunks),
        }),
      );
    }).once('error', reject);
  });
}

function digest(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex');
}

function unhealthy(path: string, reason: string, cause?: unknown): ReferenceFailure {
  const explanation = {
    why: `The new site does not answer ${path} as it should: ${reason}.`,
    effect: 'It was taken down again; what was being served before still is.',
    next: 'Try again; if it stays, look at that file.',
  };
  return new ReferenceFailure('UNHEALTHY', explanation, cause);
}
