// The command reference of docs/cli.md, made from the definitions themselves. A test keeps the page to it.
import type { Command } from 'commander';
import { EXITS } from './exits.js';

export function commandReference(program: Command): string {
  return leaves(program)
    .map(({ path, command }) => section(path, command))
    .join('\n');
}

export function exitReference(): string {
  const rows = Object.values(EXITS).map(({ code, says }) => `| ${code} | ${says} |`);
  return ['| Code | Meaning |', '|---|---|', ...rows, ''].join('\n');
}

interface Leaf {
  readonly path: string;
  readonly command: Command;
}

function leaves(command: Command, path = 'muster'): Leaf[] {
  return command.commands.flatMap((child) => {
    const at = `${path} ${child.name()}`;
    return child.commands.length > 0 ? leaves(child, at) : [{ path: at, command: child }];
  });
}

function section(path: string, command: Command): string {
  const words = command.registeredArguments.map((argument) => ({
    shown: argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
    says: argument.description,
  }));
  const options = command.createHelp().visibleOptions(command);
  const rows = [
    ...words.filter(({ says }) => says !== '').map(({ shown, says }) => row(shown, says)),
    ...options
      .filter((option) => option.long !== '--help' && option.long !== '--json')
      .map((option) => row(option.flags, option.description)),
  ];
  const usage = [path, ...words.map(({ shown }) => shown)].join(' ');
  const table = rows.length === 0 ? [] : ['', '| | |', '|---|---|', ...rows];
  return [`### \`${usage}\``, '', `${sentence(command.description())}`, ...table, ''].join('\n');
}

function row(name: string, says: string): string {
  return `| \`${name}\` | ${says.replaceAll('|', '\\|').replaceAll('<', '&lt;')} |`;
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}
