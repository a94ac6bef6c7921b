/**
 * The sweep before a start in a kept directory: ends what a run cut off with its guard had left, and nothing else.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning, mark, sweepStaleRun, writeRunRecord } from '../../src/local/stale.js';

const directory = mkdtempSync(join(tmpdir(), 'muster-stale-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const gone = { pid: 999_999, startedAt: 'a time long past' };
const sleeper = () => mark(spawn('sleep', ['60'], { detached: true, stdio: 'ignore' }).pid!);

it('ends the processes the record names, and says so', async () => {
  const left = sleeper();
  const lines: string[] = [];
  writeRunRecord(directory, { owner: gone, guard: gone, groups: [left], containers: [] });
  await sweepStaleRun(directory, (line) => lines.push(line));
  expect(isRunning(left)).toBe(false);
  expect(existsSync(join(directory, 'run.json'))).toBe(false);
  expect(lines).toEqual([expect.stringMatching(/^Servers: ended 1 processes/)]);
});

it('leaves alone a process that merely got the same pid', async () => {
  const stranger = sleeper();
  writeRunRecord(directory, {
    owner: gone,
    guard: gone,
    groups: [{ ...stranger, startedAt: 'another time' }],
    containers: [],
  });
  await sweepStaleRun(directory, () => {});
  expect(isRunning(stranger)).toBe(true);
  process.kill(stranger.pid, 'SIGKILL');
});

it('refuses while the run is alive', async () => {
  writeRunRecord(directory, { owner: mark(process.pid), guard: gone, groups: [], containers: [] });
  await expect(sweepStaleRun(directory, () => {})).rejects.toThrow(/already runs its servers.*Next:/);
});

it('takes a record cut off in the middle of a write for none', async () => {
  writeFileSync(join(directory, 'run.json'), '{"owner":{"pi');
  await expect(sweepStaleRun(directory, () => {})).resolves.toBeUndefined();
});
