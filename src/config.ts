// The settings: one strict schema over the environment and .muster/env.json, read once. Nobody else reads process.env.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, parse } from 'node:path';
import { z } from 'zod';
import { InvalidConfig } from './errors.js';

/** Where `muster up` leaves the addresses it started, for every other terminal below that folder. */
export const SETTINGS_DIRECTORY = '.muster';
const SETTINGS_FILE = 'env.json';

const number = (fallback: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);

/** Every setting: its variable, meaning and default. docs/settings.md is checked against this. */
export const settings = z.object({
  AMQP_URL: z
    .string()
    .regex(/^amqps?:\/\//, 'must begin with amqp:// or amqps://')
    .optional()
    .meta({ description: 'RabbitMQ. Several, separated by commas, are tried in random order.' }),
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, 'must begin with redis:// or rediss://')
    .optional()
    .meta({ description: 'Redis.' }),
  MUSTER_PREFIX: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/, 'must be lower-case letters, digits and hyphens')
    .default('muster')
    .meta({ description: 'First part of every exchange, queue and key: one installation.' }),
  WORKER_CONCURRENCY: number(2, 1, 10_000).meta({
    description: 'Tasks an agent runs at once: its registered capacity.',
  }),
  WORKSPACE_DIR: z
    .string()
    .default('')
    .meta({ description: "Where each task gets a directory of its own. Default: the system's temporary directory." }),
  MUSTER_MAX_PAYLOAD: number(1_048_576, 1024, 134_217_728).meta({ description: 'Largest message body, bytes.' }),
  MUSTER_LEASE_MS: number(15_000, 500, 600_000).meta({
    description: 'An agent silent for this long loses its tasks. Renewed three times in that span.',
  }),
  MUSTER_HEARTBEAT_MS: number(30_000, 100, 3_600_000).meta({
    description: 'Heartbeat of bus-only agents; stale after three.',
  }),
  MUSTER_RETENTION_MS: number(86_400_000, 1000, 31_536_000_000).meta({
    description: 'How long finished runs are kept.',
  }),
  MUSTER_DRAIN_MS: number(30_000, 0, 86_400_000).meta({
    description: 'How long a stopping agent lets running tasks finish.',
  }),
  MUSTER_MAX_HOPS: number(32, 1, 1000).meta({
    description: 'Longest chain of tasks that submit tasks: guards against endless loops.',
  }),
  MUSTER_CLOUDEVENTS: z
    .enum(['off', 'binary'])
    .default('off')
    .meta({ description: 'binary: task messages carry the CloudEvents 1.0 headers, for consumers that expect them.' }),
  MUSTER_TRACES: z
    .enum(['otlp', 'jaeger', 'both', 'none'])
    .default('otlp')
    .meta({ description: 'Where spans go. otlp is used once an OTEL_EXPORTER_OTLP_*ENDPOINT is set.' }),
  MUSTER_TRACE_SAMPLE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(1)
    .meta({ description: 'Share of traces begun here that are recorded.' }),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional().meta({ description: 'OpenTelemetry collector.' }),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z
    .string()
    .optional()
    .meta({ description: 'OpenTelemetry collector, traces only.' }),
  MUSTER_JAEGER_ENDPOINT: z
    .url()
    .default('http://localhost:14268/api/traces')
    .meta({ description: "Jaeger's collector (thrift over HTTP)." }),
  MUSTER_METRICS_PORT: number(0, 0, 65_535).meta({ description: 'Port of /metrics on 127.0.0.1; 0: none.' }),
  MUSTER_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
    .default('warn')
    .meta({ description: 'Log lines on stderr from this level up.' }),
});
export type Config = Readonly<z.infer<typeof settings>>;

/** The settings of this process, and where the addresses came from. Throws INVALID_CONFIG naming every problem at once. */
export function loadConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  directory: string = process.cwd(),
): Config & { readonly source: 'environment' | 'file' | 'none'; readonly file?: string } {
  const given: Record<string, string> = {};
  for (const name of Object.keys(settings.shape)) {
    const value = environment[name];
    if (value !== undefined && value !== '') given[name] = value;
  }
  const file = given.AMQP_URL === undefined && given.REDIS_URL === undefined ? findSettingsFile(directory) : undefined;
  const merged = file === undefined ? given : { ...readSettingsFile(file), ...given };
  const parsed = settings.safeParse(merged);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    throw InvalidConfig(file === undefined ? problems : `${problems} (from ${file})`);
  }
  const { AMQP_URL, REDIS_URL } = parsed.data;
  if ((AMQP_URL === undefined) !== (REDIS_URL === undefined)) {
    throw InvalidConfig(
      `AMQP_URL and REDIS_URL go together, but only ${AMQP_URL === undefined ? 'REDIS_URL' : 'AMQP_URL'} is set`,
    );
  }
  const source = file !== undefined ? 'file' : AMQP_URL === undefined ? 'none' : 'environment';
  return Object.freeze({ ...parsed.data, source, ...(file === undefined ? {} : { file }) });
}

export function settingsPath(directory: string): string {
  return join(directory, SETTINGS_DIRECTORY, SETTINGS_FILE);
}

/** Looks in the directory and above it, as git does, so that a second terminal in a subfolder just works. */
function findSettingsFile(directory: string): string | undefined {
  const { root } = parse(directory);
  for (let at = directory; ; at = dirname(at)) {
    const file = settingsPath(at);
    if (existsSync(file)) return file;
    if (at === root) return undefined;
  }
}

function readSettingsFile(file: string): Record<string, unknown> {
  try {
    const content: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof content === 'object' && content !== null) {
      const { AMQP_URL, REDIS_URL, MUSTER_PREFIX } = content as Record<string, unknown>;
      return Object.fromEntries(
        Object.entries({ AMQP_URL, REDIS_URL, MUSTER_PREFIX }).filter(([, value]) => value !== undefined),
      );
    }
    throw new Error('not an object');
  } catch (error) {
    throw InvalidConfig(
      `${file} cannot be read (${error instanceof Error ? error.message : String(error)}); remove it, or run 'muster up' again`,
    );
  }
}
