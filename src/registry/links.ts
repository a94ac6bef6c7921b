// Tells a process that closed its connections (SIGKILL) from one whose Redis link is only reconnecting, by what its pub/sub
// channel shows over time. Shared by both agent stores.

/** Seen subscribed before on our own unbroken link: a channel empty this long is a dead process, not a reconnecting one. */
export const GONE_AFTER_MS = 700;
/** Not known ever to have subscribed: it may be coming back after a restart of Redis. Longer than the 5 s between two beats. */
export const NEVER_SEEN_GONE_AFTER_MS = 7000;

interface Link {
  seen: boolean;
  /** Monotonic ms of the first of the consecutive looks that found nobody. */
  emptySince: number | undefined;
  lease: string;
}

/** Ids of processes that are gone are kept this long after their last look: one that only lost its lease comes back under its id. */
const KNOWN_MS = 3_600_000;

export class Links {
  #links = new Map<string, Link>();
  /** Ms of the last look at each instance there was. */
  readonly #known = new Map<string, number>();
  #unbroken = false;
  #prunedAt = 0;

  /**
   * Takes one look at all instances: subscribers of each one's channel, and its lease in the store's words. Answers which are
   * gone: nobody on the channel in two looks, far enough apart, and no lease renewed in between, which only a live process does.
   */
  look(instances: readonly { instance: string; subscribers: number; lease: string }[], nowMs: number): Set<string> {
    const links = new Map<string, Link>();
    const gone = new Set<string>();
    for (const { instance, subscribers, lease } of instances) {
      const before = this.#links.get(instance);
      // One that is new since our last look was subscribed before it joined: even if it died before we saw it.
      const joined = this.#unbroken && !this.#known.has(instance);
      const link: Link = { seen: subscribers > 0 || joined || before?.seen === true, emptySince: undefined, lease };
      if (subscribers === 0) {
        const since = before?.lease === lease ? before.emptySince : undefined;
        link.emptySince = since ?? nowMs;
        const enoughMs = link.seen ? GONE_AFTER_MS : NEVER_SEEN_GONE_AFTER_MS;
        if (since !== undefined && nowMs - since >= enoughMs) gone.add(instance);
      }
      links.set(instance, link);
      this.#known.set(instance, nowMs);
    }
    this.#links = links;
    this.#unbroken = true;
    if (nowMs - this.#prunedAt > KNOWN_MS) this.#prune(nowMs);
    return gone;
  }

  #prune(nowMs: number): void {
    this.#prunedAt = nowMs;
    for (const [instance, lookedAt] of this.#known) if (nowMs - lookedAt > KNOWN_MS) this.#known.delete(instance);
  }

  /** Our own link was cut, so theirs may have been too: what was seen before proves nothing. */
  reset(): void {
    this.#links.clear();
    this.#unbroken = false;
  }
}
