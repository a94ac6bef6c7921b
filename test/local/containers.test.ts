/**
 * The container path, with a stand-in for the engine: its "container" is a Redis in a session of its own, which, like a
 * real one, does not end because its client does.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startGuard } from '../../src/local/guard.js';
import { answers, freePorts } from '../../src/local/ports.js';
import { createRedis } from '../../src/local/redis.js';
import { eventually } from '../support/eventually.js';

const root = mkdtempSync(join(tmpdir(), 'muster-engine-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const engine = join(root, 'docker');
writeFileSync(
  engine,
  `#!/bin/sh
echo "$*" >>"${root}/calls"
verb=$1; shift
for last; do :; done
case $verb in
  run)
    while :; do
      case $1 in
        --rm) shift; continue ;;
        --name) name=$2 ;;
        --publish) port=\${2#127.0.0.1:}; port=\${port%%:*} ;;
        --volume) home=\${2%%:*} ;;
        --*) ;;
        *) break ;;
      esac
      shift 2
    done
    # What the volume and the published port do: the inside's /data and 6379 are our directory and port.
    sed "s#/data#$home#" "$home/redis.conf" >"$home/outside.conf"
    setsid redis-server "$home/outside.conf" --bind 127.0.0.1 --port "$port" &
    echo $! >"${root}/$name"
    wait ;;
  kill) kill -"\${2#SIG}" "$(cat "${root}/$last")" ;;
  pause) kill -STOP "$(cat "${root}/$last")" ;;
  unpause) kill -CONT "$(cat "${root}/$last")" ;;
  rm) kill -KILL "$(cat "${root}/$last")"; rm -f "${root}/$last" ;;
esac
`,
);
chmodSync(engine, 0o755);

const calls = () => readFileSync(join(root, 'calls'), 'utf8').trim().split('\n');
// setsid stands for the engine's daemon here, and only Linux has it.
const onLinux = process.platform === 'linux' ? it : it.skip;

onLinux('starts, crashes, returns with its data, and is removed by name when the guard ends', async () => {
  const directory = join(root, 'data');
  mkdirSync(directory);
  const guard = startGuard({ directory, keepData: false, graceMs: 0 });
  const [port] = await freePorts([undefined]);
  const password = 'secret';
  const redis = createRedis({
    directory,
    guard,
    port: port!,
    password,
    found: { kind: 'container', engine, image: 'redis:8-alpine' },
    log: () => {},
  });
  const says = (command: string, reply: string) =>
    answers(port!, `AUTH ${password}\r\n${command}\r\n`, (text) => text.startsWith(`+OK\r\n${reply}`));

  await redis.start();
  expect(calls()[0]).toMatch(
    /^run --rm --name muster-redis-\w+ --user \d+:\d+ --publish 127\.0\.0\.1:\d+:6379 --volume /,
  );
  expect(calls()[0]).not.toContain(password);
  expect(await says('SET key value', '+OK')).toBe(true);
  await redis.kill();
  expect(await answers(port!, '', () => true)).toBe(false);
  await redis.restart();
  expect(await says('GET key', '$5\r\nvalue')).toBe(true);

  await guard.stop();
  expect(calls().at(-1)).toMatch(/^rm -f muster-redis-/);
  await eventually(
    () => answers(port!, '', () => true),
    (open) => !open,
  );
  expect(existsSync(directory)).toBe(false);
});
