/** Registers `muster up`: RabbitMQ, Redis and a manager for the working directory, until Ctrl-C.
 *  What it does is in `stay-up.ts`, read only when it is called. */
import { type Command, Option } from 'commander';
import { does } from './command.js';

export function registerUp(program: Command): void {
  program.commandsGroup('Start');
  const command = program
    .command('up')
    .description('start RabbitMQ, Redis and a manager for this folder, until Ctrl-C')
    .option('--agents', 'start the five reference agents too')
    // What it does anyway; accepted so that service files may say so.
    .addOption(new Option('--foreground').hideHelp())
    .addHelpText(
      'after',
      '\nKeeps its data in ./.muster/data and writes the addresses to ./.muster/env.json, where every other terminal finds them.' +
        '\nWith AMQP_URL and REDIS_URL set, those servers are used and none is started.',
    );
  does(command, async () => (await import('./stay-up.js')).stayUp);
}
