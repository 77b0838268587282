/**
 * Every recorded exchange is read, and written back to the same bytes: whatever we would send ourselves with the encoder
 * that sends it, the rest (Consul's own Raft) as MessagePack. The counts are here so that none can be skipped silently.
 */
import { decode, decodeFirst, encode, type Encodable, type Value } from "../../../core/codec/msgpack.ts";
import { sourceOf, ValueReader } from "../../../core/codec/value-stream.ts";
import { encodeResponse, readRequest, readResponse } from "../../../core/rpc/codec.ts";
import { decodeSerf, decodeState, decodeTags, encodeSerf, encodeState, encodeTags } from "../../../core/serf/wire.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { openPacket, packPacket } from "../../../core/swim/packets.ts";
import { encodeStream, readStream } from "../../../core/swim/streams.ts";
import { encodeMessage } from "../../../core/swim/wire.ts";
import type { SwimMessage } from "../../../core/swim/messages.ts";
import { type Bytes, concat, toHex, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { bytesOf, type Decoded, keysOf, platformCrypto, type Vector, vectors } from "./support.ts";

type Check = (vector: Vector) => void | Promise<void>;

const open = new Keyring();
const sealerOf = (vector: Vector) => ({ crypto: platformCrypto, keyring: new Keyring(keysOf(vector)) });
const plainly = { crypto: platformCrypto, keyring: open };
const same = (ours: Bytes, recorded: Bytes): void => assert.equal(toHex(ours), toHex(recorded));

/** What is inside encryption, checksum and compression: the recorder kept it for the first and the last. */
function innermost(vector: Vector): string {
  let hex = vector.hex;
  for (let layer: Decoded | undefined = vector.decoded; layer !== undefined; layer = layer.inner ?? layer.plain) {
    hex = layer.raw_hex ?? layer.plain_hex ?? hex;
    if (hex.startsWith("0c")) hex = hex.slice(10);
  }
  return hex;
}

/** A datagram, the messages in it, and what these carry for Serf. */
function datagram(vector: Vector): void {
  const { messages, problems } = openPacket(bytesOf(vector.hex), { sealer: sealerOf(vector), verifyIncoming: true });
  assert.deepEqual(problems, []);
  assert.ok(messages.length > 0);
  assert.equal(
    toHex(packPacket(messages.map(encodeMessage), { checksum: false, compress: false, sealer: plainly })),
    innermost(vector),
  );
  for (const message of messages) carried(vector, message);
}

function carried(vector: Vector, message: SwimMessage): void {
  // Bare memberlist's own user messages and meta are not Serf's.
  const serf = /-(serf|consul)-/.test(vector.file);
  if (message.kind === "user" && serf) {
    const inner = decodeSerf(message.payload);
    same(encodeSerf(inner), message.payload);
    if (inner.kind === "relay") same(encodeSerf(decodeSerf(inner.inner)), inner.inner);
  }
  if (message.kind === "alive") tags(message.meta);
}

function tags(meta: Bytes | undefined): void {
  if (meta?.[0] !== 255) return;
  const written = encodeTags(decodeTags(meta));
  // Go writes maps in any order; ours are compared without it.
  assert.equal(written.length, meta.length);
  assert.deepEqual(decode(written.subarray(1)), decode(meta.subarray(1)));
}

/** A stream between members, and Serf's state in it. */
async function stream(vector: Vector): Promise<void> {
  const options = { sealer: sealerOf(vector), compress: true, verifyIncoming: true };
  const message = await readStream(sourceOf(bytesOf(vector.hex)), options);
  assert.ok(message !== undefined);
  assert.equal(toHex(encodeStream(message, { sealer: plainly, compress: false })), innermost(vector));
  if (message.kind !== "pushPull") return;
  for (const { meta } of message.members) tags(meta);
  if (/-(serf|consul)-/.test(vector.file)) same(encodeState(decodeState(message.userState)), message.userState);
}

/** A call and its answer, each a header and a body. */
async function call(vector: Vector): Promise<void> {
  const request = await readRequest(new ValueReader(sourceOf(bytesOf(vector.hex))));
  assert.ok(request !== undefined);
  const header = encode({ Seq: request.sequence, ServiceMethod: request.method });
  same(concat([header, encode(request.args as Encodable)]), bytesOf(vector.hex));
  const response = await readResponse(new ValueReader(sourceOf(bytesOf(vector.response_hex as string))));
  assert.ok(response !== undefined);
  const answered = { sequence: response.sequence, method: request.method };
  same(encodeResponse(answered, response.error, response.body as Encodable), bytesOf(vector.response_hex as string));
}

/** Frames of yamux: version 0, one of four types, flags, stream, length; data frames carry calls. */
function frames(vector: Vector): void {
  const bytes = bytesOf(vector.hex);
  // The opening of a connection begins with the byte that says what it is.
  let at = vector.file.includes("open-c") ? 1 : 0;
  let seen = 0;
  for (; at < bytes.length; seen++) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    const [version, type, flags, length] = [view.getUint8(0), view.getUint8(1), view.getUint16(2), view.getUint32(8)];
    assert.ok(version === 0 && type <= 3 && flags <= 15, `frame ${seen} at ${at}`);
    at += 12;
    if (type !== 0) continue;
    for (let from = at; from < at + length; ) {
      const { value, end } = decodeFirst(bytes, from);
      same(encode(value as Encodable), bytes.subarray(from, end));
      from = end;
    }
    at += length;
  }
  assert.ok(seen > 0 && at === bytes.length);
}

