// Lua scripts: loaded from the .lua file beside their store, and run by digest.
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
        throw StoreUnavailable(`${script.name}: ${again instanceof Error ? again.message : String(again)}`, {
          cause: again,
        });
      }
    }
    throw StoreUnavailable(`${script.name}: ${message}`, { cause: error });
  }
}
