/**
 * MessagePack as Consul's gossip and RPC speak it: the old specification, from before strings and bytes were told apart.
 *
 *   written    strings and bytes alike as "raw" (a0, da, db); the smallest integer form; float64 always as cb;
 *              maps of a struct with their keys in ascending byte order
 *   accepted   every MessagePack type; raw, str and bin are the same thing and come back as bytes
 *
 * One payload, Consul's user events, is written in the new form (str8, bin8): `dialect: "new"`.
 * Decoding is bounded by its input: no length is believed before that many bytes are there.
 */
import { type Bytes, text, utf8 } from "../types/bytes.ts";

/** What `decode` gives. Strings arrive as bytes: only the reader of a field knows whether it is text. */
export type Value = null | boolean | number | bigint | Bytes | readonly Value[] | ValueMap;
export type ValueMap = ReadonlyMap<string, Value>;

/** What `encode` takes. Fields that are undefined are left out; a plain object's keys are sorted. */
export type Encodable =
  | null
  | boolean
  | number
  | bigint
  | string
  | Bytes
  | Float
  | Encoded
  | readonly Encodable[]
  | ReadonlyMap<string, Encodable>
  | { readonly [field: string]: Encodable | undefined };

/** A number that must travel as float64 even when it is whole. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A value that is encoded already and is written as it is: what many messages share is encoded once. */
export class Encoded {
  readonly bytes: Bytes;
  constructor(bytes: Bytes) {
    this.bytes = bytes;
  }
}

/** The input ends early, nests too deep, or has a type this codec does not know. */
export class Malformed extends Error {
  constructor(message: string) {
    super(message);
    this.name = "Malformed";
  }
}

export interface EncodeOptions {
  /** Default "old". */
  readonly dialect?: "old" | "new";
}

/** Nesting beyond this is refused in both directions; Consul's deepest message nests 8. */
export const depthMax = 32;

/** Throws `Malformed` only for nesting beyond `depthMax`: everything else that fits the type can be written. */
export function encode(value: Encodable, options?: EncodeOptions): Bytes {
  const writer = new Writer(options?.dialect === "new");
  writer.value(value, 0);
  return writer.finish();
}

/** One value that fills `bytes` exactly. Throws `Malformed`. The result's bytes are views of `bytes`. */
export function decode(bytes: Bytes): Value {
  const { value, end } = decodeFirst(bytes, 0);
  if (end !== bytes.length) throw new Malformed(`${bytes.length - end} bytes follow the value`);
  return value;
}

/** The value that starts at `from`, and where it ends. Throws `Malformed`. */
export function decodeFirst(bytes: Bytes, from: number): { readonly value: Value; readonly end: number } {
  const reader = new Reader(bytes, from);
  const value = reader.value(0);
  return { value, end: reader.at };
}

class Writer {
  readonly #newDialect: boolean;
  #bytes: Bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #used = 0;

  constructor(newDialect: boolean) {
    this.#newDialect = newDialect;
  }

  value(value: Encodable, depth: number): void {
    if (depth > depthMax) throw new Malformed("nested too deep");
    if (value === null) this.#byte(0xc0);
    else if (typeof value === "boolean") this.#byte(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "bigint") this.#bigint(value);
    else if (typeof value === "string") this.#text(value);
    else if (value instanceof Uint8Array) this.#raw(value, false);
    else if (value instanceof Float) this.#float(value.value);
    else if (value instanceof Encoded) this.#verbatim(value.bytes);
    else if (Array.isArray(value)) this.#array(value as readonly Encodable[], depth);
    else if (value instanceof Map) this.#map([...(value as ReadonlyMap<string, Encodable>)], depth);
    else this.#map(sortedFields(value as { readonly [field: string]: Encodable | undefined }), depth);
  }

  finish(): Bytes {
    return this.#bytes.slice(0, this.#used);
  }

