/** What `muster demo` does: chooses the repository, starts a fleet, submits the run as any client would, shows it, sums it up.
 *  The servers, logs and workspaces are temporary; reports, documentation and the site stay in `.muster/demo`. */
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '../agent/client.js';
import { connect } from '../agent/connect.js';
import { loadConfig } from '../config.js';
import type { RunSpec, Task } from '../contracts/task.js';
import { renderWaterfall, waterfall } from '../decide/waterfall.js';
import { referenceAgents } from '../reference/agents.js';
import { ReferenceFailure } from '../reference/errors.js';
import { type DemoTask, demoRun } from '../reference/workflow.js';
import { type Choice, madeRepository, usersRepository } from './choose-repository.js';
import { type Action, type Options, text } from './command.js';
import { summaryLines } from './demo-summary.js';
import { EXITS } from './exits.js';
import { type Fleet, startFleet } from './fleet.js';
import { type Claim, claimFolder } from './folder.js';
import { columns, type Output, paint } from './output.js';
import { watchRun } from './progress-view.js';
import { addressesSet, addressLines } from './stay-up.js';
import { awaitEnding, type Ending, unlessWanted, untilWanted } from './until-signal.js';

const MOST_FILES = 14;
const ONCE_OVER = [
  '',
  'All of it is stopped now, the site too; the files stay. Without --once it stays up for a look around.',
];

export const demo: Action = async (output, _words, options) => {
  const ending = awaitEnding();
  const user = await usersChoice(options, output, ending.signal);
  if (user === 'wrong') return EXITS.usage.code;
  const claim = claimFolder(process.cwd(), 'muster demo');
  try {
    const folder = newFolder(claim.path);
    const choice = user ?? (await madeRepository(join(folder, 'repository'), ending.signal));
    return await perform({ choice, folder, claim, output, options, ending });
  } finally {
    claim.release();
  }
};

/** undefined: none was named. */
async function usersChoice(
  options: Options,
  output: Output,
  signal: AbortSignal,
): Promise<Choice | 'wrong' | undefined> {
  const [repo, base, head] = ['repo', 'base', 'head'].map((name) => text(options, name));
  if (repo === undefined) {
    if (base === undefined && head === undefined) return undefined;
    const message =
      '--base and --head name commits of your own repository. Nothing was started. Next: add --repo PATH.';
    output.error(message, { code: 'USAGE', message });
    return 'wrong';
  }
  try {
    return await usersRepository({ repo, base, head }, signal);
  } catch (error) {
    if (!(error instanceof ReferenceFailure)) throw error;
    output.error(error.message, error.toJSON());
    return 'wrong';
  }
}

/** `.muster/demo/2026-11-21T09-30-00Z`: what outlives the demo. */
function newFolder(settingsFolder: string): string {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  for (let n = 1; ; n++) {
    const folder = join(settingsFolder, 'demo', n === 1 ? `${stamp}Z` : `${stamp}Z-${n}`);
    if (existsSync(folder)) continue;
    mkdirSync(folder, { recursive: true });
    return folder;
  }
}

interface Stage {
  readonly choice: Choice;
  readonly folder: string;
  readonly claim: Claim;
  readonly output: Output;
  readonly options: Options;
  readonly ending: Ending;
}

async function perform(stage: Stage): Promise<number> {
  const { claim, output, ending, options, folder } = stage;
  output.note(paint.bold('Muster demo: five agents, one run, real work.'));
  const prefix = loadConfig().MUSTER_PREFIX;
  const temporary = join(tmpdir(), `muster-demo-${randomBytes(6).toString('hex')}`);
  const starting = startFleet({
    addresses: addressesSet(),
    prefix,
    servicesDirectory: `${temporary}-services`,
    membersDirectory: `${temporary}-fleet`,
    keepData: false,
    agents: [...referenceAgents.keys()],
    // Temporary as it all is, nobody would pick up what was handed back: nothing is worth waiting for.
    drainMs: 0,
    log: (line) => output.note(line),
  });
  const fleet = await unlessWanted(ending, starting, claim.release);
  let client: Client | undefined;
  try {
    output.note(`Agents: ${[...referenceAgents.keys()].join(', ')}, each a process of its own`);
    const settings = { ...fleet.addresses, MUSTER_PREFIX: prefix };
    claim.announce({ ...settings, pid: process.pid, metrics: fleet.metricsUrl });
    client = await connect({ settings, name: 'demo' });
    const isDone = await runOnce(stage, client, fleet);
    if (!isDone) cpSync(fleet.logDirectory, join(folder, 'logs'), { recursive: true });
    await client.close();
    client = undefined;
    if (options.once !== true) await untilWanted(ending);
    return isDone ? EXITS.ok.code : EXITS.failed.code;
  } catch (error) {
    if (ending.isWanted) return ending.exitCode;
    throw error;
  } finally {
    if (ending.isWanted) output.note('Stopping.');
    claim.release();
    await client?.close();
    await fleet.stop();
    if (ending.isWanted) output.note(`Stopped. What was produced stays in ${folder}`);
  }
}

