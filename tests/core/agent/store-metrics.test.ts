import { fc } from "../../support/property.ts";
import { peekKind, StoreMetrics } from "../../../core/agent/store-metrics.ts";
import { encode } from "../../../core/codec/cbor.ts";
import { createMetrics } from "../../../adapters/shared/metrics.ts";
import { assert, describe, it } from "../../support/harness.ts";

describe("the kind of a forwarded command", () => {
  for (const kind of ["kv", "txn", "register", "deregister", "sessionCreate", "sessionDestroy"] as const) {
    it(`is seen without decoding it: ${kind}`, () => {
      assert.equal(peekKind(encode({ kind, now: 1, name: "x".repeat(300) })), kind);
    });
  }

  it("is not seen in a command of no interest, or with its kind elsewhere", () => {
    assert.equal(peekKind(encode({ kind: "coordinates", updates: [] })), undefined);
    assert.equal(peekKind(encode({ now: 1, kind: "kv" })), undefined);
  });

  it("is asked of any bytes without harm", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => void peekKind(bytes)));
  });
});

describe("reads of services", () => {
  const counted = () => {
    const metrics = createMetrics({ wall: () => 0, monotonic: () => 0 });
    const shown = (): readonly string[] =>
      metrics.snapshot().counters.map(({ name, labels, sum }) => `${name} ${Object.values(labels).join(",")} ${sum}`);
    return { store: new StoreMetrics(metrics), shown };
  };

  it("are counted by name and tag, and apart where nobody was found", () => {
    const { store, shown } = counted();
    store.onQuery({ kind: "serviceInstances", service: "web" }, true);
    store.onQuery({ kind: "checkedInstances", service: "web", passingOnly: false, tags: ["v1"] }, false);
    assert.deepEqual(
      [...shown()].sort(),
      [
        "consul.rpc.query  2",
        "consul.catalog.service.query web 1",
        "consul.health.service.query web 1",
        "consul.health.service.not-found web 1",
        "consul.health.service.query-tags web,v1 1",
      ].sort(),
    );
  });

  it("of names without end do not take memory without end", () => {
    const { store, shown } = counted();
    for (let number = 0; number < 20_000; number++)
      store.onQuery({ kind: "serviceInstances", service: `s${number}`, tags: [`t${number}`] }, false);
    store.onQuery({ kind: "serviceInstances", service: "x".repeat(10_000) }, false);
    assert.ok(shown().length <= 10_000);
    assert.equal(shown()[0], "consul.rpc.query  20001");
  });
});
