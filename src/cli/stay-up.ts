/** What `muster up` does: claims the folder, starts the fleet, says how to use it, waits for Ctrl-C, stops in order.
 *  Data is kept in `.muster` between runs; other terminals find everything through `.muster/env.json`. */
import { join } from 'node:path';
import { loadConfig } from '../config.js';
import { referenceAgents } from '../reference/agents.js';
import type { Action } from './command.js';
import { type Addresses, type Fleet, startFleet } from './fleet.js';
import { type Claim, claimFolder } from './folder.js';
import { type Output, paint, pairs } from './output.js';
import { awaitEnding, type Ending, untilWanted } from './until-signal.js';

const DRAIN_MS = 5_000;

export const stayUp: Action = async (output, _words, options) => {
  const ending = awaitEnding();
  const claim = claimFolder(process.cwd(), 'muster up');
  try {
    return await stay(claim, options.agents === true, output, ending);
  } finally {
    claim.release();
  }
};

async function stay(claim: Claim, withAgents: boolean, output: Output, ending: Ending): Promise<number> {
  const prefix = loadConfig().MUSTER_PREFIX;
  const starting = startFleet({
    addresses: addressesSet(),
    prefix,
    servicesDirectory: join(claim.path, 'data'),
    membersDirectory: join(claim.path, 'fleet'),
    keepData: true,
    agents: withAgents ? [...referenceAgents.keys()] : [],
    drainMs: DRAIN_MS,
    log: (line) => output.note(line),
  });
  const fleet = await Promise.race([starting, untilWanted(ending)]);
  if (fleet === undefined) {
    // Cut off while it boots, a broker that keeps its data would have to repair it the next time.
    output.note('Stopping, once the servers have started; Ctrl-C again ends them at once.');
    await (await starting).stop();
    return ending.exitCode;
  }
  const { AMQP_URL, REDIS_URL } = fleet.addresses;
  const settings = { AMQP_URL, REDIS_URL, MUSTER_PREFIX: prefix, pid: process.pid, metrics: fleet.metricsUrl };
  claim.announce(settings);
  output.answer(settings, () => welcome(fleet, withAgents));
  await untilWanted(ending);
  output.note('Stopping.');
  claim.release();
  await fleet.stop();
  return 0;
}

/** Both or none: loadConfig refuses one alone. A file that an `up` of a folder above wrote is not ours to use. */
export function addressesSet(): Addresses | undefined {
  const { AMQP_URL, REDIS_URL, source } = loadConfig();
  if (source !== 'environment' || AMQP_URL === undefined || REDIS_URL === undefined) return undefined;
  return { AMQP_URL, REDIS_URL };
}

export function addressLines(fleet: Fleet): string[] {
  const { AMQP_URL, REDIS_URL } = fleet.addresses;
  return pairs([
    ['AMQP_URL', AMQP_URL],
    ['REDIS_URL', REDIS_URL],
    ['metrics', fleet.metricsUrl],
    ['logs', fleet.logDirectory],
  ]);
}

function welcome(fleet: Fleet, withAgents: boolean): string[] {
  const submit = withAgents
    ? `npx muster submit write-docs --input '{"repo": "/absolute/path/of/a/git/repository", "head": "HEAD"}' --wait`
    : `npx muster submit greet --input '{"name": "you"}'`;
  const hint = withAgents
    ? `Five agents are at work: ${[...referenceAgents.keys()].join(', ')}.`
    : 'No agent yet: start your own in this folder. Tasks submitted before wait for it.';
  return [
    '',
    `${paint.green('Muster is up.')} ${hint}`,
    '',
    'In another terminal, in this folder:',
    `  ${paint.bold(submit)}`,
    `  ${paint.bold('npx muster task list')}`,
    `  ${paint.bold('npx muster agent list')}`,
    `  ${paint.bold('npx muster events')}`,
    '',
    ...addressLines(fleet),
    '',
    'Ctrl-C stops everything; the data stays in .muster/data for the next `muster up`.',
  ];
}