/** Submits the run, shows it, prints what came of it. Resolves to whether it completed. */
async function runOnce(stage: Stage, client: Client, fleet: Fleet): Promise<boolean> {
  const { choice, folder, output, options, ending } = stage;
  const outputs = join(folder, 'outputs');
  const run = await client.run(specFor(choice, outputs, text(options, 'tests')));
  output.note(`\nRun ${run.id} on ${choice.title}`);
  if (choice.note !== undefined) output.note(choice.note);
  if (!choice.push && options.tests === undefined)
    output.note(
      'Its own tests are run as `npm test`, where there are any; --tests "npm run lint" would run that instead.',
    );
  const screen = {
    write: (written: string) => process.stderr.write(written),
    isTTY: process.stderr.isTTY === true,
    columns: process.stderr.columns ?? 100,
  };
  const tasks = await watchRun(client, run.tasks, screen, ending.signal);
  const isDone = tasks.every((task) => task.status === 'completed');
  const files = filesBelow(outputs);
  const document = {
    run: run.id,
    status: isDone ? 'completed' : 'failed',
    repository: choice.repo,
    outputs,
    files,
    metrics: fleet.metricsUrl,
    tasks: Object.fromEntries(tasks.map((task) => [task.key, resultOf(task)])),
  };
  output.answer(document, () => [
    '',
    `${isDone ? paint.green('The run completed.') : paint.red('The run failed.')}`,
    '',
    ...summaryLines(tasks),
    '',
    paint.bold(`Files, in ${outputs}`),
    ...files.slice(0, MOST_FILES).map((file) => `  ${file}`),
    ...(files.length > MOST_FILES ? [`  and ${files.length - MOST_FILES} more`] : []),
    '',
    ...renderWaterfall(waterfall(tasks, Date.now()), { width: Math.min(columns(), 110) }),
    ...(isDone ? [] : ['', `The agents' logs: ${join(folder, 'logs')}`, ...lastWordsOf(tasks, fleet)]),
    ...(options.once === true ? ONCE_OVER : aroundHere(run.id, fleet)),
  ]);
  return isDone;
}

function specFor(choice: Choice, outputDirectory: string, tests: string | undefined): RunSpec {
  const { labels, tasks } = demoRun({ ...choice, outputDirectory });
  return { labels: { ...labels }, tasks: tasks.map((task) => specOf(task, tests)) };
}

function specOf(task: DemoTask, tests: string | undefined): RunSpec['tasks'][number] {
  const command = task.capability === 'run-tests' && tests !== undefined ? { command: tests.split(/\s+/) } : {};
  // Through JSON: an option that is undefined is no JSON, and is to be left out as it would be on the wire.
  return JSON.parse(JSON.stringify({ ...task, parameters: { ...task.parameters, ...command } }));
}

function resultOf({ id, status, reason, result, error }: Task): object {
  return { id, status, reason, result, error: error && { code: error.code, message: error.message } };
}

/** Absolute paths, without the insides of git repositories. */
function filesBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.name.endsWith('.git')) return [path];
      return entry.isDirectory() ? filesBelow(path) : [path];
    });
}

/** Only where the process itself may be to blame: an error that no second attempt could mend has said everything. */
function lastWordsOf(tasks: readonly Task[], fleet: Fleet): string[] {
  const troubled = tasks.filter(
    (task) => task.status === 'dead' && task.agent !== undefined && task.reason !== 'not_retryable',
  );
  return troubled.flatMap((task) => {
    const agent = [...referenceAgents.keys()].find((id) => task.agent!.startsWith(id));
    const words = agent === undefined ? '' : fleet.lastWords(agent);
    return words === '' ? [] : [`${agent} said last:`, `  ${words}`];
  });
}

function aroundHere(run: string, fleet: Fleet): string[] {
  return [
    '',
    'Everything stays up. In another terminal, in this folder:',
    `  ${paint.bold(`npx muster task show ${run} --trace`)}   where the time went, task by task`,
    `  ${paint.bold('npx muster task list')}   ${paint.bold('npx muster agent list')}   ${paint.bold('npx muster events')}`,
    '',
    ...addressLines(fleet),
    '',
    'Ctrl-C stops everything.',
  ];
}
