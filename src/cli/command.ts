// How a command is defined: its action is loaded when it is called, gets its Output, and returns an exit code or nothing (0).
// up.ts, demo.ts and everything registered in main.ts go through here, so that --json and exit codes are the same everywhere.
import type { Command } from 'commander';
import { Output } from './output.js';

export type Options = Readonly<Record<string, string | boolean | string[] | undefined>>;
/** `words`: the arguments, in order. */
export type Action = (
  output: Output,
  words: readonly (string | undefined)[],
  options: Options,
) => Promise<number | undefined>;

const exits = new WeakMap<Command, number>();

/** Adds --json and the action. `load` imports the module that does it: other commands need not wait for it to be read. */
export function does(command: Command, load: () => Promise<Action>): Command {
  return command
    .option('--json', 'print JSON: one document, or one per line for streams')
    .action(async (...given: unknown[]) => {
      const options = command.optsWithGlobals<Options>();
      const words = given.slice(0, -2) as (string | undefined)[];
      const act = await load();
      exits.set(rootOf(command), (await act(new Output(options.json === true), words, options)) ?? 0);
    });
}

/** What the command that ran returned. */
export function exitCodeOf(program: Command): number {
  return exits.get(program) ?? 0;
}

function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent);
}

export function text(options: Options, option: string): string | undefined {
  const value = options[option];
  return typeof value === 'string' ? value : undefined;
}
