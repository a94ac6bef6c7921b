/** `muster up`: RabbitMQ, Redis and a manager for the working directory, until Ctrl-C. Data is kept in `.muster` between runs;
 *  other terminals find everything through `.muster/env.json`. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import pc from 'picocolors';
import { loadConfig } from '../config.js';
import { errorRecord } from '../errors.js';
import { referenceAgents } from '../reference/agents.js';
import { type Addresses, type Fleet, startFleet } from './fleet.js';
import { type Claim, claimFolder } from './folder.js';
import { say } from './member.js';
import { awaitEnding, type Ending, untilWanted } from './until-signal.js';

const DRAIN_MS = 5_000;

interface UpOptions {
  readonly agents?: boolean;
  readonly json?: boolean;
}

export function registerUp(program: Command): void {
  program
    .command('up')
    .description('start RabbitMQ, Redis and a manager for this folder, until Ctrl-C')
    .option('--agents', 'start the five reference agents too')
    .option('--json', 'print the addresses as one JSON document on stdout')
    // What it does anyway; accepted so that service files may say so.
    .addOption(new Option('--foreground').hideHelp())
    .addHelpText(
      'after',
      '\nKeeps its data in ./.muster/data and writes the addresses to ./.muster/env.json, where every other terminal finds them.' +
        '\nWith AMQP_URL and REDIS_URL set, those servers are used and none is started.',
    )
    .action(async (_options: UpOptions, command: Command) => {
      process.exitCode = await up(command.optsWithGlobals<UpOptions>());
    });
}

async function up(options: UpOptions): Promise<number> {
  const ending = awaitEnding();
  let claim: Claim | undefined;
  try {
    claim = claimFolder(process.cwd(), 'muster up');
    return await stayUp(claim, options, ending);
  } catch (error) {
    say(errorRecord(error).message);
    return 1;
  } finally {
    claim?.release();
  }
}

async function stayUp(claim: Claim, options: UpOptions, ending: Ending): Promise<number> {
  const prefix = loadConfig().MUSTER_PREFIX;
  const starting = startFleet({
    addresses: addressesSet(),
    prefix,
    servicesDirectory: join(claim.path, 'data'),
    membersDirectory: join(claim.path, 'fleet'),
    keepData: true,
    agents: options.agents === true ? [...referenceAgents.keys()] : [],
    drainMs: DRAIN_MS,
    log: say,
  });
  const fleet = await Promise.race([starting, untilWanted(ending)]);
  if (fleet === undefined) return stopHalfway(starting);
  const { AMQP_URL, REDIS_URL } = fleet.addresses;
  const settings = { AMQP_URL, REDIS_URL, MUSTER_PREFIX: prefix, pid: process.pid, metrics: fleet.metricsUrl };
  claim.announce(settings);
  process.stdout.write(options.json === true ? `${JSON.stringify(settings)}\n` : welcome(fleet, options));
  await untilWanted(ending);
  say('Stopping.');
  claim.release();
  await fleet.stop();
  return 0;
}

/** Ctrl-C while starting: what has been started is ended as soon as it can be. */
export async function stopHalfway(starting: Promise<Fleet>): Promise<number> {
  say('Stopping.');
  await starting.then(
    (fleet) => fleet.stop(),
    () => undefined,
  );
  return 130;
}

/** Both or none: loadConfig refuses one alone. A file that an `up` of a folder above wrote is not ours to use. */
export function addressesSet(): Addresses | undefined {
  const { AMQP_URL, REDIS_URL, source } = loadConfig();
  if (source !== 'environment' || AMQP_URL === undefined || REDIS_URL === undefined) return undefined;
  return { AMQP_URL, REDIS_URL };
}

function welcome(fleet: Fleet, options: UpOptions): string {
  const { AMQP_URL, REDIS_URL } = fleet.addresses;
  const submit =
    options.agents === true
      ? `npx muster submit write-docs --input '{"repo": "/path/of/a/repository", "head": "HEAD"}' --wait`
      : `npx muster submit my-capability --input '{"text": "hello"}'`;
  const hint =
    options.agents === true
      ? `Five reference agents are at work: ${[...referenceAgents.keys()].join(', ')}.`
      : 'No agent yet: start one of your own in this folder, or `muster up --agents`. Tasks wait until one comes.';
  return [
    '',
    `${pc.green('Muster is up.')} ${hint}`,
    '',
    'In another terminal, in this folder:',
    `  ${pc.bold(submit)}`,
    `  ${pc.bold('npx muster task list')}`,
    `  ${pc.bold('npx muster events')}`,
    '',
    `AMQP_URL   ${AMQP_URL}`,
    `REDIS_URL  ${REDIS_URL}`,
    `metrics    ${fleet.metricsUrl}`,
    `logs       ${fleet.logDirectory}`,
    '',
    'Ctrl-C stops everything; data stays in .muster/data.',
    '',
  ].join('\n');
}
