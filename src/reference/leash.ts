/** Ends the programs of the reference agents when the agent itself dies, even by SIGKILL: one small shell per process,
 *  whose input the kernel closes for us. Beside `command.ts`, which tells it what runs. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';

type Leash = ChildProcessByStdio<Writable, null, null>;

// Ignores what is sent to everything in a session: it must not go before those it watches. Reads only numbers from us.
const script = `
groups=
trap '' HUP INT TERM
without() { for one in $groups; do [ "$one" = "$1" ] || printf ' %s' "$one"; done; }
while read -r verb group; do
  case $verb in
    began) groups="$groups $group" ;;
    ended) groups=$(without "$group") ;;
  esac
done
for one in $groups; do kill -KILL -"$one"; done 2>/dev/null
`;

let leash: Leash | null = null;

/** From now on the process group `pid` does not outlive this process. */
export function onLeash(pid: number): void {
  leash ??= startLeash();
  leash.stdin.write(`began ${pid}\n`);
}

/** The group is gone; its number may soon belong to somebody else. */
export function offLeash(pid: number): void {
  leash?.stdin.write(`ended ${pid}\n`);
}

function startLeash(): Leash {
  const started = spawn('/bin/sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true, env: {} });
  const forget = () => {
    leash = null;
  };
  // Without a shell, programs still end with their task and at a normal exit: see command.ts.
  started.once('error', forget);
  started.once('exit', forget);
  started.stdin.once('error', forget);
  // Neither the leash nor our end of it may keep an agent alive that has nothing left to do.
  started.unref();
  (started.stdin as Socket).unref();
  return started;
}
