/**
 * What members say over streams: push-pull, a ping when datagrams fail, reliable user messages. One exchange per
 * connection. Around each direction: compress (always, when on), then encrypt with the frame's head authenticated.
 */
import { Fields } from "../codec/fields.ts";
import { encode, Malformed } from "../codec/msgpack.ts";
import { type ByteSource, sourceOf, ValueReader } from "../codec/value-stream.ts";
import { type Bytes, concat, emptyBytes } from "../types/bytes.ts";
import { encryptionOverhead, open, type Sealer, seal, sendingKey } from "./encryption.ts";
import type { Ack, MemberClaim, Ping, PushPull, Refusal, User } from "./messages.ts";
import { compressed, decompressed, undecipherable } from "./packets.ts";
import { decodeClaim, decodePing, encodeClaim, encodeMessage, messageType } from "./wire.ts";

/** memberlist's limit for encrypted state; ours for all. */
const streamBytesMax = 20 * 1024 * 1024;
/** One member's claim or a small message: a kilobyte in practice. */
const smallValueBytesMax = 64 * 1024;
const frameHeadLength = 5;

export type StreamMessage = ({ readonly kind: "pushPull" } & PushPull) | Ping | Ack | User | Refusal;

export interface StreamOptions {
  readonly sealer: Sealer;
  readonly compress: boolean;
  /** Refuse plain text when there are keys. */
  readonly verifyIncoming: boolean;
  /** Told how many bytes unpacking made, before they are read. May throw `Malformed` when that is too much for now. */
  readonly charge?: (length: number) => void;
}

export function encodeStream(message: StreamMessage, options: Pick<StreamOptions, "sealer" | "compress">): Bytes {
  const plain = encodePlain(message);
  const content = options.compress ? compressed(plain) : plain;
  const key = sendingKey(options.sealer);
  if (key === undefined) return content;
  const head = new Uint8Array(frameHeadLength);
  head[0] = messageType.encrypt;
  new DataView(head.buffer).setUint32(1, content.length + encryptionOverhead);
  return concat([head, seal(options.sealer, key, content, head)]);
}

/** The one message of a direction; undefined when the other side closed without a word. Throws `Malformed` with a text fit for the other side. */
export async function readStream(source: ByteSource, options: StreamOptions): Promise<StreamMessage | undefined> {
  let reader = new ValueReader(source);
  let type = await reader.byte();
  if (type === undefined) return undefined;
  const encrypted = options.sealer.keyring.primary !== undefined;
  if (type === messageType.encrypt) {
    if (!encrypted) throw new Malformed("Remote state is encrypted and encryption is not configured");
    reader = new ValueReader(sourceOf(await decryptedFrame(reader, options.sealer)));
    type = await reader.byte();
  } else if (encrypted && options.verifyIncoming)
    throw new Malformed("Encryption is configured but remote state is not encrypted");
  if (type === messageType.compress) {
    const fields = new Fields((await reader.value(streamBytesMax)) ?? null);
    const plain = decompressed(fields, streamBytesMax);
    options.charge?.(plain.length);
    reader = new ValueReader(sourceOf(plain));
    type = await reader.byte();
  }
  return readPlain(type, reader);
}

async function decryptedFrame(reader: ValueReader, sealer: Sealer): Promise<Bytes> {
  const lengthBytes = await reader.exactly(4);
  const length = new DataView(lengthBytes.buffer, lengthBytes.byteOffset, 4).getUint32(0);
  if (length > streamBytesMax) throw new Malformed(`Remote node state is larger than limit (${length})`);
  const head = concat([Uint8Array.of(messageType.encrypt), lengthBytes]);
  const plain = open(sealer, await reader.exactly(length), head);
  if (plain === undefined) throw new Malformed(undecipherable);
  return plain;
}

async function readPlain(type: number | undefined, reader: ValueReader): Promise<StreamMessage> {
  switch (type) {
    case messageType.pushPull:
      return { kind: "pushPull", ...(await readPushPull(reader)) };
    case messageType.user: {
      const length = (await readFields(reader)).unsigned("UserMsgLen", streamBytesMax);
      return { kind: "user", payload: await reader.exactly(length) };
    }
    case messageType.ping:
      return decodePing((await reader.value(smallValueBytesMax)) ?? null);
    case messageType.ack:
      return { kind: "ack", sequence: (await readFields(reader)).unsigned("SeqNo"), payload: undefined };
    case messageType.refusal:
      return { kind: "refusal", reason: (await readFields(reader)).text("Error") };
    default:
      throw new Malformed(`Received invalid msgType (${type ?? "none"})`);
  }
}

async function readPushPull(reader: ValueReader): Promise<PushPull> {
  const header = await readFields(reader);
  const count = header.unsigned("Nodes");
  const userStateLength = header.unsigned("UserStateLen");
  const members: MemberClaim[] = [];
  let bytesLeft = streamBytesMax;
  let { taken } = reader;
  for (let index = 0; index < count; index++) {
    const value = await reader.value(smallValueBytesMax);
    if (value === undefined) throw new Malformed("connection ended before the last member");
    bytesLeft -= Math.max(claimBytesMin, reader.taken - taken);
    taken = reader.taken;
    if (bytesLeft < 0) throw new Malformed("remote state is larger than limit");
    members.push(decodeClaim(value));
  }
  if (userStateLength > bytesLeft) throw new Malformed(`Remote node state is larger than limit (${userStateLength})`);
  const userState = userStateLength === 0 ? emptyBytes : await reader.exactly(userStateLength);
  return { join: header.flag("Join"), members, userState };
}

/** About what the smallest claim costs in memory; keeps a stream of tiny claims within the same limit. */
const claimBytesMin = 128;

async function readFields(reader: ValueReader): Promise<Fields> {
  return new Fields((await reader.value(smallValueBytesMax)) ?? null);
}

function encodePlain(message: StreamMessage): Bytes {
  if (message.kind === "pushPull") {
    const header = { Join: message.join, Nodes: message.members.length, UserStateLen: message.userState.length };
    return concat([Uint8Array.of(messageType.pushPull), encode(header), ...message.members.map(encodeClaim), message.userState]);
  }
  if (message.kind === "user") {
    return concat([Uint8Array.of(messageType.user), encode({ UserMsgLen: message.payload.length }), message.payload]);
  }
  return encodeMessage(message);
}
