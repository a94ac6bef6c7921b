/**
 * Installs server packages on Debian and Ubuntu when we are root, without letting the packages start system services.
 * Last resort of `find.ts`; also used by the test run for the foreign clients of the interop tests.
 */
import { execFile, execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const POLICY = '/usr/sbin/policy-rc.d';

// policy-rc.d is what Debian asks before it starts a service; 101 means no. We want the files only: the packaged broker
// would take 5672, and its epmd would stay behind. A shell does it, so that the machine's own policy comes back even if
// this process is killed in the middle; the lock (on the directory: a file might have no place) keeps two runs from mixing theirs.
const INSTALL = `
set -eu
policy=$1; shift
kept=$policy.before-muster
if command -v flock >/dev/null; then exec 9<"\${policy%/*}"; flock 9; fi
exists() { [ -e "$1" ] || [ -L "$1" ]; }
restore() { rm -f "$policy"; if exists "$kept"; then mv -f "$kept" "$policy"; fi; }
trap restore EXIT
trap 'exit 130' HUP INT TERM
if exists "$policy" && ! exists "$kept" && ! grep -qs 'muster: temporary' "$policy"; then mv "$policy" "$kept"; fi
printf '#!/bin/sh\\n# muster: temporary\\nexit 101\\n' >"$policy"
chmod 755 "$policy"
install() { apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "$@" 9>&-; }
# Lists may be missing (a bare image) or name versions the mirror no longer has: fetch them only if the first try fails.
install "$@" || { apt-get -q update 9>&-; install "$@"; }
`;

export interface InstallOptions {
  readonly log: (line: string) => void;
  readonly policyFile?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Whether this process may install packages: root, Debian or Ubuntu, apt-get present, not switched off. */
export function mayInstall(env: NodeJS.ProcessEnv = process.env): boolean {
  if (env.MUSTER_INSTALL === 'never' || process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return false;
  return (env.PATH ?? '').split(delimiter).some((directory) => isExecutable(join(directory, 'apt-get')));
}

/** The packages of `names` that are not installed. */
export function missingPackages(names: readonly string[]): string[] {
  return names.filter((name) => {
    try {
      const status = execFileSync('dpkg-query', ['-s', name], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return !/^Status: install ok installed$/m.test(status);
    } catch {
      return true;
    }
  });
}

/** Installs `names`; rejects with apt-get's last lines. The machine's service policy is as before afterwards, either way. */
export function installPackages(names: readonly string[], options: InstallOptions): Promise<void> {
  const { log, policyFile = POLICY, env = process.env } = options;
  log(`System: installing ${names.join(' and ')} with apt-get (as files only: no service is started)`);
  return new Promise((resolve, reject) => {
    const args = ['-c', INSTALL, 'muster-install', policyFile, ...names];
    const settings = { env: { ...env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' }, maxBuffer: 64 * 1024 * 1024 };
    execFile('/bin/sh', args, settings, (error, stdout, stderr) => {
      if (!error) return resolve();
      const last = `${stdout}\n${stderr}`.trimEnd().split('\n').slice(-8).join('\n  ');
      reject(
        new Error(
          `apt-get could not install ${names.join(' ')}, so they are still missing. Its last lines:\n  ${last}\n` +
            `Next: apt-get update && apt-get install -y --no-install-recommends ${names.join(' ')}`,
        ),
      );
    });
  });
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
