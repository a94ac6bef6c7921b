// The parent's side: starts measured processes, asks them, and ends them.
const { fork } = require('node:child_process');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { createInterface } = require('node:readline');

const CLOCK_TICK_US = 10_000;
const SHOWN_LINES = 3;
const STOP_MS = 10_000;

/** Only what a process needs: nobody's MUSTER_ or OTEL_ variables may change a figure. */
function environment() {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'TZ'];
  return Object.fromEntries(kept.filter((name) => process.env[name]).map((name) => [name, process.env[name]]));
}

class Stage {
  #all = [];
  #profileDirectory;
  #pids;

  /** `pids`: of the broker and of Redis, whose CPU is counted too. */
  constructor({ profileDirectory, pids }) {
    this.#profileDirectory = profileDirectory;
    this.#pids = pids;
  }

  /**
   * Starts bench/`file` as a process and resolves once `open` was answered.
   * @returns {Promise<{ name: string, ask(command: string, ...args: unknown[]): Promise<any>, stop(): Promise<void> }>}
   */
  async start(name, file, ...openArgs) {
    const profile = this.#profileDirectory;
    const execArgv =
      profile === undefined
        ? []
        : ['--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${name}-${Date.now()}.cpuprofile`];
    const stdio = ['ignore', 'inherit', 'pipe', 'ipc'];
    const child = fork(join(__dirname, file), { execArgv, env: environment(), stdio });
    showBriefly(name, child.stderr);
    const pending = new Map();
    let next = 0;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.on('message', ({ id, value, error }) => {
      const waiting = pending.get(id);
      pending.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(`${name}: ${error}`));
    });
    child.once('exit', (code, signal) => {
      for (const { reject } of pending.values()) reject(new Error(`${name} ended with ${code ?? signal}`));
    });
    const ask = (command, ...args) =>
      new Promise((resolve, reject) => {
        pending.set(next, { resolve, reject });
        child.send({ id: next++, command, args });
      });
    const stop = async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await ask('close').catch(() => undefined);
      if (child.connected) child.disconnect();
      await exited;
      clearTimeout(timer);
    };
    const started = { name, ask, stop };
    this.#all.push(started);
    await ask('open', ...openArgs);
    return started;
  }

  /** CPU so far by process, microseconds. */
  async cpu() {
    const entries = await Promise.all(this.#all.map(async ({ name, ask }) => [name, await ask('cpu')]));
    for (const name of ['rabbitmq', 'redis']) entries.push([name, cpuOf(this.#pids[name])]);
    return Object.fromEntries(entries);
  }

  /** Latest first: agents leave before the manager does. */
  async stop() {
    for (const started of this.#all.reverse()) await started.stop();
    this.#all = [];
  }
}

/** The first lines a process complains with, and how many more there were: a flood of them would hide the table. */
function showBriefly(name, stderr) {
  let lines = 0;
  createInterface({ input: stderr })
    .on('line', (line) => {
      if (lines++ < SHOWN_LINES) process.stderr.write(`  ${name}: ${line.slice(0, 300)}\n`);
    })
    .on('close', () => {
      if (lines > SHOWN_LINES) process.stderr.write(`  ${name}: and ${lines - SHOWN_LINES} lines more\n`);
    });
}

/** CPU of another process, its waited-for children included, microseconds; NaN where the system does not say. */
function cpuOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_US;
  } catch {
    return Number.NaN;
  }
}

module.exports = { environment, Stage };
