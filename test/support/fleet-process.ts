// One member of a fleet in a process of its own, for tests that kill it: an agent or a manager. Tells its parent every event, and
// 'ready' once it takes work. Ends with its parent.
import { setTimeout as delay } from 'node:timers/promises';
import type { AgentOptions } from '../../src/agent/agent-options.js';
import { capability } from '../../src/agent/capability.js';
import { Client } from '../../src/agent/client.js';
import { configOf, openPorts } from '../../src/agent/connect.js';
import type { Context } from '../../src/agent/context.js';
import { agent } from '../../src/agent/define.js';
import { Instance } from '../../src/agent/instance.js';
import { serve } from '../../src/agent/serve.js';
import type { Emitter } from '../../src/telemetry/emitter.js';

/** What a task of a spawned agent does: works for `ms`, or until it is stopped; then answers with `say`, its agent and its pid. */
export interface TaskStep {
  readonly ms?: number;
  /** Works without letting the event loop turn: what it returns is settled before the process hears anything else. */
  readonly blocking?: boolean;
  readonly untilStopped?: boolean;
  readonly say?: unknown;
}

interface Member {
  readonly role: 'agent' | 'manager';
  readonly id: string;
  readonly can?: readonly string[];
  readonly options?: AgentOptions;
  readonly settings: Record<string, string | number>;
}

async function work(input: unknown, context: Context): Promise<unknown> {
  const { ms = 0, blocking = false, untilStopped = false, say = null } = (input ?? {}) as TaskStep;
  if (untilStopped) {
    await new Promise<void>((resolve) => context.signal.addEventListener('abort', () => resolve()));
    const { code } = context.signal.reason as { code?: string };
    process.send?.({
      event: 'task.progressed',
      task: context.id,
      capability: '',
      fraction: 1,
      note: code ?? 'aborted',
    });
    throw context.signal.reason;
  }
  if (blocking) for (const end = performance.now() + ms; performance.now() < end; );
  else if (ms > 0) await delay(ms);
  return { say, agent: context.agent, attempt: context.attempt, pid: process.pid };
}

async function main(): Promise<void> {
  const member = JSON.parse(process.argv[2]!) as Member;
  process.on('disconnect', () => process.exit(0));
  const tell = (emitter: Emitter): void => void emitter.on((record) => void process.send?.(record));
  if (member.role === 'manager') {
    const manager = await serve({ settings: member.settings });
    tell(manager.instance.emitter);
  } else {
    const config = configOf({ settings: member.settings });
    const ports = { ...(await openPorts(config, member.id)), observe: tell };
    const instance = await Instance.open(ports, config, member.id);
    const offers = (member.can ?? []).map((name) => capability(name).handle(work as never));
    await agent(member.id, offers, member.options).start(new Client(instance, async () => undefined));
  }
  process.send?.('ready');
}

void main();
