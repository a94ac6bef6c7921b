/**
 * A port chosen as free and taken by another program before the server binds it: one more try, with other ports.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ports from '../../src/local/ports.js';
import { startServices } from '../../src/local/services.js';

jest.mock('../../src/local/ports.js', () => ({ __esModule: true, ...jest.requireActual('../../src/local/ports.js') }));

it('starts on other ports when one was taken in between', async () => {
  const root = mkdtempSync(join(tmpdir(), 'muster-port-'));
  const thief = createServer();
  const [free] = await ports.freePorts([undefined]);
  await new Promise<void>((resolve) => thief.listen(free, '127.0.0.1', resolve));
  jest.spyOn(ports, 'freePorts').mockImplementationOnce(async (wanted) => wanted.map(() => free!));
  const lines: string[] = [];
  const services = await startServices({
    directory: join(root, 'data'),
    rabbitmq: false,
    log: (line) => lines.push(line),
  });
  try {
    expect(new URL(services.redisUrl!).port).not.toBe(String(free));
    expect(lines).toContainEqual(expect.stringContaining('trying once more with other ports'));
  } finally {
    await services.stop();
    thief.close();
    rmSync(root, { recursive: true, force: true });
  }
});
