/**
 * Answers that may be given again: the same question about something that has not changed since.
 *
 *   packet without its ID ──► hash ──► what was asked, the shared view that answered it, a reply for each order of its records
 *
 * A reply is good while its view is the one that the store shares now: the caller compares. Entries and bytes are bounded;
 * the oldest go first. Two questions with one hash push each other out.
 */
import type { Bytes } from "../../core/types/bytes.ts";
import { copyOf } from "./message.ts";
import type { Share } from "./shared-view.ts";
import type { Transport } from "./size.ts";

/** Longer questions are nobody's hot path. */
const packetBytesMax = 320;
/** Answers with more orders than this are made anew each time. */
const ordersMax = 120;
const entriesMax = 4096;
const bytesMax = 8 * 1024 * 1024;
/** What an entry costs beside its bytes, roughly. */
const entryBytes = 256;

export interface KnownQuestion {
  /** The packet behind its ID. */
  readonly asked: Bytes;
  readonly transport: Transport;
  readonly share: Share;
  readonly orders: number;
  /** By order; whole messages. */
  readonly replies: (Bytes | undefined)[];
  bytes: number;
}

export class Replies {
  readonly #known = new Map<number, KnownQuestion>();
  #bytes = 0;

  /** For finding leaks. */
  get counts(): { readonly questions: number; readonly bytes: number } {
    return { questions: this.#known.size, bytes: this.#bytes };
  }

  find(packet: Bytes, transport: Transport): KnownQuestion | undefined {
    if (this.#known.size === 0 || packet.length > packetBytesMax) return undefined;
    const known = this.#known.get(hashOf(packet));
    return known !== undefined && isSame(known, packet, transport) ? known : undefined;
  }

  keep(packet: Bytes, transport: Transport, share: Share, order: number, orders: number, reply: Bytes): void {
    if (orders > ordersMax || packet.length > packetBytesMax) return;
    const hash = hashOf(packet);
    let known = this.#known.get(hash);
    if (known === undefined || known.share !== share || known.orders !== orders || !isSame(known, packet, transport)) {
      this.#drop(hash);
      known = { asked: copyOf(packet.subarray(2)), transport, share, orders, replies: [], bytes: 0 };
      this.#known.set(hash, known);
      this.#count(known, entryBytes + packet.length);
    }
    if (known.replies[order] !== undefined) return;
    known.replies[order] = copyOf(reply);
    this.#count(known, reply.length);
    this.#evict();
  }

  clear(): void {
    this.#known.clear();
    this.#bytes = 0;
  }

  #count(known: KnownQuestion, bytes: number): void {
    known.bytes += bytes;
    this.#bytes += bytes;
  }

  #evict(): void {
    for (const hash of this.#known.keys()) {
      if (this.#known.size <= entriesMax && this.#bytes <= bytesMax) return;
      this.#drop(hash);
    }
  }

  #drop(hash: number): void {
    this.#bytes -= this.#known.get(hash)?.bytes ?? 0;
    this.#known.delete(hash);
  }
}

/** A copy of a reply for whoever asks now. */
export function repeat(reply: Bytes, packet: Bytes): Bytes {
  const copy = copyOf(reply);
  copy[0] = packet[0] as number;
  copy[1] = packet[1] as number;
  return copy;
}

function isSame({ asked, transport }: KnownQuestion, packet: Bytes, by: Transport): boolean {
  if (transport !== by || asked.length !== packet.length - 2) return false;
  for (let at = 0; at < asked.length; at++) if (asked[at] !== packet[at + 2]) return false;
  return true;
}

/** FNV-1a over everything but the ID. */
function hashOf(packet: Bytes): number {
  let hash = 0x811c9dc5;
  for (let at = 2; at < packet.length; at++) hash = Math.imul(hash ^ (packet[at] as number), 0x01000193);
  return hash;
}
