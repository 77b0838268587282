/** What arrives sealed is hostile until it opens, and may be hostile after that: whoever has a key may have lost it. */
import { fc } from "../../support/property.ts";
import { ByteBudget, MeteredSource } from "../../../core/codec/byte-budget.ts";
import { Malformed } from "../../../core/codec/msgpack.ts";
import { sourceOf } from "../../../core/codec/value-stream.ts";
import { encryptionOverhead, open, seal } from "../../../core/swim/encryption.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { compressed, openPacket, packPacket } from "../../../core/swim/packets.ts";
import { encodeStream, readStream, type StreamMessage } from "../../../core/swim/streams.ts";
import { type Bytes, concat, emptyBytes, toHex } from "../../../core/types/bytes.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { bytesOf, keysOf, platformCrypto, type Vector, vectors } from "./support.ts";

const key = new Uint8Array(32).fill(7);
const sealer = { crypto: platformCrypto, keyring: new Keyring([key]) };
const ring = (count: number) => new Keyring(Array.from({ length: count }, (_, fill) => new Uint8Array(16).fill(fill)));

/** Version 0, as the oldest members seal. */
function sealOld(plain: Bytes, extra: Bytes, padding = 16 - (plain.length % 16)): Bytes {
  const padded = concat([plain, new Uint8Array(padding).fill(padding)]);
  const nonce = platformCrypto.randomBytes(12);
  return concat([Uint8Array.of(0), nonce, platformCrypto.seal(key, nonce, padded, extra)]);
}

const sealings = { "version 1": (plain: Bytes, extra: Bytes) => seal(sealer, key, plain, extra), "version 0": sealOld } as const;
const content = fc.uint8Array({ maxLength: 200 });

describe("sealed gossip", () => {
  for (const [version, sealing] of Object.entries(sealings)) {
    it(`${version}: opens to what was sealed, with any key of the ring`, () => {
      fc.assert(
        fc.property(content, content, fc.nat(5), (plain, extra, others) => {
          const keyring = new Keyring([...ring(others).keys, key]);
          const opened = open({ ...sealer, keyring }, sealing(plain, extra), extra);
          assert.equal(toHex(opened ?? Uint8Array.of(1, 2, 3)), toHex(plain));
        }),
      );
    });

    it(`${version}: cut short, changed anywhere, or with another head, opens to nothing`, () => {
      fc.assert(
        fc.property(content, content, fc.nat(), fc.integer({ min: 1, max: 255 }), (plain, extra, at, change) => {
          const sealed = sealing(plain, extra);
          assert.equal(open(sealer, sealed.subarray(0, at % sealed.length), extra), undefined);
          assert.equal(open(sealer, sealed, concat([extra, Uint8Array.of(change)])), undefined);
          const changed = sealed.slice();
          changed[at % sealed.length] = (changed[at % sealed.length] as number) ^ change;
          // The version is not authenticated; what it makes of the content is the next test.
          if (changed[0] === sealed[0]) assert.equal(open(sealer, changed, extra), undefined);
        }),
      );
    });
  }

  it("with its version changed loses nothing but a whole padding, and gains no more than that", () => {
    fc.assert(
      fc.property(content, (plain) => {
        const newer = seal(sealer, key, plain, emptyBytes);
        newer[0] = 0;
        const cut = open(sealer, newer, emptyBytes);
        const padding = plain.at(-1) ?? 0;
        const isPadded =
          plain.length % 16 === 0 && padding >= 1 && padding <= 16 && plain.slice(-padding).every((byte) => byte === padding);
        assert.equal(cut?.length, isPadded ? plain.length - padding : undefined);
        const older = sealOld(plain, emptyBytes);
        older[0] = 1;
        assert.equal(toHex(open(sealer, older, emptyBytes)?.subarray(0, plain.length) ?? emptyBytes), toHex(plain));
      }),
    );
    const evil = (padding: number) => sealOld(new Uint8Array(16), emptyBytes, padding);
    for (const padding of [0, 1, 15, 17, 32, 255]) assert.equal(open(sealer, evil(padding), emptyBytes), undefined, `${padding}`);
  });

  it("random bytes open to nothing, also with many keys", () => {
    const many = { crypto: platformCrypto, keyring: ring(64) };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.integer({ min: 0, max: 3 }), (noise, version) => {
        assert.equal(open(many, Uint8Array.of(version, ...noise), emptyBytes), undefined);
      }),
    );
    assert.equal(open(many, emptyBytes, emptyBytes), undefined);
  });

  it("never is sealed twice with one nonce", () => {
    const nonces = new Set(Array.from({ length: 1000 }, () => toHex(seal(sealer, key, emptyBytes, emptyBytes).subarray(1, 13))));
    assert.equal(nonces.size, 1000);
  });
});

