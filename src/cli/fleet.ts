/** A fleet on this machine: RabbitMQ and Redis (private ones unless addresses are set), a manager, and reference agents, each a
 *  process of its own behind a guard. Modes: starting -> up (what ends unasked is started again) -> stopping -> gone. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorRecord, MusterError } from '../errors.js';
import { type Guard, type Running, startGuard } from '../local/guard.js';
import { freePorts } from '../local/ports.js';
import { logOf } from '../local/server.js';
import { type Services, startServices } from '../local/services.js';
import { sweepStaleRun } from '../local/stale.js';
import { READY } from './member.js';

export interface Addresses {
  readonly AMQP_URL: string;
  readonly REDIS_URL: string;
}

export interface FleetOptions {
  /** Servers that exist already; without them private ones are started. */
  readonly addresses?: Addresses | undefined;
  readonly prefix: string;
  /** Where the private servers keep their data. Without `keepData` it must be new, and is removed at the end. */
  readonly servicesDirectory: string;
  /** Logs and workspaces of the processes. Treated likewise. */
  readonly membersDirectory: string;
  readonly keepData: boolean;
  /** Ids of the reference agents to start. */
  readonly agents: readonly string[];
  /** How long a stopping agent lets running tasks finish, unless MUSTER_DRAIN_MS says otherwise. */
  readonly drainMs: number;
  /** Hears what is done and, later, what went wrong. */
  readonly log: (line: string) => void;
}

export interface Fleet {
  readonly addresses: Addresses;
  readonly metricsUrl: string;
  /** Where the processes' logs are. */
  readonly logDirectory: string;
  /** The last lines of one process's log. */
  lastWords(member: string): string;
  /** Agents first, then the manager, then the servers. Afterwards no process is left. Safe to call twice. */
  stop(): Promise<void>;
}

const NOT_STARTED = { status: 500, retryable: false };
const READY_MS = 30_000;
const GRACE_MS = 3_000;
const LONGEST_PAUSE_MS = 30_000;
const POLL_MS = 25;

/** Resolves once every process does its duty; rejects with what the one that did not has said, and leaves nothing behind. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const services = options.addresses === undefined ? await startPrivateServers(options) : undefined;
  const addresses = options.addresses ?? { AMQP_URL: services!.amqpUrl!, REDIS_URL: services!.redisUrl! };
  try {
    return await startMembers(options, addresses, services);
  } catch (error) {
    await services?.stop();
    throw error;
  }
}

async function startPrivateServers({ servicesDirectory, keepData, log }: FleetOptions): Promise<Services> {
  try {
    return await startServices({ directory: servicesDirectory, keepData, log });
  } catch (cause) {
    // Its messages already say cause, effect and next step.
    throw new MusterError('NOT_STARTED', NOT_STARTED, errorRecord(cause).message, { cause });
  }
}

async function startMembers(
  options: FleetOptions,
  addresses: Addresses,
  services: Services | undefined,
): Promise<Fleet> {
  const { membersDirectory, keepData, agents, log } = options;
  const workspaces = join(membersDirectory, 'workspaces');
  if (keepData) {
    await sweepStaleRun(membersDirectory, log);
    rmSync(workspaces, { recursive: true, force: true });
  }
  const [metricsPort] = await freePorts([undefined]);
  const common = {
    WORKSPACE_DIR: workspaces,
    MUSTER_DRAIN_MS: String(options.drainMs),
    MUSTER_LOG_LEVEL: 'info',
    ...present(process.env),
    ...addresses,
    MUSTER_PREFIX: options.prefix,
    MUSTER_METRICS_PORT: '0',
  };
  const guard = startGuard({ directory: membersDirectory, keepData, graceMs: keepData ? GRACE_MS : 0 });
  const manager = new FleetProcess(
    guard,
    'manager',
    ['manager.js'],
    { ...common, MUSTER_METRICS_PORT: `${metricsPort}` },
    log,
  );
  const members = [
    manager,
    ...agents.map((id) => new FleetProcess(guard, id, ['reference-agent.js', id], common, log)),
  ];
  try {
    await Promise.all(members.map((member) => member.start()));
  } catch (error) {
    for (const member of members) member.expectEnd();
    await guard.stop();
    throw error;
  }
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    for (const member of members) member.expectEnd();
    await Promise.all(members.slice(1).map((member) => member.stop()));
    await manager.stop();
    await guard.stop();
    await services?.stop();
  };
  return {
    addresses,
    metricsUrl: `http://127.0.0.1:${metricsPort}/metrics`,
    logDirectory: join(membersDirectory, 'log'),
    lastWords: (name) => members.find((member) => member.name === name)?.lastWords() ?? '',
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}

function present(environment: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(environment).filter(([, value]) => value !== undefined && value !== '');
  return Object.fromEntries(entries) as Record<string, string>;
}

/** One process of the fleet, seen from outside. */
class FleetProcess {
  readonly name: string;
  readonly #launch: () => Running;
  readonly #stopMs: number;
  readonly #log: (line: string) => void;
  #running: Running | undefined;
  #isEnding = false;

  constructor(
    guard: Guard,
    name: string,
    [entry, ...args]: [string, ...string[]],
    env: Readonly<Record<string, string>>,
    log: (line: string) => void,
  ) {
    this.name = name;
    this.#log = log;
    // Past its drain an agent hands back what still runs; past that it is hung, and the guard ends it.
    this.#stopMs = Number(env.MUSTER_DRAIN_MS) + 10_000;
    const commandLine = [join(__dirname, entry), ...args];
    this.#launch = () => guard.launch({ name, command: process.execPath, args: commandLine, env, polite: true });
  }

  async start(): Promise<void> {
    const running = this.#launch();
    this.#running = running;
    await this.#ready(running);
    void this.#restartWhenItEnds(running);
  }

  async #ready(running: Running): Promise<void> {
    const deadline = performance.now() + READY_MS;
    while (!logOf(running).includes(READY)) {
      const late = performance.now() > deadline;
      if (running.hasExited || late) throw notStarted(this.name, late, this.lastWords());
      await delay(POLL_MS);
    }
  }

  async #restartWhenItEnds(first: Running): Promise<void> {
    let running = first;
    for (let pauseMs = 500; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      await running.exited;
      if (this.#isEnding) return;
      this.#log(`${this.name}: process ${running.pid} ended unasked; it is started again. Its log: ${running.logFile}`);
      await delay(pauseMs, undefined, { ref: false });
      if (this.#isEnding) return;
      running = this.#launch();
      this.#running = running;
      await this.#ready(running).then(
        () => {
          pauseMs = 250;
          this.#log(`${this.name}: back as process ${running.pid}`);
        },
        () => running.signal('SIGKILL'),
      );
    }
  }

  lastWords(): string {
    if (this.#running === undefined) return '';
    return logOf(this.#running).trimEnd().split('\n').slice(-15).join('\n  ');
  }

  /** From now on its end is no accident. */
  expectEnd(): void {
    this.#isEnding = true;
  }

  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined || running.hasExited) return;
    // A paused process would only take the TERM once it is resumed.
    running.signal('SIGCONT');
    running.signal('SIGTERM');
    await running.ended(this.#stopMs).catch(() => running.signal('SIGKILL'));
  }
}

function notStarted(name: string, late: boolean, words: string): MusterError {
  const cause = late ? `was not ready within ${READY_MS / 1000} s` : 'ended while starting';
  return new MusterError(
    'NOT_STARTED',
    NOT_STARTED,
    `The process '${name}' ${cause}, so everything was stopped. It said:\n  ${words}`,
  );
}
