import { fc } from "../../support/property.ts";
import { Heap } from "../../../core/structures/heap.ts";
import { assert, describe, it } from "../../support/harness.ts";

interface Item {
  readonly due: number;
  heapAt: number;
}

describe("heap", () => {
  it("gives items in order, also when some are removed from its middle", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(50), fc.boolean()), { maxLength: 80 }), (given) => {
        const heap = new Heap<Item>((left, right) => left.due < right.due);
        const items = given.map(([due]): Item => ({ due, heapAt: -1 }));
        for (const item of items) heap.push(item);
        const kept = items.filter((_item, at) => given[at]?.[1]);
        for (const item of items) if (!kept.includes(item)) heap.remove(item);
        assert.equal(heap.size, kept.length);
        const popped: number[] = [];
        for (let item = heap.pop(); item !== undefined; item = heap.pop()) {
          assert.equal(item.heapAt, -1);
          popped.push(item.due);
        }
        assert.deepEqual(
          popped,
          kept.map((item) => item.due).sort((left, right) => left - right),
        );
      }),
    );
  });

  it("ignores the removal of an item that it does not hold", () => {
    const heap = new Heap<Item>((left, right) => left.due < right.due);
    const item = { due: 1, heapAt: -1 };
    heap.remove(item);
    heap.push(item);
    heap.pop();
    heap.remove(item);
    assert.equal(heap.size, 0);
  });

  it("forgets everything when cleared", () => {
    const heap = new Heap<Item>((left, right) => left.due < right.due);
    const item = { due: 1, heapAt: -1 };
    heap.push(item);
    heap.clear();
    assert.equal(heap.peek(), undefined);
    heap.push(item);
    assert.equal(heap.pop(), item);
  });
});