/** Consul's own Raft, which we neither read nor write: a type and a map, or an error and a map. */
function raft(vector: Vector): void {
  const bytes = bytesOf(vector.hex);
  const parts: Value[] = [];
  for (let from = vector.file.includes("resp") ? 0 : 1; from < bytes.length; ) {
    const { value, end } = decodeFirst(bytes, from);
    same(encode(value as Encodable), bytes.subarray(from, end));
    parts.push(value);
    from = end;
  }
  const body = parts.at(-1);
  assert.ok(body instanceof Map);
  assert.deepEqual([...body.keys()].sort(), Object.keys(vector.decoded["body"] as object).sort());
}

/** The request for a snapshot, and the head of the answer that an archive follows. */
function snapshot(vector: Vector): void {
  const request = bytesOf(vector.hex);
  assert.equal(request[0], 5);
  same(encode(decode(request.subarray(1)) as Encodable), request.subarray(1));
  const answer = bytesOf(vector.response_hex as string);
  const { value, end } = decodeFirst(answer, 0);
  same(encode(value as Encodable), answer.subarray(0, end));
}

const classes: readonly {
  readonly name: string;
  readonly count: number;
  readonly holds: (vector: Vector) => boolean;
  readonly check: Check;
}[] = [
  { name: "datagrams between members", count: 72, holds: ({ transport }) => transport === "udp", check: datagram },
  {
    name: "streams between members",
    count: 35,
    holds: ({ file, transport }) => transport === "tcp" && /^\d+-(pp|tcp|consul)-/.test(file),
    check: stream,
  },
  { name: "frames of multiplexed connections", count: 4, holds: ({ file }) => /-rpc-yamux-/.test(file), check: frames },
  { name: "calls between agents", count: 32, holds: ({ file }) => /-rpc-[A-Z]/.test(file), check: call },
  { name: "Consul's Raft", count: 7, holds: ({ file }) => /-raft-/.test(file), check: raft },
  { name: "the stream of a snapshot", count: 1, holds: ({ file }) => /-rpc-snapshot-/.test(file), check: snapshot },
];

describe("the recorded exchanges", () => {
  const all = vectors(/^\d{3}-.*\.json$/);

  it("are 151, numbered without a gap", () => {
    assert.deepEqual(
      all.map(({ file }) => Number(file.slice(0, 3))),
      Array.from({ length: 151 }, (_, index) => index + 1),
    );
  });

  it("each belong to exactly one class", () => {
    for (const vector of all) assert.equal(classes.filter(({ holds }) => holds(vector)).length, 1, vector.file);
  });

  for (const { name, count, holds, check } of classes) {
    it(`${name}: all ${count} are read and written to the same bytes`, async () => {
      const members = all.filter(holds);
      assert.equal(members.length, count);
      for (const vector of members) {
        try {
          await check(vector);
        } catch (error) {
          throw new Error(`${vector.file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
        }
      }
    });
  }

  it("what is not MessagePack at all is not taken for it", () => {
    assert.throws(() => decode(utf8("\xc1")));
  });
});
