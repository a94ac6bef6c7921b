/**
 * Installing packages with a stand-in for apt-get: no service may start meanwhile, and the machine's policy comes back.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installPackages } from '../../src/local/install.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'muster-install-'));
  mkdirSync(join(root, 'bin'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const policyFile = () => join(root, 'policy-rc.d');
const calls = () => readFileSync(join(root, 'calls'), 'utf8').trim().split('\n');

/** Notes its arguments and what policy-rc.d answers at that moment. */
function standIn(rest: string): void {
  const file = join(root, 'bin/apt-get');
  writeFileSync(file, `#!/bin/sh\n"${policyFile()}"; echo "$? $*" >>"${root}/calls"\n${rest}\n`);
  chmodSync(file, 0o755);
}

const run = (names: string[], log: (line: string) => void = () => {}) =>
  installPackages(names, {
    log,
    policyFile: policyFile(),
    env: { ...process.env, PATH: `${join(root, 'bin')}:${process.env.PATH}` },
  });

it('forbids services while it installs, then leaves no policy where there was none', async () => {
  standIn('exit 0');
  const lines: string[] = [];
  await run(['redis-server'], (line) => lines.push(line));
  expect(lines).toEqual(['System: installing redis-server with apt-get (as files only: no service is started)']);
  expect(calls()).toEqual([expect.stringMatching(/^101 .*install -y -q --no-install-recommends redis-server$/)]);
  expect(existsSync(policyFile())).toBe(false);
});

it("puts the machine's own policy back, also when apt-get fails", async () => {
  writeFileSync(policyFile(), '#!/bin/sh\nexit 104\n', { mode: 0o755 });
  standIn('echo "E: no such package" >&2; exit 100');
  await expect(run(['no-such'])).rejects.toThrow(
    /could not install no-such[\s\S]*E: no such package[\s\S]*Next: apt-get/,
  );
  expect(readFileSync(policyFile(), 'utf8')).toContain('exit 104');
});

it('fetches the package lists only when the first try fails', async () => {
  standIn(`case "$*" in *update) touch "${root}/lists" ;; esac; [ -e "${root}/lists" ]`);
  await run(['redis-server']);
  expect(calls().map((call) => /install|update/.exec(call)![0])).toEqual(['install', 'update', 'install']);
});

it('does not take the forbidding policy of a run cut off earlier for the machine’s own', async () => {
  writeFileSync(policyFile(), '#!/bin/sh\n# muster: temporary\nexit 101\n', { mode: 0o755 });
  writeFileSync(`${policyFile()}.before-muster`, '#!/bin/sh\nexit 104\n', { mode: 0o755 });
  standIn('exit 0');
  await run(['redis-server']);
  expect(readFileSync(policyFile(), 'utf8')).toContain('exit 104');
  expect(existsSync(`${policyFile()}.before-muster`)).toBe(false);
});
