/**
 * The one door to cbor-x: CBOR (RFC 8949) for our own formats — log entries, Raft messages, snapshots, local state.
 *
 * The library reads far more than we write: tags that make Dates, Sets, Errors and records, bignums whose decoding is
 * quadratic (200 kB of digits cost 22 s of CPU), nesting as deep as the stack. So a gate walks the bytes first and lets
 * only this subset through; the library never sees anything else:
 *
 *   whole numbers, floats, 64-bit integers as bigint, text, byte strings, arrays, maps with text keys,
 *   false, true, null, undefined — all of definite length, no tags at all, nested at most `depthMax` deep.
 *
 * What we encode passes the same gate, so that nothing is written which could not be read again.
 * Limit to know: a map key `__proto__` comes back as `__proto_`.
 */
import { Encoder } from "cbor-x/encode";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";

/** How deep arrays and maps may nest. */
export const depthMax = 64;
/** What one encoded value may measure. Callers with smaller frames check those before they decode. */
export const encodedBytesMax = 64 * 1024 * 1024;

/** Beyond this the encoder's working buffer is given back instead of being kept for the next value. */
const workingBytes = 8192;

/** A method the library's types leave out. */
interface WithWorkingBuffer {
  useBuffer(buffer: Bytes): void;
}

const plainData = { useRecords: false, mapsAsObjects: true, tagUint8Array: false, variableMapSize: true } as const;
const codec = new Encoder({ ...plainData, copyBuffers: true });
/** Byte strings come out as views. */
const viewer = new Encoder({ ...plainData, copyBuffers: false });
/** Of the class the library works on: Node's Buffer where there is one. */
const emptyWorkingBuffer = codec.encode(new Uint8Array(workingBytes));

/**
 * The bytes of a plain value, fresh ones that nobody else writes to.
 * Throws `bad-request` for what is not plain data (functions, Dates, Sets, integers of more than 64 bits, deep nesting)
 * and `too-large` beyond `encodedBytesMax`.
 */
export function encode(value: unknown): Bytes {
  let encoded: Bytes;
  try {
    encoded = codec.encode(value);
  } catch (cause) {
    throw new AgentError("bad-request", { cause, message: "Cannot encode: the value is not plain data or nests too deeply" });
  }
  if (encoded.length > encodedBytesMax) {
    shrinkWorkingBuffer();
    throw new AgentError("too-large", {
      message: `Cannot encode: ${encoded.length} bytes exceed the limit of ${encodedBytesMax}`,
    });
  }
  // A plain view: the library hands out Node's Buffer, whose `slice` shares memory.
  let plain = new Uint8Array(encoded.buffer as ArrayBuffer, encoded.byteOffset, encoded.length);
  if (encoded.length > workingBytes / 4) {
    // Small values share a working buffer that is never written twice; a large one would pin a buffer several times its size.
    plain = plain.slice();
    shrinkWorkingBuffer();
  }
  const fault = faultIn(plain);
  if (fault !== undefined) throw new AgentError("bad-request", { message: `Cannot encode: ${fault.what}` });
  return plain;
}

function shrinkWorkingBuffer(): void {
  (codec as unknown as WithWorkingBuffer).useBuffer(Uint8Array.prototype.slice.call(emptyWorkingBuffer));
}

/** The value in `bytes`; undefined when they are not exactly one value of the subset. Byte strings are copies. */
export function tryDecode(bytes: Bytes): { readonly value: unknown } | undefined {
  if (faultIn(bytes) !== undefined) return undefined;
  return { value: decodeGated(bytes) };
}

/**
 * As {@link tryDecode}, for bytes that we wrote ourselves: throws `storage-failed` with what is wrong and where.
 * `what` names the thing in the error text ("log entry 812").
 */
export function decode(bytes: Bytes, what = "a record"): unknown {
  requireSubset(bytes, what);
  return decodeGated(bytes);
}

/**
 * As {@link decode}, but byte strings are views of `bytes`: for who copies what it keeps. An array with memory of its own
 * costs several times a small value, in time and for the garbage collector.
 */
export function decodeInPlace(bytes: Bytes, what = "a record"): unknown {
  requireSubset(bytes, what);
  return viewGated(bytes);
}

/** As {@link tryDecode}, in place. */
export function tryDecodeInPlace(bytes: Bytes): { readonly value: unknown } | undefined {
  return faultIn(bytes) === undefined ? { value: viewGated(bytes) } : undefined;
}

function requireSubset(bytes: Bytes, what: string): void {
  const fault = faultIn(bytes);
  if (fault === undefined) return;
  throw new AgentError("storage-failed", {
    message: `Cannot decode ${what}: ${fault.what} at byte ${fault.at} of ${bytes.length}`,
  });
}

function decodeGated(bytes: Bytes): unknown {
  // A view of its own: the library leaves a DataView on whatever it reads, and log entries live long.
  return codec.decode(new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length));
}

function viewGated(bytes: Bytes): unknown {
  return viewer.decode(new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length));
}

interface Fault {
  readonly at: number;
  readonly what: string;
}

const remainingItems = new Float64Array(depthMax + 1);
/** 1 where the container is a map, whose items alternate between key and value. */
const isMap = new Uint8Array(depthMax + 1);

/** Walks the headers of one value, skipping contents; what breaks the subset, or undefined. Allocates nothing. */
function faultIn(bytes: Bytes): Fault | undefined {
  const end = bytes.length;
  let at = 0;
  let depth = 0;
  remainingItems[0] = 1;
  isMap[0] = 0;
  while (depth >= 0) {
    if (remainingItems[depth] === 0) {
      depth--;
      continue;
    }
    if (at >= end) return { at, what: "it ends in the middle of a value" };
    const key = isMap[depth] === 1 && (remainingItems[depth] as number) % 2 === 0;
    (remainingItems[depth] as number)--;
    const head = bytes[at++] as number;
    const major = head >> 5;
    const minor = head & 31;
    if (key && major !== 3) return { at: at - 1, what: "a map key is not text" };
    let argument = minor;
    if (minor >= 24) {
      if (minor > 27) return { at: at - 1, what: minor === 31 ? "a length is indefinite" : "a header is reserved" };
      const width = 1 << (minor - 24);
      if (end - at < width) return { at, what: "it ends in the middle of a header" };
      argument = 0;
      for (let byte = 0; byte < width; byte++) argument = argument * 256 + (bytes[at + byte] as number);
      at += width;
    }
    switch (major) {
      case 0:
      case 1:
        break;
      case 2:
      case 3:
        if (argument > end - at) return { at, what: "a string is longer than what follows" };
        at += argument;
        break;
      case 4:
      case 5: {
        const items = major === 5 ? argument * 2 : argument;
        if (items > end - at) return { at, what: "an array or map has more items than what follows can hold" };
        if (depth === depthMax) return { at, what: `it nests deeper than ${depthMax}` };
        depth++;
        remainingItems[depth] = items;
        isMap[depth] = major === 5 ? 1 : 0;
        break;
      }
      case 6:
        return { at: at - 1, what: `tag ${argument} is not allowed` };
      default:
        if (minor < 20 || minor === 24) return { at: at - 1, what: "an unassigned simple value" };
    }
  }
  return at === end ? undefined : { at, what: "bytes follow the value" };
}
