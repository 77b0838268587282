import { ByteBudget, MeteredSource } from "../../../core/codec/byte-budget.ts";
import { Malformed } from "../../../core/codec/msgpack.ts";
import { assert, describe, it } from "../../support/harness.ts";

const endless = { read: () => Promise.resolve(new Uint8Array(10)) };

describe("a byte budget", () => {
  it("is shared by all sources: what one holds the other cannot have, until it is settled", async () => {
    const budget = new ByteBudget(25);
    const [first, second] = [new MeteredSource(endless, budget), new MeteredSource(endless, budget)];
    await first.read();
    await second.read();
    await assert.rejects(first.read(), Malformed);
    second.settle();
    await first.read();
    first.settle();
    first.settle();
    assert.equal(budget.take(25), true);
    assert.equal(budget.take(1), false);
  });

  it("the end of a source costs nothing", async () => {
    const source = new MeteredSource({ read: () => Promise.resolve(undefined) }, new ByteBudget(0));
    assert.equal(await source.read(), undefined);
  });
});
