// Lua scripts: loaded from the .lua file beside their store, run by digest, and batched: calls of one turn of the event loop
// travel as one script call, which is what makes a store operation cost 3 us instead of 13 (docs/performance.md).
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { StoreUnavailable } from '../errors.js';

export type Reply = string | number | null | Reply[];
export type Argument = string | number | Buffer;

export interface Script {
  readonly name: string;
  readonly source: string;
  readonly digest: string;
}

/** Reads `directory/name.lua`, with the files in `shared` before it. The shebang line of the first file rules. */
export function loadScript(directory: string, name: string, shared: readonly string[] = []): Script {
  const parts = [...shared, name].map((file) => readFileSync(join(directory, `${file}.lua`), 'utf8'));
  const source = `#!lua\n${parts.map((part) => part.replace(/^#!lua.*\n/, '')).join('\n')}`;
  return { name, source, digest: createHash('sha1').update(source).digest('hex') };
}

/** Runs a script by digest; loads it again when Redis does not know it (restart, SCRIPT FLUSH). Rejects with STORE_UNAVAILABLE. */
export async function runScript(redis: Redis, script: Script, args: readonly Argument[]): Promise<Reply> {
  try {
    return (await redis.evalsha(script.digest, 0, ...args)) as Reply;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (message.startsWith('NOSCRIPT')) {
      try {
        return (await redis.eval(script.source, 0, ...args)) as Reply;
      } catch (again) {
        throw StoreUnavailable(`${script.name}: ${again instanceof Error ? again.message : String(again)}`, { cause: again });
      }
    }
    throw StoreUnavailable(`${script.name}: ${message}`, { cause: error });
  }
}

interface Waiting<I, O> {
  readonly item: I;
  readonly resolve: (answer: O) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers calls of one turn of the event loop, at most `most` items, and sends them together. Items keep their order. Every call
 * of a batch that fails rejects with the same error.
 */
export function batched<I, O>(most: number, send: (items: readonly I[]) => Promise<readonly O[]>): (item: I) => Promise<O> {
  let waiting: Waiting<I, O>[] = [];
  let scheduled = false;

  const flush = (): void => {
    scheduled = false;
    const all = waiting;
    waiting = [];
    for (let from = 0; from < all.length; from += most) void sendSlice(all.slice(from, from + most));
  };
  const sendSlice = async (slice: readonly Waiting<I, O>[]): Promise<void> => {
    try {
      const answers = await send(slice.map((entry) => entry.item));
      for (let i = 0; i < slice.length; i++) slice[i]!.resolve(answers[i] as O);
    } catch (error) {
      for (const entry of slice) entry.reject(error);
    }
  };
  return (item) =>
    new Promise<O>((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (!scheduled) {
        scheduled = true;
        // After the poll phase: everything that arrived in one read of a socket shares a batch, and an idle process waits for nothing.
        setImmediate(flush);
      }
    });
}
