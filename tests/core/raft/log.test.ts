import { fc } from "../../support/property.ts";
import type { LogEntry } from "../../../core/ports/storage.ts";
import { RaftLog } from "../../../core/raft/log.ts";
import { assert, describe, it } from "../../support/harness.ts";

/** A log that keeps everything as it came, to compare with. */
class PlainLog {
  entries: LogEntry[] = [];
  purged = 0;

  termAt(index: number): number | undefined {
    return index > this.purged ? this.entries.find((entry) => entry.index === index)?.term : undefined;
  }
  between(after: number, through: number): LogEntry[] {
    return this.entries.filter(({ index }) => index > after && index <= through);
  }
}

type Act =
  | { readonly kind: "append"; readonly count: number; readonly size: number; readonly newTerm: boolean; readonly type: number }
  | { readonly kind: "apply"; readonly share: number }
  | { readonly kind: "purge"; readonly share: number }
  | { readonly kind: "truncate"; readonly share: number };

const anyShare = fc.nat(100);
const anyAct: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      count: fc.oneof(fc.nat(5), fc.nat(2000)),
      size: fc.constantFrom(0, 1, 30, 200, 70_000),
      newTerm: fc.boolean(),
      type: fc.nat(2),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("apply" as const), share: anyShare }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("purge" as const), share: anyShare }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("truncate" as const), share: anyShare }) },
);

/** A point that lies `share` percent of the way from one index to another. */
const part = (from: number, to: number, share: number): number => from + Math.floor(((to - from) * share) / 100);

function run(acts: readonly Act[]): { readonly log: RaftLog; readonly plain: PlainLog } {
  const { log } = RaftLog.restore([], undefined);
  const plain = new PlainLog();
  let term = 1;
  for (const act of acts) {
    switch (act.kind) {
      case "append": {
        if (act.newTerm) term++;
        const count = act.size > 1000 ? act.count % 20 : act.count;
        for (let at = 0; at < count; at++) {
          const index = log.last + 1;
          const entry = { index, term, type: act.type, data: new Uint8Array(act.size).fill(index) };
          log.append(entry);
          plain.entries.push(entry);
        }
        break;
      }
      case "apply":
        log.durableTo(log.last);
        log.commitTo(part(log.committed, log.last, act.share));
        log.appliedTo(log.committed);
        break;
      case "purge": {
        log.snapshotTo(log.applied);
        const index = part(log.purged, log.snapshot, act.share);
        log.purge(index);
        plain.purged = Math.max(plain.purged, index);
        plain.entries = plain.entries.filter((entry) => entry.index > index);
        break;
      }
      case "truncate": {
        if (log.last === log.committed) break;
        const from = part(log.committed + 1, log.last, act.share);
        log.truncate(from);
        plain.entries = plain.entries.filter((entry) => entry.index < from);
        break;
      }
    }
    log.validate();
  }
  return { log, plain };
}

describe("the retained log", () => {
  it("gives every entry as it was appended, packed or not", () => {
    fc.assert(
      fc.property(fc.array(anyAct, { maxLength: 12 }), fc.nat(100), fc.nat(100), (acts, from, to) => {
        const { log, plain } = run(acts);
        assert.equal(log.last - log.purged, plain.entries.length);
        const after = part(log.purged, log.last, from);
        const through = part(after, log.last, to);
        const expected = plain.between(after, through);
        const found = log.slice(after, through, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
        assert.equal(found.length, expected.length);
        let bytes = 0;
        for (const [at, entry] of found.entries()) {
          const { index, term, type, data } = expected[at] as LogEntry;
          assert.deepEqual([entry.index, entry.term, entry.type, entry.data.length], [index, term, type, data.length]);
          assert.ok(entry.data.every((byte) => byte === (index & 255)));
          assert.equal(log.termAt(index), term);
          assert.equal(log.entryAt(index)?.data.length, data.length);
          bytes += data.length;
        }
        assert.equal(log.bytesBetween(after, through, Number.POSITIVE_INFINITY), bytes);
      }),
      { numRuns: 60 },
    );
  });

  it("stops counting bytes beyond the bound, and slices up to it", () => {
    const { log } = run([
      { kind: "append", count: 3000, size: 100, newTerm: false, type: 0 },
      { kind: "apply", share: 100 },
    ]);
    assert.ok(log.bytesBetween(0, 3000, 1000) >= 1000);
    assert.ok(log.bytesBetween(0, 3000, 1000) < 100_000);
    assert.equal(log.slice(10, 3000, 1000, 950).length, 9);
    assert.equal(log.slice(10, 3000, 7, 950).length, 7);
    assert.equal(log.slice(10, 3000, 1000, 1).length, 1, "one always fits");
  });

  it("finds where two logs may agree, term by term, also among packed entries", () => {
    fc.assert(
      fc.property(fc.array(anyAct, { maxLength: 12 }), fc.nat(100), fc.nat(8), (acts, share, term) => {
        const { log, plain } = run(acts);
        const index = part(log.purged, log.last, share);
        const hint = log.agreementHint(index, term);
        const expected = plain.entries.filter((entry) => entry.index <= index && entry.term <= term).at(-1);
        if (expected === undefined) assert.equal(hint.index, log.purged);
        else assert.deepEqual(hint, { index: expected.index, term: expected.term });
      }),
      { numRuns: 60 },
    );
  });
});
