/**
 * Rows of two numbers and some bytes, packed into a few large buffers instead of four objects each.
 *
 *   slab     id │ length │ first │ second │ bytes, padded to 8 ┃ id │ length │ …            written once, front to back
 *   #places  id → where its row is now
 *
 *   insert, replace   O(length): a copy to the end of the open slab; the old row stays where it is and counts as dead
 *   remove, read      O(1)
 *   memory            24 bytes a row and its bytes; dead rows take as much again as half of the live ones at most
 *
 * A row of 100 bytes costs 132; as an object with an array of bytes it would cost about 450 on every engine, and the
 * garbage collector would walk it again and again.
 *
 * Bytes are never overwritten. So what `bytesOf` gave stays as it was for as long as somebody holds it (it keeps its slab
 * alive), and emptying a slab of its last living rows is a copy that nobody notices.
 *
 * Invariants: places[id] names the only row of `id` that is not marked dead · live ≤ used ≤ capacity, in each slab ·
 * allocated = Σ capacity, live = Σ live.
 */
import type { Bytes } from "../types/bytes.ts";
import { assert } from "../types/errors.ts";

/** Names a row until it is removed; small whole numbers, given again afterwards. */
export type RowId = number;

const wordBytes = 8;
const headWords = 3;
/** A slab's capacity at most, 256 KiB: emptying one takes less than a millisecond. A power of two, to take places apart. */
const slabWordsMax = 32_768;
const slabBits = 15;
const offsetMask = slabWordsMax - 1;
/** The first slab is small, so that an empty catalog is. */
const slabWordsMin = 512;
/** Longer rows have a slab of their own, which goes with them. */
const sharedRowWordsMax = slabWordsMax / 4;
/** Places are 32 bits wide. */
const slabsMax = 2 ** 32 / slabWordsMax;
/** This much may be dead in any case. */
const deadWordsFree = 2 * slabWordsMax;
/** Slabs emptied when one was filled. Each gains a third of a slab at least, so three keep up with any load. */
const emptiedAtOnceMax = 4;
/** In the place of the ID of a row that was replaced or removed. */
const dead = 0xffffffff;
const noneFree = 0xffffffff;

interface Slab {
  readonly bytes: Bytes;
  /** The same memory, for the heads. */
  readonly integers: Uint32Array;
  readonly numbers: Float64Array;
  /** In words. */
  readonly capacity: number;
  used: number;
  live: number;
}

export class PackedRows {
  /** By number; undefined where one was given back. */
  readonly #slabs: (Slab | undefined)[] = [];
  readonly #numbersFree: number[] = [];
  /** The slab that new rows go to. */
  #open: Slab | undefined;
  #openNumber = 0;
  /** By ID: slab number × slabWordsMax + offset in words; of a free ID, the next one that is free. */
  #places = new Uint32Array(16);
  #ids = 0;
  #freeId = noneFree;
  #size = 0;
  #allocatedWords = 0;
  #liveWords = 0;
  #emptying = false;

