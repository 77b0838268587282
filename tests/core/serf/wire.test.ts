import { fc } from "../../support/property.ts";
import { Malformed } from "../../../core/codec/msgpack.ts";
import { sourceOf } from "../../../core/codec/value-stream.ts";
import {
  decodeCoordinate,
  decodeSerf,
  decodeState,
  decodeTags,
  encodeCoordinate,
  encodeSerf,
  encodeState,
  encodeTags,
} from "../../../core/serf/wire.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { openPacket } from "../../../core/swim/packets.ts";
import { readStream } from "../../../core/swim/streams.ts";
import { type Bytes, toHex, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { bytesOf, keysOf, platformCrypto, type Vector, vectors } from "../swim/support.ts";

const optionsFor = (vector: Vector) => ({
  sealer: { crypto: platformCrypto, keyring: new Keyring(keysOf(vector)) },
  verifyIncoming: true,
  compress: true,
});

function messagesOf(vector: Vector) {
  return openPacket(bytesOf(vector.hex), optionsFor(vector)).messages;
}

describe("Serf's messages", () => {
  const packets = vectors(/^\d\d\d-(serf|consul)-/).filter((vector) => vector.transport === "udp");
  const payloads = packets.flatMap((vector) =>
    messagesOf(vector).flatMap((message) => (message.kind === "user" ? [{ file: vector.file, payload: message.payload }] : [])),
  );

  it("the recorded messages are all here", () => assert.ok(payloads.length > 30, `${payloads.length}`));

  for (const { file, payload } of payloads) {
    it(`reads what ${file} carries and writes the same bytes`, () => {
      const message = decodeSerf(payload);
      assert.equal(toHex(encodeSerf(message)), toHex(payload));
      if (message.kind === "relay") assert.equal(toHex(encodeSerf(decodeSerf(message.inner))), toHex(message.inner));
    });
  }

  for (const vector of vectors(/-pp-serf-|-consul-(lan|wan|enc)-/).filter(({ transport }) => transport === "tcp")) {
    it(`reads the state in ${vector.file} and writes the same bytes`, async () => {
      const message = await readStream(sourceOf(bytesOf(vector.hex)), optionsFor(vector));
      assert.ok(message?.kind === "pushPull");
      assert.equal(toHex(encodeState(decodeState(message.userState))), toHex(message.userState));
    });
  }

  it("tags are written as Serf writes them, and read back; meta without the mark is the role", () => {
    assert.equal(toHex(encodeTags({})), "ff80");
    assert.equal(toHex(encodeTags({ extra: "yes" })), "ff81a56578747261a3796573");
    assert.deepEqual(decodeTags(encodeTags({ role: "db", "": "empty" })), { role: "db", "": "empty" });
    assert.deepEqual(decodeTags(utf8("web")), { role: "web" });
    assert.deepEqual(decodeTags(undefined), { role: "" });
    assert.deepEqual(decodeTags(Uint8Array.of(255, 0xc1)), {});
  });

  it("a recorded coordinate reads and writes the same; another version and broken numbers read as none", () => {
    const [ack] = messagesOf(vectors(/002-ml-ack-coordinate/)[0] as Vector);
    assert.ok(ack?.kind === "ack" && ack.payload !== undefined);
    const coordinate = decodeCoordinate(ack.payload);
    assert.equal(coordinate?.vec.length, 8);
    assert.equal(toHex(encodeCoordinate(coordinate)), toHex(ack.payload));
    assert.equal(decodeCoordinate(Uint8Array.of(2, ...ack.payload.subarray(1))), undefined);
    assert.equal(decodeCoordinate(encodeCoordinate({ ...coordinate, vec: [1] })), undefined);
    assert.equal(decodeCoordinate(encodeCoordinate({ ...coordinate, height: Number.NaN })), undefined);
  });

  it("a Lamport time near the end of exact numbers is malformed: it would poison every clock in the pool", () => {
    assert.throws(() => decodeSerf(bytesOf("0183a54c54696d65cf7fffffffffffffffa44e6f6465a161a55072756e65c2")), Malformed);
    assert.throws(() => decodeSerf(encodeSerf({ kind: "join", time: 2 ** 52 + 1, node: "a" })), Malformed);
  });

  it("random bytes, and recorded messages with bytes changed, are read or malformed", () => {
    const attempt = (bytes: Bytes) => {
      for (const read of [decodeSerf, decodeState]) {
        try {
          read(bytes);
        } catch (error) {
          assert.ok(error instanceof Malformed, String(error));
        }
      }
      decodeTags(bytes);
      decodeCoordinate(bytes);
    };
    fc.assert(
      fc.property(fc.nat(10), fc.uint8Array({ maxLength: 200 }), (type, noise) => attempt(Uint8Array.of(type, ...noise))),
    );
    const samples = payloads.map(({ payload }) => payload);
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (sample, changes) => {
        const bytes = sample.slice();
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        attempt(bytes);
      }),
    );
  });
});