describe("sealed packets", () => {
  const strict = { sealer, verifyIncoming: true };

  it("whatever is inside is read or a problem, never an exception, and nothing is sent on for it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 14 }), fc.boolean(), (noise, type, old) => {
        const inner = Uint8Array.of(type, ...noise);
        const packet = old ? sealOld(inner, emptyBytes) : seal(sealer, key, inner, emptyBytes);
        const { messages, problems } = openPacket(packet, strict);
        assert.ok(messages.length > 0 || problems.length > 0 || type === 7);
      }),
    );
  });

  it("recorded ones of both versions, cut or changed anywhere, are a problem and nothing else", () => {
    const samples = vectors(/^0[23]\d-ml-enc/);
    assert.ok(samples.length === 8, `${samples.length}`);
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.nat(), fc.integer({ min: 1, max: 255 }), (vector, at, change) => {
        const options = { sealer: { crypto: platformCrypto, keyring: new Keyring(keysOf(vector)) }, verifyIncoming: true };
        const whole = bytesOf(vector.hex);
        assert.ok(openPacket(whole, options).messages.length > 0);
        const place = 1 + (at % (whole.length - 1));
        const changed = whole.slice();
        changed[place] = (changed[place] as number) ^ change;
        for (const packet of [whole.subarray(0, place), changed]) {
          const { messages, problems } = openPacket(packet, options);
          assert.deepEqual([messages, problems], [[], ["No installed keys could decrypt the message"]]);
        }
      }),
    );
  });

  it("unpack within the same bounds as plain ones", () => {
    let packet: Bytes = Uint8Array.of(8, ...new Array<number>(60_000).fill(0));
    const plain = { crypto: platformCrypto, keyring: new Keyring() };
    for (let round = 0; round < 3; round++)
      packet = packPacket(new Array<Bytes>(20).fill(packet), {
        checksum: false,
        compress: true,
        sealer: round === 2 ? sealer : plain,
      });
    assert.ok(openPacket(packet, strict).problems.includes("compressed content is broken or too large"));
  });

  it("that do not open are read as plain text only where that is allowed, and then as any other", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => {
        const lenient = openPacket(noise, { sealer, verifyIncoming: false });
        const plain = openPacket(noise, { sealer: { crypto: platformCrypto, keyring: new Keyring() }, verifyIncoming: true });
        assert.deepEqual(lenient, plain);
      }),
    );
  });
});

describe("sealed streams", () => {
  const strict = { sealer, compress: true, verifyIncoming: true };
  const refusal = (frame: Bytes, options: Parameters<typeof readStream>[1] = strict): Promise<string> =>
    readStream(sourceOf(frame), options).then(() => "read", messageOf);
  const frameOf = (inner: Bytes, length = inner.length + encryptionOverhead): Bytes => {
    const head = Uint8Array.of(10, length >>> 24, length >>> 16, length >>> 8, length);
    return concat([head, seal(sealer, key, inner, head)]);
  };

  it("whatever is inside is read or malformed, never anything else", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(0, 2, 6, 8, 9, 10, 13, 200), async (noise, type) => {
        const frame = frameOf(Uint8Array.of(type, ...noise));
        await readStream(sourceOf(frame), strict).catch((error) => assert.ok(error instanceof Malformed, String(error)));
      }),
    );
  });

  it("recorded ones, cut anywhere or changed anywhere but in their first byte, are refused", async () => {
    const samples = vectors(/038-pp-serf-encrypted-req|039-pp-ml-enc0-req|052-tcp-err-encrypted/);
    assert.equal(samples.length, 3);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...samples),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (vector: Vector, at, change) => {
          const options = { ...strict, sealer: { crypto: platformCrypto, keyring: new Keyring(keysOf(vector)) } };
          const whole = bytesOf(vector.hex);
          const place = 1 + (at % (whole.length - 1));
          assert.notEqual(await refusal(whole.subarray(0, place), options), "read");
          const changed = whole.slice();
          // The sixth is the version.
          changed[place === 5 ? 6 : place] = (changed[place === 5 ? 6 : place] as number) ^ change;
          assert.notEqual(await refusal(changed, options), "read");
        },
      ),
      { numRuns: 50 },
    );
  });

  it("a frame says how long it is: beyond the limit it is refused before anything is kept for it", async () => {
    const head = Uint8Array.of(10, 0x01, 0x40, 0, 1);
    assert.equal(await refusal(head), "Remote node state is larger than limit (20971521)");
    assert.equal(await refusal(Uint8Array.of(10, 0, 0, 0, 0)), "No installed keys could decrypt the message");
    assert.equal(await refusal(frameOf(emptyBytes, 20)), "No installed keys could decrypt the message");
  });

  it("what unpacks to more than the limit is refused after it was opened", async () => {
    const bomb = compressed(new Uint8Array(20 * 1024 * 1024 + 1));
    assert.ok(bomb.length < 100_000, `${bomb.length}`);
    assert.equal(await refusal(frameOf(bomb)), "compressed content is broken or too large");
  });

  it("what many unpack to at once counts against one budget, until each is done with", async () => {
    const budget = new ByteBudget(1_000_000);
    const message: StreamMessage = { kind: "user", payload: new Uint8Array(400_000) };
    const frame = encodeStream(message, strict);
    assert.ok(frame.length < 10_000, `${frame.length}`);
    const sources = Array.from({ length: 3 }, () => new MeteredSource(sourceOf(frame), budget));
    const read = (source: MeteredSource): Promise<string> =>
      readStream(source, { ...strict, charge: (length) => source.charge(length) }).then(() => "read", messageOf);
    const [first, second, third] = sources as [MeteredSource, MeteredSource, MeteredSource];
    assert.deepEqual([await read(first), await read(second)], ["read", "read"]);
    assert.equal(await read(third), "too many unfinished messages are held at once");
    for (const source of sources) source.settle();
    assert.equal(await read(new MeteredSource(sourceOf(frame), budget)), "read");
  });
});
