import { fc } from "../../support/property.ts";
import { PackedRows } from "../../../core/structures/packed-rows.ts";
import { assert, describe, it } from "../../support/harness.ts";

/** Bytes that tell which row they belong to. */
function filled(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = seed + at;
  return bytes;
}

type Act = readonly [kind: "insert" | "replace" | "remove", which: number, length: number];

const anyLength = fc.oneof(fc.nat(40), fc.nat(2000), fc.constantFrom(0, 1, 7, 8, 9, 65_000, 65_511, 65_512, 65_513, 300_000));
const anyAct = fc.tuple(
  fc.constantFrom("insert", "insert", "replace", "replace", "remove"),
  fc.nat(),
  anyLength,
) as fc.Arbitrary<Act>;

describe("packed rows", () => {
  it("agree with a plain map, whatever is inserted, replaced and removed", () => {
    fc.assert(
      fc.property(fc.array(anyAct, { maxLength: 200 }), (acts) => {
        const rows = new PackedRows();
        const model = new Map<number, { first: number; second: number; bytes: Uint8Array }>();
        for (const [at, [kind, which, length]] of acts.entries()) {
          const bytes = filled(length, at);
          const row = { first: at, second: 2 ** 40 + at, bytes };
          const ids = [...model.keys()];
          const id = ids[which % ids.length];
          if (kind === "insert" || id === undefined) {
            const fresh = rows.insert(row.first, row.second, bytes);
            assert.equal(model.has(fresh), false, "an ID in use is not given again");
            model.set(fresh, row);
          } else if (kind === "replace") {
            rows.replace(id, row.first, row.second, bytes);
            model.set(id, row);
          } else {
            rows.remove(id);
            model.delete(id);
          }
        }
        rows.validate();
        assert.equal(rows.size, model.size);
        for (const [id, { first, second, bytes }] of model) {
          assert.equal(rows.firstOf(id), first);
          assert.equal(rows.secondOf(id), second);
          assert.deepEqual([...rows.bytesOf(id)], [...bytes]);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("hold no more than half as much again as they need, and a little, however often rows are replaced", () => {
    const rows = new PackedRows();
    const ids: number[] = [];
    for (let at = 0; at < 20_000; at++) ids.push(rows.insert(at, at, filled(100, at)));
    let random = 1;
    for (let write = 0; write < 200_000; write++) {
      random = (random * 48_271) % 2_147_483_647;
      // Of growing and shrinking sizes, a few rows much more often than the others.
      const which = random % 3 === 0 ? random % 20_000 : random % 200;
      rows.replace(ids[which] as number, write, write, filled(random % 300, which));
      const { allocated, live } = rows.memory;
      if (write % 1000 === 0) assert.ok(allocated <= 1.5 * live + 1024 * 1024, `${allocated} bytes are held for ${live}`);
    }
    rows.validate();
    for (const id of ids) rows.remove(id);
    assert.equal(rows.size, 0);
    assert.ok(rows.memory.allocated <= 1024 * 1024);
  });

  it("leave bytes that were handed out as they were", () => {
    const rows = new PackedRows();
    const kept = rows.insert(0, 0, filled(100, 7));
    const view = rows.bytesOf(kept);
    const others = Array.from({ length: 5000 }, (_, at) => rows.insert(at, at, filled(100, at)));
    rows.remove(kept);
    for (let round = 0; round < 5; round++) for (const id of others) rows.replace(id, round, round, filled(200, id));
    rows.validate();
    assert.deepEqual([...view], [...filled(100, 7)]);
  });

  it("take a row's own bytes for its new ones", () => {
    const rows = new PackedRows();
    const ids = Array.from({ length: 3000 }, (_, at) => rows.insert(at, at, filled(120, at)));
    for (let round = 1; round < 30; round++) for (const id of ids) rows.replace(id, round, round, rows.bytesOf(id));
    rows.validate();
    for (const [at, id] of ids.entries()) assert.deepEqual([...rows.bytesOf(id)], [...filled(120, at)]);
  });

  it("cost little while they are few", () => {
    const rows = new PackedRows();
    rows.insert(1, 2, filled(10, 0));
    assert.ok(rows.memory.allocated <= 4096);
  });
});
