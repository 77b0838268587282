import { fc } from "../../support/property.ts";
import { sourceOf } from "../../../core/codec/value-stream.ts";
import { Malformed } from "../../../core/codec/msgpack.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { openPacket, packPacket } from "../../../core/swim/packets.ts";
import { encodeStream, readStream } from "../../../core/swim/streams.ts";
import { encodeMessage } from "../../../core/swim/wire.ts";
import { type Bytes, toHex } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { bytesOf, type Decoded, keysOf, platformCrypto, type Vector, vectors } from "./support.ts";

const open = new Keyring();

function sealerOf(vector: Vector) {
  return { crypto: platformCrypto, keyring: new Keyring(keysOf(vector)) };
}

/** What is inside encryption, checksum and compression: the recorder kept it for the first and the last. */
function innermost(vector: Vector): string {
  let hex = vector.hex;
  for (let layer: Decoded | undefined = vector.decoded; layer !== undefined; layer = layer.inner ?? layer.plain) {
    hex = layer.raw_hex ?? layer.plain_hex ?? hex;
    if (hex.startsWith("0c")) hex = hex.slice(10);
  }
  return hex;
}

describe("gossip packets", () => {
  const packets = vectors(/^(0|1)\d\d-(ml|serf|consul)-/).filter((vector) => vector.transport === "udp");

  it("the recorded packets are all here", () => assert.ok(packets.length > 60, `${packets.length}`));

  for (const vector of packets) {
    it(`reads ${vector.file} and writes its messages to the same bytes`, () => {
      const sealer = sealerOf(vector);
      const { messages, problems } = openPacket(bytesOf(vector.hex), { sealer, verifyIncoming: true });
      assert.deepEqual(problems, []);
      assert.ok(messages.length > 0);
      const plain = packPacket(messages.map(encodeMessage), {
        checksum: false,
        compress: false,
        sealer: { crypto: platformCrypto, keyring: open },
      });
      assert.equal(toHex(plain), innermost(vector));
      // All layers of our own, there and back.
      const packed = packPacket(messages.map(encodeMessage), { checksum: true, compress: true, sealer });
      assert.deepEqual(openPacket(packed, { sealer, verifyIncoming: true }), { messages, problems: [] });
    });
  }

  it("a packet with a checksum is the recorded one to the last byte", () => {
    const [vector] = vectors(/012-ml-alive-crc/) as [Vector];
    const { messages } = openPacket(bytesOf(vector.hex), { sealer: sealerOf(vector), verifyIncoming: true });
    const packed = packPacket(messages.map(encodeMessage), { checksum: true, compress: false, sealer: sealerOf(vector) });
    assert.equal(toHex(packed), vector.hex);
  });

  it("a compressed packet is the recorded one to the last byte", () => {
    const [vector] = vectors(/020-ml-crc-compress-compound\.json/) as [Vector];
    const { messages } = openPacket(bytesOf(vector.hex), { sealer: sealerOf(vector), verifyIncoming: true });
    const packed = packPacket(messages.map(encodeMessage), { checksum: true, compress: true, sealer: sealerOf(vector) });
    assert.equal(toHex(packed), vector.hex);
  });

  it("one broken bit under a checksum drops the packet", () => {
    const [vector] = vectors(/012-ml-alive-crc/) as [Vector];
    const packet = bytesOf(vector.hex);
    packet[packet.length - 1] = (packet[packet.length - 1] as number) ^ 1;
    const { messages, problems } = openPacket(packet, { sealer: sealerOf(vector), verifyIncoming: true });
    assert.deepEqual([messages, problems], [[], ["its checksum is wrong"]]);
  });

  it("a truncated compound gives the parts that are whole", () => {
    const [vector] = vectors(/010-ml-compound-ping-suspect\.json/) as [Vector];
    const packet = bytesOf(vector.hex);
    const { messages, problems } = openPacket(packet.subarray(0, packet.length - 1), {
      sealer: sealerOf(vector),
      verifyIncoming: true,
    });
    assert.deepEqual(
      messages.map((message) => message.kind),
      ["ping"],
    );
    assert.deepEqual(problems, ["compound is truncated: 1 of 2 parts are missing"]);
  });

  it("a member with a key drops plain text, unless told to read it", () => {
    const [vector] = vectors(/001-ml-ping/) as [Vector];
    const sealer = { crypto: platformCrypto, keyring: new Keyring([new Uint8Array(16)]) };
    assert.equal(openPacket(bytesOf(vector.hex), { sealer, verifyIncoming: true }).messages.length, 0);
    assert.equal(openPacket(bytesOf(vector.hex), { sealer, verifyIncoming: false }).messages.length, 1);
  });

  it("compress layers within one another do not unpack without bound", () => {
    let packet: Bytes = Uint8Array.of(8, ...new Array<number>(60_000).fill(0));
    const sealer = { crypto: platformCrypto, keyring: open };
    for (let round = 0; round < 3; round++)
      packet = packPacket(new Array<Bytes>(20).fill(packet), { checksum: false, compress: true, sealer });
    const { problems } = openPacket(packet, { sealer, verifyIncoming: true });
    assert.ok(problems.includes("compressed content is broken or too large"), problems.join());
  });

  it("random bytes in any layer are answered with problems, never an exception", () => {
    const keyring = new Keyring([new Uint8Array(16).fill(7)]);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 14 }), fc.boolean(), (noise, type, encrypted) => {
        const sealer = { crypto: platformCrypto, keyring: encrypted ? keyring : open };
        const content = Uint8Array.of(type, ...noise);
        openPacket(content, { sealer, verifyIncoming: false });
        openPacket(packPacket([content, content], { checksum: true, compress: true, sealer }), { sealer, verifyIncoming: true });
      }),
    );
  });

  it("recorded packets with bytes changed are answered with problems, never an exception", () => {
    const samples = packets.map((vector) => bytesOf(vector.hex));
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (sample, changes) => {
        const packet = sample.slice();
        for (const [at, byte] of changes) packet[at % packet.length] = byte;
        openPacket(packet, { sealer: { crypto: platformCrypto, keyring: open }, verifyIncoming: true });
      }),
    );
  });
});

