import { fc } from "../../support/property.ts";
import { compareAsUtf8, OrderedMap } from "../../../core/structures/ordered-map.ts";
import { compareBytes, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

/** Keys that share prefixes, and now and then characters on both sides of the surrogates. */
const anyKey = fc.string({ unit: fc.constantFrom("a", "b", "/", "é", "\uff5e", "😀"), maxLength: 5 });

describe("ordered map", () => {
  it("orders keys as their UTF-8 bytes", () => {
    fc.assert(
      fc.property(anyKey, anyKey, (left, right) => {
        assert.equal(Math.sign(compareAsUtf8(left, right)), Math.sign(compareBytes(utf8(left), utf8(right))));
      }),
    );
  });

  it("agrees with a sorted plain map, whatever is set and deleted", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyKey, fc.option(fc.nat(), { nil: undefined })), { maxLength: 60 }),
        anyKey,
        (writes, prefix) => {
          const map = new OrderedMap<number>();
          const model = new Map<string, number>();
          for (const [key, value] of writes) {
            if (value === undefined) assert.equal(map.delete(key), model.delete(key));
            else {
              map.set(key, value);
              model.set(key, value);
            }
          }
          const sorted = [...model].sort(([left], [right]) => compareBytes(utf8(left), utf8(right)));
          assert.deepEqual([...map.entries()], sorted);
          assert.equal(map.size, model.size);
          assert.deepEqual(
            map.valuesOf(prefix),
            sorted.filter(([key]) => key.startsWith(prefix)).map(([, value]) => value),
          );
          assert.equal(
            map.hasPrefix(prefix),
            sorted.some(([key]) => key.startsWith(prefix)),
          );
          assert.equal(map.keyAfter(prefix), sorted.find(([key]) => compareAsUtf8(key, prefix) > 0)?.[0]);
        },
      ),
    );
  });

  it("leaves a clone as it was when the original changes, and the other way round", () => {
    const map = new OrderedMap<number>();
    for (let at = 0; at < 500; at++) map.set(`k${at}`, at);
    const clone = map.clone();
    map.set("k1", -1);
    map.delete("k2");
    clone.set("k3", -3);
    assert.equal(clone.get("k1"), 1);
    assert.equal(clone.get("k2"), 2);
    assert.equal(map.get("k3"), 3);
    assert.equal(clone.size, 500);
  });

  it("ends a scan when the visitor says so", () => {
    const map = new OrderedMap<number>();
    for (const key of ["a", "b", "c"]) map.set(key, 1);
    const seen: string[] = [];
    map.scan("", (key) => {
      seen.push(key);
      return key !== "b";
    });
    assert.deepEqual(seen, ["a", "b"]);
  });
});
