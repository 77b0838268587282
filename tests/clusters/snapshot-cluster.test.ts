/** Snapshots of a group of three: asked of any server, restored on all of them, and none the worse for one that was away. */
import { after, before } from "node:test";
import { join } from "node:path";
import { answered, Group, type Server, until, write } from "../support/group.ts";
import { assert, describe, it } from "../support/harness.ts";

describe("consul snapshot with three servers", () => {
  let group: Group;
  let file: string;

  before(async () => {
    group = await Group.start();
    file = join(group.root, "backup.snap");
    await until<unknown[]>((group.servers[0] as Server).ports.http, "/v1/catalog/nodes", ({ length }) => length === 3);
  });
  after(() => group.stop());

  /** What a server says of its own state, as soon as it is that. */
  const shows = (server: Server, key: string, value: string): Promise<unknown> =>
    answered(server.ports.http, `/v1/kv/${key}?stale&raw`, ({ status, body }) => status === 200 && body === value);

  it("a follower saves what the leader has acknowledged, and restores it on every server", async () => {
    const { agent, ports } = await group.follower();
    for (let at = 0; at < 10; at++) await write(ports.http, `big/${at}`, String(at).repeat(200_000));
    await agent.insist(["snapshot", "save", file]);
    await write(ports.http, "big/0", "changed");
    await write(ports.http, "late", "x");
    const restored = await agent.insist(["snapshot", "restore", file]);
    assert.deepEqual([restored.stdout, restored.stderr], ["Restored snapshot\n", ""]);
    for (const server of group.servers) {
      await answered(server.ports.http, "/v1/kv/late?stale", ({ status }) => status === 404);
      await shows(server, "big/9", "9".repeat(200_000));
      await shows(server, "big/0", "0".repeat(200_000));
    }
  });

  it("a server that was away meanwhile comes back to the restored state, and the group goes on", async () => {
    const away = await group.follower();
    await group.kill(away);
    const asked = await group.leader();
    await asked.agent.insist(["snapshot", "restore", file]);
    await write(asked.ports.http, "after", "1");
    await group.restart(away);
    await shows(away, "after", "1");
    await shows(away, "big/0", "0".repeat(200_000));
  });

  it("without a leader a stale snapshot can be saved, and no other", async () => {
    const [first, second, third] = group.servers as [Server, Server, Server];
    for (const server of [second, third]) await group.kill(server);
    const stale = await first.agent.consul(["snapshot", "save", "-stale", join(group.root, "stale.snap")]);
    assert.equal(stale.code, 0, stale.stderr);
    const refused = await first.agent.consul(["snapshot", "save", join(group.root, "none.snap")]);
    assert.match(refused.stderr, /^Error saving snapshot: Unexpected response code: 500 \(/);
  });
});
