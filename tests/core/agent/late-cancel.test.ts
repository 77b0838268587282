/** What waits for a leader, or for a server, ends a moment after its client has gone. */
import { LateCancel, leavingGrace } from "../../../core/agent/late-cancel.ts";
import { CancelSource } from "../../../core/rpc/cancel-source.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualClock } from "../../support/virtual-clock.ts";

function prepare() {
  const clock = new VirtualClock();
  const source = new CancelSource();
  const late = new LateCancel(clock, source);
  let told = 0;
  const listener = (): void => {
    told++;
  };
  return { clock, source, late, listener, told: () => told };
}

describe("a cancel that comes late", () => {
  it("tells its listeners the grace after the other one", async () => {
    const { clock, source, late, listener, told } = prepare();
    late.addEventListener("abort", listener);
    source.abort("gone");
    await clock.advance(leavingGrace - 1);
    assert.deepEqual([told(), late.aborted, late.reason], [0, false, undefined]);
    await clock.advance(1);
    assert.deepEqual([told(), late.aborted, late.reason], [1, true, "gone"]);
  });

  it("leaves no timer when nobody listens any more", () => {
    const { clock, source, late, listener } = prepare();
    late.addEventListener("abort", listener);
    source.abort("gone");
    assert.equal(clock.pending, 1);
    late.removeEventListener("abort", listener);
    assert.equal(clock.pending, 0);
  });

  it("counts the grace once, however many waits come one after the other", async () => {
    const { clock, source, late, listener, told } = prepare();
    source.abort("gone");
    for (let wait = 0; wait < 4; wait++) {
      late.addEventListener("abort", listener);
      await clock.advance(leavingGrace / 4);
      late.removeEventListener("abort", listener);
    }
    assert.deepEqual([told(), late.aborted], [1, true]);
  });

  it("says nothing while the other one goes on", async () => {
    const { clock, late, listener, told } = prepare();
    late.addEventListener("abort", listener);
    await clock.advance(10 * leavingGrace);
    assert.deepEqual([told(), late.aborted, clock.pending], [0, false, 0]);
  });
});
