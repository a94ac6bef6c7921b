// `muster request`: asks an agent now and prints its reply. Nothing of it is stored.
import { type Options, text } from '../command.js';
import { EXITS } from '../exits.js';
import type { Output } from '../output.js';
import { readDuration, readInput, readName } from '../read.js';
import { withClient } from '../session.js';

export async function request(
  output: Output,
  words: readonly (string | undefined)[],
  options: Options,
): Promise<number> {
  const target = readName(words[0] ?? '', 'The target');
  const action = readName(words[1] ?? '', 'The action');
  const timeoutMs = readDuration(text(options, 'timeout') ?? '60s', '--timeout');
  const input = readInput(text(options, 'input'));
  return withClient(async (client) => {
    const reply = await client.request(target, action, input, { timeoutMs });
    output.answer(reply ?? null, () =>
      typeof reply === 'string' ? reply : JSON.stringify(reply ?? null, undefined, 2),
    );
    return EXITS.ok.code;
  });
}
