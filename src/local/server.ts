/**
 * One private server through its life: start, kill, pause, resume, restart, always on the same port with the same data.
 * What to launch and when it is ready come from `rabbitmq.ts` and `redis.ts`.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Running } from './guard.js';

const POLL_MS = 25;
const QUIT_MS = 8_000;

export interface ServerPlan {
  readonly title: string;
  readonly port: number;
  /** Longest wait for readiness; generous, because a slow disk is no failure and an exited process is seen at once. */
  readonly readyMs: number;
  readonly log: (line: string) => void;
  launch(): Running;
  isReady(running: Running): Promise<boolean>;
}

export interface PrivateServer {
  readonly pid: number | undefined;
  start(): Promise<void>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Ends it in good order if it is alive, then starts it again. */
  restart(): Promise<void>;
  /** Stops its clock: connections stay open and nobody answers, as in a network partition. */
  pause(): void;
  resume(): void;
}

export function createServer(plan: ServerPlan): PrivateServer {
  let running: Running | undefined;

  async function start(): Promise<void> {
    const began = performance.now();
    running = plan.launch();
    await untilReady(plan, running);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    plan.log(`${plan.title}: ready on 127.0.0.1:${plan.port} after ${seconds} s`);
  }

  async function quit(): Promise<void> {
    if (!running || running.hasExited) return;
    // A paused process would only take the TERM once it is resumed.
    running.signal('SIGCONT');
    running.signal('SIGTERM');
    await running.ended(QUIT_MS).catch(() => kill());
  }

  async function kill(): Promise<void> {
    running?.signal('SIGKILL');
    await running?.ended();
  }

  return {
    get pid() {
      return running && !running.hasExited ? running.pid : undefined;
    },
    start,
    kill,
    async restart() {
      await quit();
      await start();
    },
    pause: () => running?.signal('SIGSTOP'),
    resume: () => running?.signal('SIGCONT'),
  };
}

async function untilReady(plan: ServerPlan, running: Running): Promise<void> {
  const deadline = performance.now() + plan.readyMs;
  while (!(await plan.isReady(running))) {
    const late = performance.now() >= deadline;
    if (running.hasExited || late) {
      const cause = running.hasExited ? 'ended while starting' : `was not ready within ${plan.readyMs / 1000} s`;
      const last = logOf(running).trimEnd().split('\n').slice(-15).join('\n  ');
      throw new Error(
        `${plan.title} ${cause}, so nothing can connect to it. Its last lines:\n  ${last}\nNext: less ${running.logFile}`,
      );
    }
    await delay(POLL_MS);
  }
}

/** What this process, not an earlier one, has written to its log. */
export function logOf({ logFile, logStart }: Running): string {
  const length = statSync(logFile).size - logStart;
  const bytes = Buffer.alloc(Math.max(0, length));
  const file = openSync(logFile, 'r');
  try {
    readSync(file, bytes, 0, bytes.length, logStart);
  } finally {
    closeSync(file);
  }
  return bytes.toString('utf8');
}

/** Another program took a port between our choosing it and the server's binding it. */
export function isPortTaken(error: unknown): boolean {
  return error instanceof Error && /eaddrinuse|address already in use/i.test(error.message);
}
