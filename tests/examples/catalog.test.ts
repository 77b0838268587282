/** Example: the catalog alone. A state machine without a clock or a socket: commands in, answers and watches out. */
import { Catalog } from "../../core/catalog/catalog.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe, it } from "../support/harness.ts";

describe("example: the catalog by itself", () => {
  it("applies commands, answers queries, wakes who watches, and is restored from a snapshot", () => {
    const catalog = new Catalog();
    const now = 1_700_000_000_000; // time arrives inside commands

    const watched = catalog.evaluate({ kind: "kvGet", key: "config/a" });
    let woken = 0;
    const unwatch = catalog.watches.watch(watched.wakes, () => woken++);

    catalog.apply(1, { kind: "kv", op: { op: "set", key: "config/a", value: utf8("one"), flags: 0 }, now });
    catalog.apply(2, { kind: "kv", op: { op: "set", key: "other", value: utf8("x"), flags: 0 }, now });
    catalog.watches.flush();
    unwatch();
    assert.equal(woken, 1);

    const { index, answer } = catalog.evaluate({ kind: "kvGet", key: "config/a" });
    assert.equal(index, 1);
    assert.equal(text(answer?.value ?? utf8("")), "one");

    const copy = new Catalog();
    const restoring = copy.restore();
    for (const chunk of catalog.snapshot()) restoring.push(chunk);
    restoring.finish();
    assert.equal(copy.hash(), catalog.hash());
  });
});