  /** How many rows there are. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory held, and bytes of it that rows need. */
  get memory(): { readonly allocated: number; readonly live: number } {
    return { allocated: this.#allocatedWords * wordBytes, live: this.#liveWords * wordBytes };
  }

  /** `bytes` are copied. */
  insert(first: number, second: number, bytes: Bytes): RowId {
    const id = this.#takeId();
    this.#places[id] = this.#write(id, first, second, bytes);
    this.#size++;
    return id;
  }

  replace(id: RowId, first: number, second: number, bytes: Bytes): void {
    // Written before the old one is given up, because `bytes` may be its own; and that may move the old one.
    const place = this.#write(id, first, second, bytes);
    this.#bury(id, this.#places[id] as number);
    this.#places[id] = place;
  }

  remove(id: RowId): void {
    this.#bury(id, this.#places[id] as number);
    this.#places[id] = this.#freeId;
    this.#freeId = id;
    this.#size--;
  }

  firstOf(id: RowId): number {
    const place = this.#places[id] as number;
    return this.#slabOf(place).numbers[(place & offsetMask) + 1] as number;
  }

  secondOf(id: RowId): number {
    const place = this.#places[id] as number;
    return this.#slabOf(place).numbers[(place & offsetMask) + 2] as number;
  }

  /** A view that stays as it is whatever happens to the row. Not to be written to. */
  bytesOf(id: RowId): Bytes {
    const place = this.#places[id] as number;
    const { bytes, integers } = this.#slabOf(place);
    const at = place & offsetMask;
    const from = (at + headWords) * wordBytes;
    return bytes.subarray(from, from + (integers[2 * at + 1] as number));
  }

  /** Asserts the invariants. For tests. */
  validate(): void {
    let allocated = 0;
    let live = 0;
    let rows = 0;
    for (const [number, slab] of this.#slabs.entries()) {
      if (slab === undefined) continue;
      allocated += slab.capacity;
      live += slab.live;
      let liveHere = 0;
      for (let at = 0; at < slab.used; at += wordsOf(slab.integers[2 * at + 1] as number)) {
        const id = slab.integers[2 * at] as number;
        if (id === dead) continue;
        rows++;
        liveHere += wordsOf(slab.integers[2 * at + 1] as number);
        assert(this.#places[id] === number * slabWordsMax + at, "a living row is where its ID says");
      }
      assert(liveHere === slab.live && slab.live <= slab.used && slab.used <= slab.capacity, "live ≤ used ≤ capacity");
    }
    assert(allocated === this.#allocatedWords && live === this.#liveWords, "the sums are right");
    assert(rows === this.#size, "each row lives once");
  }

  #slabOf(place: number): Slab {
    return this.#slabs[place >>> slabBits] as Slab;
  }

  /** Gives the place. */
  #write(id: RowId, first: number, second: number, bytes: Bytes): number {
    const words = wordsOf(bytes.length);
    const [slab, number] = words > sharedRowWordsMax ? this.#add(words) : this.#room(words);
    const at = slab.used;
    slab.integers[2 * at] = id;
    slab.integers[2 * at + 1] = bytes.length;
    slab.numbers[at + 1] = first;
    slab.numbers[at + 2] = second;
    slab.bytes.set(bytes, (at + headWords) * wordBytes);
    this.#grow(slab, words);
    return number * slabWordsMax + at;
  }

  #grow(slab: Slab, words: number): void {
    slab.used += words;
    slab.live += words;
    this.#liveWords += words;
  }

  /** The open slab, with room for a row. */
  #room(words: number): readonly [slab: Slab, number: number] {
    const open = this.#open;
    if (open !== undefined && open.capacity - open.used >= words) return [open, this.#openNumber];
    // As large as everything there is: few slabs, and never more than half of it idle.
    const capacity = Math.max(words, Math.min(slabWordsMax, Math.max(slabWordsMin, this.#liveWords)));
    const [slab, number] = this.#add(capacity);
    this.#open = slab;
    this.#openNumber = number;
    if (open?.live === 0) this.#drop(open);
    this.#emptySlabs();
    // Emptying may have filled it, and opened another.
    return this.#open === slab && slab.capacity - slab.used >= words ? [slab, number] : this.#room(words);
  }

  #add(capacity: number): readonly [slab: Slab, number: number] {
    const number = this.#numbersFree.pop() ?? this.#slabs.length;
    assert(number < slabsMax, "there are fewer slabs than places can name");
    const buffer = new ArrayBuffer(capacity * wordBytes);
    const slab: Slab = {
      bytes: new Uint8Array(buffer),
      integers: new Uint32Array(buffer),
      numbers: new Float64Array(buffer),
      capacity,
      used: 0,
      live: 0,
    };
    this.#slabs[number] = slab;
    this.#allocatedWords += capacity;
    return [slab, number];
  }

  #drop(slab: Slab): void {
    const number = this.#slabs.indexOf(slab);
    this.#slabs[number] = undefined;
    this.#numbersFree.push(number);
    this.#allocatedWords -= slab.capacity;
  }

  #bury(id: RowId, place: number): void {
    const slab = this.#slabOf(place);
    const at = place & offsetMask;
    assert(slab.integers[2 * at] === id, "a row is where its ID says");
    const words = wordsOf(slab.integers[2 * at + 1] as number);
    slab.integers[2 * at] = dead;
    slab.live -= words;
    this.#liveWords -= words;
    if (slab.live === 0 && slab !== this.#open) this.#drop(slab);
  }

  /** Moves the rows of the emptiest slabs together, when too much is dead. */
  #emptySlabs(): void {
    if (this.#emptying) return;
    this.#emptying = true;
    for (let emptied = 0; emptied < emptiedAtOnceMax; emptied++) {
      if (this.#allocatedWords - this.#liveWords <= this.#liveWords / 2 + deadWordsFree) break;
      const slab = this.#emptiest();
      if (slab === undefined) break;
      this.#empty(slab);
    }
    this.#emptying = false;
  }

  #emptiest(): Slab | undefined {
    let emptiest: Slab | undefined;
    let most = 0;
    for (const slab of this.#slabs) {
      if (slab === undefined || slab === this.#open || slab.capacity - slab.live <= most) continue;
      emptiest = slab;
      most = slab.capacity - slab.live;
    }
    return emptiest;
  }

  #empty(slab: Slab): void {
    for (let at = 0; at < slab.used && slab.live > 0; ) {
      const id = slab.integers[2 * at] as number;
      const words = wordsOf(slab.integers[2 * at + 1] as number);
      if (id !== dead) {
        const [target, number] = this.#room(words);
        target.bytes.set(slab.bytes.subarray(at * wordBytes, (at + words) * wordBytes), target.used * wordBytes);
        this.#places[id] = number * slabWordsMax + target.used;
        this.#grow(target, words);
        slab.integers[2 * at] = dead;
        slab.live -= words;
        this.#liveWords -= words;
      }
      at += words;
    }
    this.#drop(slab);
  }

  #takeId(): RowId {
    const free = this.#freeId;
    if (free !== noneFree) {
      this.#freeId = this.#places[free] as number;
      return free;
    }
    if (this.#ids === this.#places.length) {
      const larger = new Uint32Array(2 * this.#places.length);
      larger.set(this.#places);
      this.#places = larger;
    }
    return this.#ids++;
  }
}

function wordsOf(length: number): number {
  return headWords + Math.ceil(length / wordBytes);
}
