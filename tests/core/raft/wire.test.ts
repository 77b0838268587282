import { fc } from "../../support/property.ts";
import type { RaftMessage } from "../../../core/raft/messages.ts";
import { decodeMessage, encodeMessage } from "../../../core/raft/wire.ts";
import { encode } from "../../../core/codec/cbor.ts";
import { assert, describe, it } from "../../support/harness.ts";

const index = fc.maxSafeInteger().map(Math.abs);
const bytes = fc.uint8Array({ maxLength: 50 });
const envelope = { from: fc.uuid(), to: fc.uuid(), term: index };
const entry = fc.record({ index, term: index, type: fc.nat(255), data: bytes }, { noNullPrototype: true });
const point = fc.record({ index, term: index, configuration: bytes, configurationIndex: index }, { noNullPrototype: true });
const status = fc.constantFrom("more", "installing", "installed", "refused");
const of = (kind: RaftMessage["kind"], fields: Record<string, fc.Arbitrary<unknown>>) =>
  fc.record({ kind: fc.constant(kind), ...envelope, ...fields }, { noNullPrototype: true });

const anyMessage = fc.oneof(
  of("preVote", { lastIndex: index, lastTerm: index }),
  of("preVoteReply", { granted: fc.boolean() }),
  of("vote", { lastIndex: index, lastTerm: index, transfer: fc.boolean() }),
  of("voteReply", { granted: fc.boolean() }),
  of("append", { previousIndex: index, previousTerm: index, commit: index, entries: fc.array(entry, { maxLength: 5 }) }),
  of("appendReply", { accepted: fc.boolean(), index, hintIndex: index, hintTerm: index }),
  of("heartbeat", { commit: index, round: index }),
  of("heartbeatReply", { round: index }),
  of("timeoutNow", {}),
  of("snapshotChunk", { point, attempt: index, offset: index, data: bytes, last: fc.boolean() }),
  of("snapshotChunkReply", { attempt: index, offset: index, status }),
) as unknown as fc.Arbitrary<RaftMessage>;

describe("raft wire", () => {
  it("every message comes back as it went out", () => {
    fc.assert(
      fc.property(anyMessage, (message) => assert.deepEqual(decodeMessage(encodeMessage(message)), message)),
      { numRuns: 500 },
    );
  });

  it("cut, damaged or random bytes are no message, or another one, and never thrown at", () => {
    fc.assert(
      fc.property(anyMessage, fc.nat(), fc.nat(255), (message, place, change) => {
        const encoded = encodeMessage(message).slice();
        assert.equal(decodeMessage(encoded.subarray(0, place % encoded.length)), undefined);
        encoded[place % encoded.length] = change;
        decodeMessage(encoded);
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (random) => {
        decodeMessage(random);
      }),
      { numRuns: 2000 },
    );
  });

  it("fields of another type, out of range or missing make it no message", () => {
    const good: unknown[] = [6, "a", "b", 3, 1, 1];
    assert.equal(decodeMessage(encode(good))?.kind, "heartbeat");
    assert.equal(decodeMessage(encode([...good, "from a later version"]))?.kind, "heartbeat");
    for (const [at, value] of [
      [0, 11],
      [0, -1],
      [0, "6"],
      [1, ""],
      [1, 7],
      [1, "x".repeat(129)],
      [3, -1],
      [3, 1.5],
      [3, 2 ** 53],
      [4, null],
      [5, 1n],
    ] as const) {
      const bad = good.slice();
      bad[at] = value;
      assert.equal(decodeMessage(encode(bad)), undefined, `${at}: ${String(value)}`);
    }
    for (let length = 0; length < good.length; length++) assert.equal(decodeMessage(encode(good.slice(0, length))), undefined);
    assert.equal(decodeMessage(encode([4, "a", "b", 1, 0, 0, 0, [1, 1, 0]])), undefined);
  });
});
