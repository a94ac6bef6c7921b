// Scenarios as stories: every command of every *.txt beside this file, and the trace it must leave on the model.
// MUSTER_GOLDEN=record writes the traces anew: on purpose, and to be read before they are committed.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Play } from './play.js';

const recording = process.env.MUSTER_GOLDEN === 'record';

it.each(readdirSync(__dirname).filter((file) => file.endsWith('.txt')))('%s', (file) => {
  const path = join(__dirname, file);
  const written = readFileSync(path, 'utf8');
  const played = replay(written);
  if (recording) writeFileSync(path, played);
  else expect(played).toBe(written);
});

/** Longer commands have their trace below them. */
const LONG = 36;

/** The same text, with the traces that the model leaves now. */
function replay(text: string): string {
  const play = new Play();
  const lines = text.split('\n').filter((line) => !/^\s+->/.test(line));
  return lines
    .map((line) => {
      if (line === '' || line.startsWith('#')) return line;
      const command = line.split('->')[0]!.trim();
      const trace = `-> ${play.line(command)}`;
      return command.length > LONG ? `${command}\n${' '.repeat(LONG)} ${trace}` : `${command.padEnd(LONG)} ${trace}`;
    })
    .join('\n');
}
