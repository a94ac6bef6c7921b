/**
 * RabbitMQ and Redis from a container engine, for machines that have one and not the servers.
 * The engine's client runs in the foreground under the guard; the guard removes the container by name.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { containerEnvironment, type Launch, searchPath } from './guard.js';

const ENGINES = ['docker', 'podman'] as const;
// A client without its engine waits long on some systems; three seconds tell the two apart.
const ENGINE_ANSWERS_MS = 3_000;

// The tags deploy/ uses, so a laptop and a cluster run the same servers.
export const IMAGES = {
  rabbitmq: 'docker.io/library/rabbitmq:4.3-management',
  redis: 'docker.io/library/redis:8-alpine',
};

/** The first engine that answers, not merely the first client installed. */
export async function findEngine(): Promise<string | undefined> {
  for (const engine of ENGINES) {
    const answered = await new Promise<boolean>((resolve) => {
      execFile(engine, ['info'], { timeout: ENGINE_ANSWERS_MS, killSignal: 'SIGKILL' }, (error) => resolve(!error));
    });
    if (answered) return engine;
  }
  return undefined;
}

export interface ContainerPlan {
  readonly name: string;
  readonly engine: string;
  readonly image: string;
  /** Port on our loopback -> port inside. */
  readonly publish: readonly (readonly [number, number])[];
  readonly mount: readonly [host: string, inside: string];
  readonly env: Readonly<Record<string, string>>;
  readonly command: readonly string[];
}

export function containerLaunch(plan: ContainerPlan): Launch {
  // A fresh name each time: the engine may still be removing the one a restart replaces.
  const name = `muster-${plan.name}-${randomBytes(4).toString('hex')}`;
  const args = [
    'run',
    '--rm',
    ...['--name', name],
    // Data belongs to us, so that we can remove it again without being root.
    ...['--user', `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`],
    ...(plan.engine === 'podman' ? ['--userns', 'keep-id'] : []),
    ...plan.publish.flatMap(([outside, inside]) => ['--publish', `127.0.0.1:${outside}:${inside}`]),
    ...['--volume', `${plan.mount[0]}:${plan.mount[1]}:Z`],
    // Names only: a value on the command line can be read by every user of the machine.
    ...Object.keys(plan.env).flatMap((variable) => ['--env', variable]),
    plan.image,
    ...plan.command,
  ];
  return {
    name: plan.name,
    command: plan.engine,
    args,
    env: { PATH: searchPath(), ...containerEnvironment(), ...plan.env },
    polite: true,
    container: { engine: plan.engine, name },
  };
}
