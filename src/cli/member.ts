/** One process of a local fleet, seen from inside: says when it is ready, ends in order on a signal, never outlives its parent.
 *  Its counterpart, which starts it and reads what it says, is `fleet.ts`. */
import { loadConfig } from '../config.js';
import { errorRecord, InvalidConfig } from '../errors.js';

/** The line that tells the parent that this process does its duty. */
export const READY = 'muster: ready';

export interface Member {
  /** Safe to call once. */
  stop(): Promise<void>;
}

/** An orphan has nobody left who would collect it: it does not wait for what cannot end any more. */
const ORPHAN_MS = 3_000;

/** Runs a member until it is told to end. Exit code 0: asked to end; 1: it could not start, or lost its parent. */
export async function runMember(start: () => Promise<Member>): Promise<void> {
  let member: Member | undefined;
  let exitCode: number | undefined;
  const end = async (code: number): Promise<void> => {
    const isFirst = exitCode === undefined;
    exitCode = Math.max(exitCode ?? 0, code);
    if (!isFirst || member === undefined) return;
    await member.stop().catch((error) => {
      say(`It did not end in order: ${errorRecord(error).message}`);
      exitCode = 1;
    });
    process.exit(exitCode);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(0));
  if (process.channel !== undefined) {
    process.once('disconnect', () => {
      setTimeout(() => process.exit(1), ORPHAN_MS).unref();
      void end(1);
    });
    process.channel?.unref();
  }
  try {
    requireAddresses();
    member = await start();
  } catch (error) {
    say(`It could not start. ${errorRecord(error).message}`);
    process.exit(1);
  }
  if (exitCode !== undefined) {
    // Told to end while it was starting.
    await member.stop().catch(() => undefined);
    process.exit(exitCode);
  }
  process.stdout.write(`${READY}\n`);
}

/** Without addresses the SDK would run in memory: a fleet of one, which nobody could reach. */
function requireAddresses(): void {
  if (loadConfig().source !== 'none') return;
  throw InvalidConfig('AMQP_URL and REDIS_URL are not set, and no .muster/env.json is here or above; try `muster up`');
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