describe("gossip streams", () => {
  const streams = vectors(/-(pp|tcp|consul)-/).filter((vector) => vector.transport === "tcp");

  it("the recorded streams are all here", () => assert.ok(streams.length > 25, `${streams.length}`));

  for (const vector of streams) {
    it(`reads ${vector.file} and writes it to the same bytes`, async () => {
      const sealer = sealerOf(vector);
      const message = await readStream(sourceOf(bytesOf(vector.hex)), { sealer, compress: true, verifyIncoming: true });
      assert.ok(message);
      const plain = encodeStream(message, { sealer: { crypto: platformCrypto, keyring: open }, compress: false });
      assert.equal(toHex(plain), innermost(vector));
      const again = encodeStream(message, { sealer, compress: true });
      assert.deepEqual(await readStream(sourceOf(again), { sealer, compress: true, verifyIncoming: true }), message);
    });
  }

  it("a stream that arrives byte by byte reads the same", async () => {
    for (const vector of vectors(/033-pp-serf-join|053-tcp-user|038-pp-serf-enc/)) {
      const bytes = [...bytesOf(vector.hex)];
      const trickle = { read: () => Promise.resolve(bytes.length > 0 ? Uint8Array.of(bytes.shift() as number) : undefined) };
      const options = { sealer: sealerOf(vector), compress: true, verifyIncoming: true };
      assert.deepEqual(await readStream(trickle, options), await readStream(sourceOf(bytesOf(vector.hex)), options));
    }
  });

  it("plain text for a member with a key, and the reverse, are refused in memberlist's words", async () => {
    const keyring = new Keyring([new Uint8Array(16)]);
    const [plain, sealed] = [...vectors(/033-pp/), ...vectors(/038-pp/)] as [Vector, Vector];
    const refusal = (vector: Vector, ring: Keyring) =>
      readStream(sourceOf(bytesOf(vector.hex)), {
        sealer: { crypto: platformCrypto, keyring: ring },
        compress: true,
        verifyIncoming: true,
      }).then(
        () => "none",
        (error: Error) => error.message,
      );
    assert.equal(await refusal(plain, keyring), "Encryption is configured but remote state is not encrypted");
    assert.equal(await refusal(sealed, open), "Remote state is encrypted and encryption is not configured");
    assert.equal(await refusal(sealed, keyring), "No installed keys could decrypt the message");
  });

  it("lengths beyond the limit are refused before anything is kept for them", async () => {
    const options = { sealer: { crypto: platformCrypto, keyring: open }, compress: true, verifyIncoming: true };
    // Push-pull: 2^32 - 1 bytes of user state.
    const userState = bytesOf("0683a44a6f696ec2a54e6f64657300ac5573657253746174654c656eceffffffff");
    await assert.rejects(readStream(sourceOf(userState), options), /larger than limit/);
    // User message: the same.
    const user = bytesOf("0881aa557365724d73674c656eceffffffff");
    await assert.rejects(readStream(sourceOf(user), options), Malformed);
    // Compressed: a buffer of 4 GiB.
    const buffer = bytesOf("0982a4416c676f00a3427566dbffffffff00");
    await assert.rejects(readStream(sourceOf(buffer), options), /larger than/);
  });

  it("random bytes are refused as malformed, never with another error", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(0, 2, 6, 8, 9, 10, 13), async (noise, type) => {
        try {
          await readStream(sourceOf(Uint8Array.of(type, ...noise)), {
            sealer: { crypto: platformCrypto, keyring: open },
            compress: true,
            verifyIncoming: true,
          });
        } catch (error) {
          assert.ok(error instanceof Malformed, String(error));
        }
      }),
    );
  });
});