  #verbatim(bytes: Bytes): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  #array(items: readonly Encodable[], depth: number): void {
    this.#head(items.length, 0x90, 15, 0, 0xdc);
    for (const item of items) this.value(item, depth + 1);
  }

  #map(entries: readonly (readonly [string, Encodable])[], depth: number): void {
    this.#head(entries.length, 0x80, 15, 0, 0xde);
    for (const [key, item] of entries) {
      this.#text(key);
      this.value(item, depth + 1);
    }
  }

  #text(content: string): void {
    // Field names and most values are short ASCII: no detour through an encoder and its array.
    if (content.length < 32) {
      const start = this.#used;
      this.#room(content.length + 1);
      let at = start + 1;
      for (let index = 0; index < content.length; index++) {
        const unit = content.charCodeAt(index);
        if (unit > 127) break;
        this.#bytes[at++] = unit;
      }
      if (at === start + 1 + content.length) {
        this.#bytes[start] = 0xa0 | content.length;
        this.#used = at;
        return;
      }
    }
    this.#raw(utf8(content), true);
  }

  #raw(content: Bytes, isText: boolean): void {
    if (this.#newDialect && !isText) this.#head(content.length, 0, -1, 0xc4, 0xc5);
    else this.#head(content.length, 0xa0, 31, this.#newDialect ? 0xd9 : 0, 0xda);
    this.#verbatim(content);
  }

  /** A length in its smallest form: `fix | length`, then `code8` (0: there is none), `code16`, and the code behind it for 32 bits. */
  #head(length: number, fix: number, fixMax: number, code8: number, code16: number): void {
    if (length <= fixMax) this.#byte(fix | length);
    else if (code8 !== 0 && length < 0x100) this.#sized(code8, 1, length);
    else if (length < 0x10000) this.#sized(code16, 2, length);
    else this.#sized(code16 + 1, 4, length);
  }

  #number(value: number): void {
    if (!Number.isInteger(value)) this.#float(value);
    else if (!Number.isSafeInteger(value)) this.#bigint(BigInt(value));
    else if (value >= 0) {
      if (value < 0x80) this.#byte(value);
      else if (value < 0x100) this.#sized(0xcc, 1, value);
      else if (value < 0x10000) this.#sized(0xcd, 2, value);
      else if (value < 0x100000000) this.#sized(0xce, 4, value);
      else this.#long(0xcf, BigInt(value));
    } else if (value >= -32) this.#byte(value & 0xff);
    else if (value >= -0x80) this.#sized(0xd0, 1, value & 0xff);
    else if (value >= -0x8000) this.#sized(0xd1, 2, value & 0xffff);
    else if (value >= -0x80000000) this.#sized(0xd2, 4, value >>> 0);
    else this.#long(0xd3, BigInt(value));
  }

  #bigint(value: bigint): void {
    if (value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)) this.#number(Number(value));
    else if (value > 0n) this.#long(0xcf, BigInt.asUintN(64, value));
    else this.#long(0xd3, BigInt.asIntN(64, value));
  }

  #long(code: number, value: bigint): void {
    this.#byte(code);
    this.#room(8);
    this.#view.setBigUint64(this.#used, BigInt.asUintN(64, value));
    this.#used += 8;
  }

  #float(value: number): void {
    this.#byte(0xcb);
    this.#room(8);
    this.#view.setFloat64(this.#used, value);
    this.#used += 8;
  }

  #sized(code: number, size: 1 | 2 | 4, value: number): void {
    this.#byte(code);
    this.#room(4);
    if (size === 1) this.#view.setUint8(this.#used, value);
    else if (size === 2) this.#view.setUint16(this.#used, value);
    else this.#view.setUint32(this.#used, value);
    this.#used += size;
  }

  #byte(byte: number): void {
    this.#room(1);
    this.#bytes[this.#used++] = byte;
  }

  #room(more: number): void {
    if (this.#used + more <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#used + more));
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

class Reader {
  at: number;
  readonly #bytes: Bytes;
  readonly #view: DataView;

  constructor(bytes: Bytes, from: number) {
    this.at = from;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(depth: number): Value {
    if (depth > depthMax) throw new Malformed("nested too deep");
    const code = this.#unsigned(1);
    if (code < 0x80) return code;
    if (code < 0x90) return this.#map(code & 15, depth);
    if (code < 0xa0) return this.#array(code & 15, depth);
    if (code < 0xc0) return this.#raw(code & 31);
    if (code >= 0xe0) return code - 0x100;
    switch (code) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xd9:
        return this.#raw(this.#unsigned(1));
      case 0xc5:
      case 0xda:
        return this.#raw(this.#unsigned(2));
      case 0xc6:
      case 0xdb:
        return this.#raw(this.#unsigned(4));
      case 0xca:
        return this.#view.getFloat32(this.#take(4));
      case 0xcb:
        return this.#view.getFloat64(this.#take(8));
      case 0xcc:
        return this.#unsigned(1);
      case 0xcd:
        return this.#unsigned(2);
      case 0xce:
        return this.#unsigned(4);
      case 0xcf:
        return narrowed(this.#view.getBigUint64(this.#take(8)));
      case 0xd0:
        return this.#view.getInt8(this.#take(1));
      case 0xd1:
        return this.#view.getInt16(this.#take(2));
      case 0xd2:
        return this.#view.getInt32(this.#take(4));
      case 0xd3:
        return narrowed(this.#view.getBigInt64(this.#take(8)));
      case 0xdc:
        return this.#array(this.#unsigned(2), depth);
      case 0xdd:
        return this.#array(this.#unsigned(4), depth);
      case 0xde:
        return this.#map(this.#unsigned(2), depth);
      case 0xdf:
        return this.#map(this.#unsigned(4), depth);
      default:
        return this.#extension(code);
    }
  }

  #array(length: number, depth: number): Value {
    // Each item takes a byte at least: a length beyond the input is a lie and nothing is made for it.
    if (length > this.#bytes.length - this.at) throw new Malformed("array longer than its input");
    const items: Value[] = [];
    for (let index = 0; index < length; index++) items.push(this.value(depth + 1));
    return items;
  }

  #map(length: number, depth: number): Value {
    if (length * 2 > this.#bytes.length - this.at) throw new Malformed("map longer than its input");
    const map = new Map<string, Value>();
    for (let index = 0; index < length; index++) {
      const key = this.value(depth + 1);
      if (!(key instanceof Uint8Array)) throw new Malformed("map key is no string");
      map.set(shortText(key), this.value(depth + 1));
    }
    return map;
  }

  #raw(length: number): Bytes {
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** Nothing of Consul's uses extensions; their content is skipped and they read as nil. */
  #extension(code: number): Value {
    if (code >= 0xd4 && code <= 0xd8) this.#take(1 + (1 << (code - 0xd4)));
    else if (code === 0xc7) this.#take(this.#unsigned(1) + 1);
    else if (code === 0xc8) this.#take(this.#unsigned(2) + 1);
    else if (code === 0xc9) this.#take(this.#unsigned(4) + 1);
    else throw new Malformed(`unknown type 0x${code.toString(16)}`);
    return null;
  }

  #unsigned(size: 1 | 2 | 4): number {
    const start = this.#take(size);
    if (size === 1) return this.#bytes[start] as number;
    return size === 2 ? this.#view.getUint16(start) : this.#view.getUint32(start);
  }

  /** Moves past `length` bytes and gives where they start. */
  #take(length: number): number {
    const start = this.at;
    if (length > this.#bytes.length - start) throw new Malformed("input ends within a value");
    this.at = start + length;
    return start;
  }
}

function sortedFields(fields: { readonly [field: string]: Encodable | undefined }): [string, Encodable][] {
  const present = Object.entries(fields).filter((entry): entry is [string, Encodable] => entry[1] !== undefined);
  // By code unit equals by byte for the names Go structs have.
  return present.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
}

function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

const shortMax = 32;

/** `text`, without a decoder's overhead for the short ASCII that field names and node names are. */
export function shortText(bytes: Bytes): string {
  if (bytes.length > shortMax) return text(bytes);
  let out = "";
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] as number;
    if (byte > 127) return text(bytes);
    out += String.fromCharCode(byte);
  }
  return out;
}
