/**
 * The layers of a datagram.
 *
 *   out   messages → compound → compress → checksum → encrypt
 *   in    decrypt → checksum → then compress, compound and messages in any order of nesting
 */
import { crc32 } from "../codec/checks.ts";
import { Fields } from "../codec/fields.ts";
import { lzwDecode, lzwEncode } from "../codec/lzw.ts";
import { decode, encode, Malformed } from "../codec/msgpack.ts";
import { type Bytes, concat, emptyBytes } from "../types/bytes.ts";
import { assert } from "../types/errors.ts";
import { open, type Sealer, seal, sendingKey } from "./encryption.ts";
import type { SwimMessage } from "./messages.ts";
import { decodeMessage, messageType } from "./wire.ts";

/** memberlist's words for a packet or a frame that none of our keys opens. */
export const undecipherable = "No installed keys could decrypt the message";

/** All that one datagram unpacks to, through all its layers. memberlist's receive buffer is 64 KiB. */
const unpackedBytesMax = 512 * 1024;
const layersMax = 8;
/** Parts of one datagram, through all nested compounds: a full one holds 255. */
const piecesMax = 1024;
/** Pings in one datagram, direct and on behalf of others. Nobody sends more than one; each makes us send a packet, to whomever it names. */
const pingsMax = 8;
const checksumLength = 5;
const partsMax = 255;
/** Below this LZW's 12 bits per code never pay for the frame around them. */
const compressBytesMin = 64;

export interface PackOptions {
  /** The receiver is known to check one. */
  readonly checksum: boolean;
  readonly compress: boolean;
  readonly sealer: Sealer;
}

/** Encoded messages to one datagram. At least one and at most 255 parts, each below 64 KiB. */
export function packPacket(parts: readonly Bytes[], options: PackOptions): Bytes {
  let packet = parts.length === 1 ? (parts[0] as Bytes) : compound(parts);
  if (options.compress && packet.length >= compressBytesMin) {
    const smaller = compressed(packet);
    if (smaller.length < packet.length) packet = smaller;
  }
  if (options.checksum) packet = concat([checksumOf(packet), packet]);
  const key = sendingKey(options.sealer);
  return key === undefined ? packet : seal(options.sealer, key, packet, emptyBytes);
}

export interface OpenedPacket {
  readonly messages: readonly SwimMessage[];
  /** Why the packet, or a part of it, was dropped. */
  readonly problems: readonly string[];
}

export interface OpenOptions {
  readonly sealer: Sealer;
  /** A packet that does not decrypt is dropped; otherwise it is read as plain text. */
  readonly verifyIncoming: boolean;
}

/** Never throws. The messages' bytes are views of copies: `payload` may be reused at once. */
export function openPacket(payload: Bytes, options: OpenOptions): OpenedPacket {
  const opened = new Opening();
  const plain = decrypted(payload, options);
  if (plain === undefined) return { messages: [], problems: [undecipherable] };
  let inner = plain;
  if (plain[0] === messageType.checksum && plain.length >= checksumLength) {
    inner = plain.subarray(checksumLength);
    const stated = new DataView(plain.buffer, plain.byteOffset, plain.length).getUint32(1);
    if (crc32(inner) !== stated) return { messages: [], problems: ["its checksum is wrong"] };
  }
  opened.unwrap(inner, 0);
  return { messages: opened.messages, problems: opened.problems };
}

/** `payload` wrapped in a compress layer, smaller or not. */
export function compressed(payload: Bytes): Bytes {
  return concat([Uint8Array.of(messageType.compress), encode({ Algo: 0, Buf: lzwEncode(payload) })]);
}

/** What a compress layer's map holds. Throws `Malformed`. */
export function decompressed(fields: Fields, bytesMax: number): Bytes {
  if (fields.unsigned("Algo") !== 0) throw new Malformed("compression is not LZW");
  const plain = lzwDecode(fields.bytes("Buf") ?? emptyBytes, bytesMax);
  if (plain === undefined) throw new Malformed("compressed content is broken or too large");
  return plain;
}

function decrypted(payload: Bytes, options: OpenOptions): Bytes | undefined {
  if (options.sealer.keyring.primary === undefined) return payload.slice();
  const plain = open(options.sealer, payload, emptyBytes);
  return plain ?? (options.verifyIncoming ? undefined : payload.slice());
}

/** One datagram on its way through its layers, with what it may still cost. */
class Opening {
  readonly messages: SwimMessage[] = [];
  readonly problems: string[] = [];
  #piecesLeft = piecesMax;
  #bytesLeft = unpackedBytesMax;
  #pingsLeft = pingsMax;

  unwrap(content: Bytes, depth: number): void {
    if (this.#piecesLeft === 0) return;
    if (--this.#piecesLeft === 0) this.problems.push(`it holds more than ${piecesMax} pieces`);
    else if (depth > layersMax) this.problems.push("its layers nest too deep");
    else {
      try {
        this.#dispatch(content, depth);
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        this.problems.push(error.message);
      }
    }
  }

  #dispatch(content: Bytes, depth: number): void {
    if (content[0] === messageType.compound) {
      for (const part of compoundParts(content, this.problems)) this.unwrap(part, depth + 1);
    } else if (content[0] === messageType.compress) {
      const plain = decompressed(new Fields(decode(content.subarray(1))), this.#bytesLeft);
      this.#bytesLeft -= plain.length;
      this.unwrap(plain, depth + 1);
    } else this.#take(decodeMessage(content));
  }

  #take(message: SwimMessage): void {
    const isPing = message.kind === "ping" || message.kind === "indirectPing";
    if (!isPing || this.#pingsLeft > 0) this.messages.push(message);
    else if (this.#pingsLeft === 0) this.problems.push(`it holds more than ${pingsMax} pings`);
    if (isPing) this.#pingsLeft--;
  }
}

function compound(parts: readonly Bytes[]): Bytes {
  assert(parts.length > 0 && parts.length <= partsMax, "a compound has between 1 and 255 parts");
  const head = new Uint8Array(2 + 2 * parts.length);
  head[0] = messageType.compound;
  head[1] = parts.length;
  parts.forEach((part, index) => {
    assert(part.length < 0x10000, "a part of a compound is below 64 KiB");
    head[2 + 2 * index] = part.length >> 8;
    head[3 + 2 * index] = part.length;
  });
  return concat([head, ...parts]);
}

/** Parts up to where the content ends; what is missing is a problem, not a reason to drop the rest. */
function compoundParts(content: Bytes, problems: string[]): readonly Bytes[] {
  const count = content[1];
  if (count === undefined || content.length < 2 + 2 * count) {
    problems.push("compound is shorter than its head");
    return [];
  }
  const parts: Bytes[] = [];
  let at = 2 + 2 * count;
  for (let index = 0; index < count; index++) {
    const length = ((content[2 + 2 * index] as number) << 8) | (content[3 + 2 * index] as number);
    if (at + length > content.length) {
      problems.push(`compound is truncated: ${count - index} of ${count} parts are missing`);
      break;
    }
    parts.push(content.subarray(at, at + length));
    at += length;
  }
  return parts;
}

function checksumOf(packet: Bytes): Bytes {
  const head = new Uint8Array(checksumLength);
  head[0] = messageType.checksum;
  new DataView(head.buffer).setUint32(1, crc32(packet));
  return head;
}
