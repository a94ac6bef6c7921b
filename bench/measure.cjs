// Clocks, medians and the driver that keeps a window full. Used on both sides of the process border.

/** Milliseconds on the machine's monotonic clock: the same in every process, so two of them can time a hop between them. */
function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** @param {readonly number[]} values */
function percentile(values, share) {
  if (values.length === 0) return Number.NaN;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** @param {readonly number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** CPU of this process so far, microseconds. */
function cpuUs() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/**
 * Keeps `window` round trips under way for `warmMs` and then `ms`; only those that end in the second span count.
 * `once(done)` begins one and calls `done` when its answer is known: a callback, so that the raw side pays for no promise.
 * @param {{ window: number, warmMs: number, ms: number }} span
 * @param {(done: (error?: unknown) => void) => void} once
 */
function drive({ window, warmMs, ms }, once) {
  return new Promise((resolve, reject) => {
    const from = now() + warmMs;
    const until = from + ms;
    const latencies = [];
    let open = 0;
    const begin = () => {
      const began = now();
      open += 1;
      once((error) => {
        open -= 1;
        if (error) return reject(error);
        const ended = now();
        if (ended >= from && ended < until) latencies.push(ended - began);
        if (ended < until) return begin();
        if (open > 0) return;
        const count = latencies.length;
        resolve({
          count,
          rate: (count * 1000) / ms,
          p50: percentile(latencies, 0.5),
          p99: percentile(latencies, 0.99),
        });
      });
    };
    for (let i = 0; i < window; i++) begin();
  });
}

/** A JSON value of about `bytes` with the structure of real input: what codecs cost depends on it. */
function payload(bytes) {
  const value = { items: [] };
  for (let i = 0; JSON.stringify(value).length < bytes - 100; i++) {
    value.items.push({ path: `src/module-${i}/index.ts`, lines: i * 17, score: i / 7, changed: i % 2 === 0 });
  }
  const rest = bytes - JSON.stringify(value).length - ',"pad":""'.length;
  return { ...value, pad: 'x'.repeat(Math.max(0, rest)) };
}

module.exports = { cpuUs, drive, median, now, payload, percentile };
