/**
 * Gossip as somebody hostile sends it: random bytes, and real packets with bytes changed, cut, doubled and joined. Nothing but
 * `Malformed` is thrown, nothing at all by the machine, and what is kept is in proportion to what came.
 */
import { fc } from "../../support/property.ts";
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { decode, Malformed, type Value } from "../../../core/codec/msgpack.ts";
import { sourceOf } from "../../../core/codec/value-stream.ts";
import { consulVersion, serfDefaults } from "../../../core/serf/config.ts";
import { SerfMachine } from "../../../core/serf/serf.ts";
import { decodeCoordinate, decodeSerf, decodeState, decodeTags } from "../../../core/serf/wire.ts";
import { lanDefaults } from "../../../core/swim/config.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { openPacket } from "../../../core/swim/packets.ts";
import { readStream, type StreamMessage } from "../../../core/swim/streams.ts";
import { decodeMessage } from "../../../core/swim/wire.ts";
import type { Bytes } from "../../../core/types/bytes.ts";
import { concat } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { bytesOf, platformCrypto, vectors } from "../swim/support.ts";

const options = { sealer: { crypto: platformCrypto, keyring: new Keyring() }, verifyIncoming: true, compress: true };
/** FUZZ=100 in the environment spoils a hundred times as much. */
const times = Number(process.env["FUZZ"] ?? 1);
const runs = { numRuns: 300 * times };

const plain = vectors(/^\d{3}-/).filter((vector) => vector.keys_base64 === undefined);
const packets = plain.filter(({ transport }) => transport === "udp").map(({ hex }) => bytesOf(hex));
const streams = plain
  .filter(({ file, transport }) => transport === "tcp" && /^\d+-(pp|tcp|consul)-/.test(file))
  .map(({ hex }) => bytesOf(hex));

/** A real sample after somebody had it: bytes changed, a piece cut out, a piece of another put in. */
function mutilated(samples: readonly Bytes[]): fc.Arbitrary<Bytes> {
  return fc
    .tuple(
      fc.constantFrom(...samples),
      fc.constantFrom(...samples),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
      fc.tuple(fc.nat(), fc.nat(40)),
      fc.tuple(fc.nat(), fc.nat(200), fc.boolean()),
    )
    .map(([sample, other, changes, [cutAt, cutLength], [from, length, insert]]) => {
      const bytes = sample.slice();
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      const at = cutAt % bytes.length;
      const piece = insert ? other.subarray(from % other.length, (from % other.length) + length) : new Uint8Array(0);
      return concat([bytes.subarray(0, at), piece, bytes.subarray(at + cutLength)]);
    });
}

function machine(): SerfMachine {
  return new SerfMachine({
    random: createRandom(seedOf("hostile")),
    swim: {
      ...lanDefaults,
      name: "self",
      address: Uint8Array.of(10, 0, 0, 1),
      port: 7946,
      version: consulVersion,
      membersMax: 64,
    },
    serf: { ...serfDefaults, name: "self", tags: { role: "node" } },
  });
}

/** Values in a decoded value, itself included, and the bytes in them. */
function sizeOf(value: Value): { readonly values: number; readonly bytes: number } {
  if (value instanceof Uint8Array) return { values: 1, bytes: value.length };
  const inner: Value[] = Array.isArray(value)
    ? [...(value as readonly Value[])]
    : value instanceof Map
      ? [...(value as ReadonlyMap<string, Value>).values()]
      : [];
  let values = 1;
  let bytes = 0;
  for (const size of inner.map(sizeOf)) {
    values += size.values;
    bytes += size.bytes;
  }
  return { values, bytes };
}

function onlyMalformed<Result>(act: () => Result): Result | undefined {
  try {
    return act();
  } catch (error) {
    assert.ok(error instanceof Malformed, String(error));
    return undefined;
  }
}

