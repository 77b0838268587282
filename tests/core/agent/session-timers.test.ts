/** Sessions with a TTL end at twice that; what was promised to live does. */
import { SessionTimers } from "../../../core/agent/session-timers.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { World } from "../../../adapters/sim/world.ts";
import { silent } from "../../support/raft-driver.ts";
import { assert, describe, it } from "../../support/harness.ts";

function timers(destroy: (id: string, at: number) => Promise<void>) {
  const world = new World(1);
  const { clock } = world.host("a").runtime;
  const sessions = new SessionTimers({
    clock,
    logger: silent,
    destroy: (id) => destroy(id, world.now),
    parseTtl: (ttl) => Number(ttl),
  });
  const until = (at: number): Promise<void> => world.run(new Promise((resolve) => world.at(at - world.now, resolve)));
  return { sessions, until };
}

describe("a session with a TTL", () => {
  it("ends at twice its TTL after it was last renewed", async () => {
    const ended: string[] = [];
    const { sessions, until } = timers(async (id, at) => void ended.push(`${id} ${at}`));
    sessions.add({ id: "a", ttl: "100" });
    sessions.add({ id: "b", ttl: "" });
    await until(150);
    assert.equal(sessions.renew("a"), true);
    await until(1000);
    assert.deepEqual(ended, ["a 350"]);
  });

  it("cannot be renewed any more once its end was proposed", async () => {
    const { sessions, until } = timers(() => new Promise(() => {}));
    sessions.add({ id: "a", ttl: "100" });
    await until(201);
    assert.equal(sessions.renew("a"), false);
  });

  it("whose end failed six times lives on until it is renewed, and then ends again", async () => {
    let attempts = 0;
    const { sessions, until } = timers(() => {
      attempts++;
      return Promise.reject(new AgentError("no-leader", { message: "No cluster leader" }));
    });
    sessions.add({ id: "a", ttl: "100" });
    await until(2_000_000);
    assert.equal(attempts, 6);
    assert.equal(sessions.renew("a"), true);
    await until(2_000_300);
    assert.equal(attempts, 7);
  });
});
