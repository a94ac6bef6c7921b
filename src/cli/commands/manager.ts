// `muster manager`: a manager in this process, until it is told to stop. Any number may run at once.
import { serve } from '../../agent/serve.js';
import { InvalidInput } from '../../errors.js';
import { type Options, text } from '../command.js';
import { EXITS } from '../exits.js';
import type { Output } from '../output.js';
import { quote } from '../read.js';
import { checkBroker, checkStore, liveConfig } from '../session.js';

export async function manager(
  output: Output,
  _words: readonly (string | undefined)[],
  options: Options,
): Promise<number> {
  const port = text(options, 'metricsPort');
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) <= 65_535)) {
    throw InvalidInput('--metrics-port', `${quote(port)} is not a port`);
  }
  const config = liveConfig();
  await Promise.all([checkBroker(config.AMQP_URL), checkStore(config.REDIS_URL)]);
  const told = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(signal));
  });
  const running = await serve(port === undefined ? {} : { metricsPort: Number(port) });
  const metrics = running.metricsUrl;
  output.answer({ instance: running.instance.id, metrics_url: metrics ?? null }, () => {
    const where = metrics === undefined ? '' : `, metrics at ${metrics}`;
    return `${running.instance.id} does its duties${where}; Ctrl-C stops it`;
  });
  const signal = await told;
  await running.stop();
  return signal === 'SIGINT' ? EXITS.interrupted.code : EXITS.ok.code;
}
