import type { Bytes } from "../types/bytes.ts";
import { assert } from "../types/errors.ts";
import { ceilLog10 } from "../structures/log2.ts";

export interface Broadcast {
  readonly content: Bytes;
  /** A newer broadcast with the same key replaces this one: only the last word about a member matters. */
  readonly key?: string;
  /** Called once: when sent often enough, replaced, or pushed out. */
  readonly finished?: () => void;
}

/** What cannot ride on any packet would wait for ever: 1,400 bytes less encryption, checksum and the frames of a compound. */
const contentBytesMax = 1350;

interface Entry {
  readonly broadcast: Broadcast;
  /** Age: larger is newer. */
  readonly order: number;
  sends: number;
}

export interface GossipQueueOptions {
  readonly retransmitMult: number;
  /** Members known, dead ones included: the more there are, the more often each message is sent. */
  readonly memberCount: () => number;
  /** Beyond this the messages sent most often go first. A function, because it may follow the size of the pool. */
  readonly entriesMax: () => number;
}

/**
 * What is to be told to everyone, riding on whatever is sent anyway (SWIM section 4.1).
 *
 * Fewest sends first, then largest that fits, then newest. A message leaves after `retransmitMult × ceil(log10(n + 1))`
 * sends, which reaches everyone with overwhelming probability.
 *
 *   tiers[sends]  sorted by length descending, then by age descending     add O(log k + move), take O(tiers × log k)
 */
export class GossipQueue {
  readonly #options: GossipQueueOptions;
  /** Index: times sent. Each tier is sorted: largest first, newest first among equals. */
  readonly #tiers: Entry[][] = [];
  readonly #byKey = new Map<string, Entry>();
  #order = 0;
  #length = 0;

  constructor(options: GossipQueueOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#length;
  }

  add(broadcast: Broadcast): void {
    if (broadcast.key !== undefined) {
      const replaced = this.#byKey.get(broadcast.key);
      if (replaced !== undefined) this.#finish(this.#remove(replaced));
    }
    if (broadcast.content.length > contentBytesMax) {
      broadcast.finished?.();
      return;
    }
    const entry = { broadcast, order: this.#order++, sends: 0 };
    this.#insert(entry);
    const entriesMax = this.#options.entriesMax();
    while (this.#length > entriesMax) this.#finish(this.#remove(this.#mostSent()));
  }

  /** Messages that fit into `bytesMax`, each costing `overhead` more than its length. Each counts as sent once. */
  take(overhead: number, bytesMax: number): readonly Bytes[] {
    if (this.#length === 0) return [];
    const taken: Entry[] = [];
    let bytesLeft = bytesMax;
    for (const tier of this.#tiers) {
      let at = firstFitting(tier, bytesLeft - overhead);
      while (at < tier.length) {
        const entry = tier[at] as Entry;
        tier.splice(at, 1);
        this.#length--;
        taken.push(entry);
        bytesLeft -= overhead + entry.broadcast.content.length;
        at = firstFitting(tier, bytesLeft - overhead);
      }
    }
    const sendsMax = this.#options.retransmitMult * ceilLog10(this.#options.memberCount() + 1);
    for (const entry of taken) {
      entry.sends++;
      if (entry.sends >= sendsMax) this.#finish(entry);
      else this.#insert(entry);
    }
    return taken.map((entry) => entry.broadcast.content);
  }

  #insert(entry: Entry): void {
    while (this.#tiers.length <= entry.sends) this.#tiers.push([]);
    const tier = this.#tiers[entry.sends] as Entry[];
    let low = 0;
    let high = tier.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (precedes(tier[middle] as Entry, entry)) low = middle + 1;
      else high = middle;
    }
    tier.splice(low, 0, entry);
    this.#length++;
    if (entry.broadcast.key !== undefined) this.#byKey.set(entry.broadcast.key, entry);
  }

  #remove(entry: Entry): Entry {
    const tier = this.#tiers[entry.sends] as Entry[];
    const at = tier.indexOf(entry);
    assert(at >= 0, "a queued broadcast stands in the tier of its sends");
    tier.splice(at, 1);
    this.#length--;
    return entry;
  }

  #finish(entry: Entry): void {
    const key = entry.broadcast.key;
    if (key !== undefined && this.#byKey.get(key) === entry) this.#byKey.delete(key);
    entry.broadcast.finished?.();
  }

  /** The oldest among those sent most often. */
  #mostSent(): Entry {
    for (let sends = this.#tiers.length - 1; sends >= 0; sends--) {
      const tier = this.#tiers[sends] as Entry[];
      if (tier.length > 0) return tier.reduce((oldest, entry) => (entry.order < oldest.order ? entry : oldest));
    }
    throw new Error("assertion failed: a queue that is too long is not empty");
  }
}

function precedes(left: Entry, right: Entry): boolean {
  const difference = right.broadcast.content.length - left.broadcast.content.length;
  return difference === 0 ? left.order > right.order : difference < 0;
}

/** The first entry no longer than `bytesMax`, in a tier sorted by length descending. */
function firstFitting(tier: readonly Entry[], bytesMax: number): number {
  let low = 0;
  let high = tier.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((tier[middle] as Entry).broadcast.content.length > bytesMax) low = middle + 1;
    else high = middle;
  }
  return low;
}
