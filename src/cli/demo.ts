/** Registers `muster demo`: what `npm start` runs. A whole fleet does one real run on a real repository, with nothing set up.
 *  What it does is in `demo-run.ts`, read only when it is called. */
import type { Command } from 'commander';
import { does } from './command.js';

export function registerDemo(program: Command): void {
  const command = program
    .command('demo')
    .description('see it work: a fleet of five agents changes, reviews, tests, documents and deploys a git repository')
    .option('--repo <path>', 'a local git repository, which is only read (default: a small one made for the demo)')
    .option('--base <ref>', 'what the review compares with (default: where the branch left main, or HEAD~1)')
    .option('--head <ref>', 'what the change builds on (default: HEAD)')
    .option('--tests <command>', 'run this instead of `npm test`; begins with node or npm')
    .option('--once', 'end when the run has; exit code 0 when it completed, 1 when not')
    .addHelpText(
      'after',
      "\nThe repository's own tests and build script are run: name only repositories you trust." +
        '\nStays up until Ctrl-C, so that the other commands can look around, then leaves only ./.muster/demo behind.',
    );
  does(command, async () => (await import('./demo-run.js')).demo);
}
