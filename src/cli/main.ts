// The program `muster`: its commands are defined in definitions.ts, registered here, and done by the module each of them loads.
// stdout is for answers only; how it went is in the exit code (exits.ts).
import { Command, CommanderError } from 'commander';
import { errorRecord, MusterError } from '../errors.js';
import { exitCodeOf } from './command.js';
import { registerAgents, registerOperations, registerQueues, registerTasks, registerWork } from './definitions.js';
import { registerDemo } from './demo.js';
import { EXITS, exitOf } from './exits.js';
import { Output, write } from './output.js';
import { registerUp } from './up.js';

/** In the order of `muster --help`. A command of one's own: a function that takes the program, here. */
const REGISTRATIONS: readonly ((program: Command) => void)[] = [
  registerUp,
  registerDemo,
  registerWork,
  registerTasks,
  registerAgents,
  registerQueues,
  registerOperations,
];

export function createProgram(): Command {
  const program = new Command('muster')
    .description('A message bus for fleets of agents, on RabbitMQ and Redis.')
    .version(version(), '-V, --version')
    .option('--json', 'print JSON: one document, or one per line for streams')
    .showHelpAfterError("('--help' shows what there is)")
    .exitOverride()
    .configureOutput({ writeOut: (text) => write(1, text), writeErr: (text) => write(2, text) });
  program.commandsGroup('Start');
  for (const register of REGISTRATIONS) register(program);
  program.addHelpText(
    'after',
    '\nSettings come from AMQP_URL, REDIS_URL and MUSTER_PREFIX, or from .muster/ of this folder or one above.',
  );
  return program;
}

function version(): string {
  return (require('../../package.json') as { version: string }).version;
}

export async function main(words: readonly string[] = process.argv.slice(2)): Promise<void> {
  process.once('SIGINT', () => {
    // Commands that must end in order listen themselves.
    if (process.listenerCount('SIGINT') === 0) process.exit(EXITS.interrupted.code);
  });
  const program = createProgram();
  try {
    await program.parseAsync(words, { from: 'user' });
    process.exit(exitCodeOf(program));
  } catch (error) {
    process.exit(failed(error, words));
  }
}

function failed(error: unknown, words: readonly string[]): number {
  const output = new Output(words.includes('--json'));
  if (error instanceof CommanderError) {
    // Help and version were asked for; everything else commander has said on stderr itself.
    if (error.exitCode === 0) return EXITS.ok.code;
    if (output.json) output.item({ error: { code: 'USAGE', message: error.message } }, () => '');
    return EXITS.usage.code;
  }
  const known = error instanceof MusterError;
  const record = errorRecord(error);
  output.error(record.message, known ? error.toJSON() : { code: record.code, message: record.message });
  // Not one of ours: a mistake in Muster itself, whose place is worth more than its message.
  if (!known && record.stack !== undefined) output.note(record.stack);
  return exitOf(error);
}

if (require.main === module) void main();
