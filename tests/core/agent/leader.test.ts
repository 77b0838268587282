/** A server that begins to lead: what it tries again, and what is over when it leads no more. */
import { Leader } from "../../../core/agent/leader.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../../core/catalog/commands.ts";
import type { Member } from "../../../core/plugin/agent-api.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { silent } from "../../support/raft-driver.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

function world() {
  const clock = new VirtualClock();
  const catalog = new Catalog();
  const written: string[] = [];
  /** How the next writes fail, first to last. */
  const failures: AgentError[] = [];
  const seen = { leading: 0, announced: 0, looks: 0 };
  let index = 10;
  const leader: Leader = new Leader({
    catalog,
    clock,
    logger: silent,
    datacenter: "dc1",
    self: "s1",
    members: (): readonly Member[] => {
      seen.looks++;
      return [];
    },
    write: async (command: Command): Promise<CommandResult> => {
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      written.push(command.kind);
      const result = catalog.apply(++index, command);
      leader.onApplied(index, command, result);
      return result;
    },
    initialise: async () => {
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
    },
    announce: () => {
      seen.announced++;
    },
    now: () => clock.wall(),
  });
  const establish = (): Promise<void> =>
    leader.establish(() => {
      seen.leading++;
    });
  return { clock, leader, written, failures, seen, establish };
}

const late = new AgentError("timeout", { message: "timed out waiting for the entry to be committed" });

describe("a server that begins to lead", () => {
  it("tries again when its barrier was not committed in time, since it leads in Raft all the while", async () => {
    const { clock, leader, failures, seen, establish } = world();
    failures.push(late, late);
    const established = establish();
    await settle();
    await clock.advance(9000);
    assert.equal(leader.leading, false);
    await clock.advance(1000);
    await established;
    assert.equal(leader.leading, true);
    assert.deepEqual(seen, { leading: 1, announced: 1, looks: 1 });
  });

  it("looks after the members although its first words failed, and begins only once", async () => {
    const { clock, leader, failures, seen, establish, written } = world();
    failures.push(undefined as unknown as AgentError, late);
    const established = establish();
    await settle();
    assert.equal(leader.leading, true);
    await clock.advance(5000);
    await established;
    assert.deepEqual(seen, { leading: 1, announced: 1, looks: 1 });
    assert.deepEqual(written, ["barrier", "barrier"]);
    await clock.advance(60_000);
    assert.equal(seen.looks, 2);
  });

  it("and loses it before it was established leaves nothing behind", async () => {
    const { clock, leader, failures, seen, establish } = world();
    failures.push(late);
    const established = establish();
    await settle();
    leader.resign();
    await established;
    assert.equal(clock.pending, 0);
    assert.equal(seen.leading, 0);
  });

  it("again, while it still looks at the members for its last time in office, has one timer for that", async () => {
    const { clock, leader, seen, establish } = world();
    await establish();
    // The look is under way when leadership goes and comes back.
    clock.advance(60_000).catch(() => undefined);
    leader.resign();
    await establish();
    await settle();
    const looks = seen.looks;
    await clock.advance(60_000);
    assert.equal(seen.looks, looks + 1);
  });
});
