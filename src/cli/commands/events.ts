// `muster events`: what happens on the bus as it happens, until Ctrl-C or --count.
import type { TopicEvent } from '../../agent/topics.js';
import { type Options, text } from '../command.js';
import { EXITS } from '../exits.js';
import { type Output, paint } from '../output.js';
import { readCount } from '../read.js';
import { withClient } from '../session.js';

export async function events(
  output: Output,
  [word]: readonly (string | undefined)[],
  options: Options,
): Promise<number> {
  const pattern = word ?? '#';
  const given = text(options, 'count');
  const most = given === undefined ? Number.POSITIVE_INFINITY : readCount(given, '--count', 1_000_000_000);
  return withClient(async (client) => {
    let seen = 0;
    await new Promise<void>((resolve, reject) => {
      client
        .subscribe(pattern, (event) => {
          if (seen >= most) return;
          seen += 1;
          output.item(event, () => eventText(event));
          if (seen >= most) resolve();
        })
        .then(() => output.note(`listening for '${pattern}'`), reject);
    });
    return EXITS.ok.code;
  });
}

function eventText({ event, at, source, ...rest }: TopicEvent): string {
  const fields = Object.entries(rest).map(([name, value]) => {
    const shown = typeof value === 'string' ? value : JSON.stringify(value);
    return `${paint.dim(`${name}=`)}${shown}`;
  });
  return [paint.dim(at.slice(11, 23)), paint.bold(event), ...fields, paint.dim(`from ${source}`)].join(' ');
}
