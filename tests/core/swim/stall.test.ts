/** A process that stood still does not accuse others of its own silence; scripts are in tests/cases/swim/stall*.txt. */
import { EvidenceLog } from "../../../core/swim/evidence.ts";
import { stallOf } from "../../../core/swim/stall.ts";
import { lanDefaults } from "../../../core/swim/config.ts";
import { assert, describe, it } from "../../support/harness.ts";

const config = lanDefaults;

describe("the stall sensor", () => {
  it("says nothing of a timer that fires in time, early, or a little late", () => {
    for (const now of [0, 1000, 1250]) assert.equal(stallOf({ dueAt: 1000, now, config }), undefined);
    assert.equal(stallOf({ dueAt: Number.POSITIVE_INFINITY, now: 5, config }), undefined);
  });

  it("gives the lost time back with a grace, and counts each probe that could not be made", () => {
    assert.deepEqual(stallOf({ dueAt: 1000, now: 1251, config }), { late: 251, awareness: 1, postpone: 751 });
    assert.deepEqual(stallOf({ dueAt: 1000, now: 9000, config }), { late: 8000, awareness: 9, postpone: 8500 });
  });

  it("is off with an infinite tolerance", () => {
    const off = { ...config, stallTolerance: Number.POSITIVE_INFINITY };
    assert.equal(stallOf({ dueAt: 0, now: 1e9, config: off }), undefined);
  });
});

describe("the evidence log", () => {
  const about = (node: string, from: string) => ({ node, incarnation: 1, from });

  it("keeps the last accusations and forgets the oldest", () => {
    const log = new EvidenceLog();
    for (let number = 0; number < 2000; number++) log.accused(number, about(`n${number}`, "accuser"), { kind: "gossip" });
    assert.ok(log.accusations().length <= 512, `${log.accusations().length}`);
    assert.equal(log.accusations().at(-1)?.node, "n1999");
    assert.deepEqual(log.accusations("n3"), []);
    // What is told of one that was forgotten changes nothing.
    log.confirmed(2000, "n3", "late");
    log.refuted(2000, "n3");
  });

  it("keeps no more confirmations and stalls than it has room for", () => {
    const log = new EvidenceLog();
    log.accused(0, about("n", "accuser"), { kind: "gossip" });
    for (let number = 0; number < 100; number++) {
      log.confirmed(number, "n", `m${number}`);
      log.stalled(number, 1000);
    }
    assert.equal(log.accusations("n")[0]?.confirmations.length, 16);
    assert.ok(log.stalls.length <= 64);
  });
});
