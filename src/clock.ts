// The system's clock and randomness: the only place that touches Date and Math.random.
import { randomFillSync } from 'node:crypto';
import type { Clock, Random } from './ports.js';

/** 24.8 days: the longest a timer of Node can wait. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    // Node fires at once what is further away than it can count.
    const timer = setTimeout(callback, Math.min(ms, MAX_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

export const systemRandom: Random = () => Math.random();

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

// Drawn in one system call for many names: one per name showed in the profile of a request.
const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

/** `length` characters of Crockford base 32, lower case: 5 bits each, from the system's random source. */
export function randomName(length: number): string {
  if (used + length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  let out = '';
  for (let i = 0; i < length; i++) out += ALPHABET[pool[used++]! & 31];
  return out;
}

let lastMs = 0;
let sequence = 0;
let time = '';
let entropy = '';

/**
 * A run id: 9 characters of time in ms, 3 of sequence, 8 random, so that ids sort by time of submission and two processes never
 * make the same one in practice (40 random bits drawn per process and ms).
 */
export function newRunId(): string {
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    sequence = 0;
    time = base32(now, 9);
    entropy = randomName(8);
  } else {
    sequence += 1;
  }
  return time + base32(sequence, 3) + entropy;
}

function base32(value: number, width: number): string {
  let out = '';
  let rest = value;
  for (let i = 0; i < width; i++) {
    out = ALPHABET[rest % 32]! + out;
    rest = Math.floor(rest / 32);
  }
  return out;
}