async function received(bytes: Bytes): Promise<StreamMessage | undefined> {
  try {
    return await readStream(sourceOf(bytes), options);
  } catch (error) {
    assert.ok(error instanceof Malformed, String(error));
    return undefined;
  }
}

describe("hostile gossip", () => {
  it("there are real packets and streams to spoil", () => assert.ok(packets.length > 50 && streams.length > 20));

  it("every decoder answers random bytes with a value or with Malformed", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(15), (noise, type) => {
        const bytes = Uint8Array.of(type, ...noise);
        for (const read of [decodeMessage, decodeSerf, decodeState]) onlyMalformed(() => read(bytes));
        decodeTags(Uint8Array.of(255, ...noise));
        decodeCoordinate(Uint8Array.of(1, ...noise));
      }),
      runs,
    );
  });

  it("a decoded value holds no more values and bytes than came in", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), mutilated(packets)), (bytes) => {
        const value = onlyMalformed(() => decode(bytes));
        if (value === undefined) return;
        const size = sizeOf(value);
        assert.ok(size.values <= bytes.length && size.bytes <= bytes.length, JSON.stringify(size));
      }),
      runs,
    );
  });

  it("lengths that promise what does not come are refused at once, in each form that has one", () => {
    const huge = [0xff, 0xff, 0xff, 0xff];
    for (const head of [0xc6, 0xdb, 0xdd, 0xdf]) assert.throws(() => decode(Uint8Array.of(head, ...huge)), Malformed);
    for (const head of [0xc5, 0xda, 0xdc, 0xde]) assert.throws(() => decode(Uint8Array.of(head, 0xff, 0xff)), Malformed);
    // Arrays in arrays, each with one element, deeper than any message is.
    assert.throws(() => decode(new Uint8Array(100_000).fill(0x91)), Malformed);
  });

  it("a packet unpacks to a bounded number of messages, however its layers multiply", () => {
    fc.assert(
      fc.property(mutilated(packets), (packet) => {
        const { messages, problems } = openPacket(packet, options);
        assert.ok(messages.length <= 1024 && problems.length <= 1025, `${messages.length} ${problems.length}`);
      }),
      runs,
    );
  });

  it("a machine that is fed spoiled packets throws nothing, keeps its own name, and knows no more than it has room for", () => {
    const victim = machine();
    victim.step(0, { kind: "start" });
    let now = 0;
    fc.assert(
      fc.property(mutilated(packets), fc.nat(3000), (packet, pause) => {
        now += pause;
        if (now >= victim.wakeAt) victim.step(now, { kind: "wake" });
        for (const message of openPacket(packet, options).messages)
          victim.step(now, { kind: "datagram", from: { host: "10.0.0.66", port: 7946 }, message });
        const sent = victim.takePackets(1400);
        for (const { parts } of sent) assert.ok(parts.length > 0 && parts.length <= 255);
        victim.takeStreamRequests();
        victim.takeEvents();
        assert.ok(victim.swim.members.length <= 64);
        assert.equal(victim.swim.member("self")?.condition, "alive");
        assert.equal(victim.members.get("self")?.status, "alive");
      }),
      { numRuns: 1500 * times },
    );
    const { intent, event, query } = victim.queueLengths;
    assert.ok(intent <= 4096 && event <= 4096 && query <= 4096);
  });

  it("a machine that is fed spoiled states throws nothing", async () => {
    const victim = machine();
    victim.step(0, { kind: "start" });
    await fc.assert(
      fc.asyncProperty(mutilated(streams), async (bytes) => {
        const message = await received(bytes);
        if (message?.kind !== "pushPull") return;
        onlyMalformed(() => decodeState(message.userState));
        if (victim.mergeRefusal(message) === undefined) victim.step(0, { kind: "remoteState", state: message });
        victim.takeEvents();
        assert.ok(victim.swim.members.length <= 64);
        assert.equal(victim.swim.member("self")?.condition, "alive");
      }),
      runs,
    );
  });
});
