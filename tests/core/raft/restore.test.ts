/** What a log makes of what its store held. */
import { RaftLog } from "../../../core/raft/log.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

const entry = (index: number) => ({ index, term: 1, type: 0, data: utf8(`${index}`) });
const snapshot = { index: 10, term: 1 };

describe("a log that is restored", () => {
  it("goes on behind its snapshot", () => {
    for (const entries of [[], [entry(11)], [entry(9), entry(10), entry(11)]]) {
      const { log, staleFrom } = RaftLog.restore(entries, snapshot, 8);
      assert.equal(staleFrom, undefined);
      assert.equal(log.last, entries.at(-1)?.index ?? 10);
      assert.equal(log.applied, 10);
    }
  });

  it("refuses to begin at an older snapshot than the one its entries were dropped for, also when it has none left", () => {
    for (const entries of [[], [entry(21)]]) {
      assert.throws(() => RaftLog.restore(entries, snapshot, 20), { code: "wal-corrupt", message: /begins at 21 .* ends at 10/ });
      assert.throws(() => RaftLog.restore(entries, undefined, 20), { code: "wal-corrupt", message: /begins at 21 .* ends at 0/ });
    }
  });

  it("with entries missing behind the snapshot is refused", () => {
    assert.throws(() => RaftLog.restore([entry(12)], snapshot), { code: "wal-corrupt" });
  });
});
