/** What happens to the disks of a group under load: copied, restored elsewhere, left behind, full. */
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before } from "node:test";
import { FullDisk } from "../support/full-disk.ts";
import { Group, type Server } from "../support/group.ts";
import { assert, describe, it } from "../support/harness.ts";
import { Load, seededRandom } from "../support/load.ts";
import { request } from "../support/program.ts";

const between = 150;
const random = seededRandom("disks");

describe("a server's data directory", () => {
  let group: Group;

  before(async () => {
    group = await Group.start();
  });
  after(() => group.stop());

  it("that was copied while it was stopped can be restored elsewhere later, and the server rejoins", async () => {
    const load = new Load(group, "copy", random);
    await load.acknowledged(between);
    const follower = await group.follower();
    await group.terminate(follower);
    const copy = join(group.root, "copy");
    await cp(follower.folder, copy, { recursive: true });
    await load.acknowledged(between);
    await group.restart(follower);
    await load.acknowledged(between);
    await group.kill(follower);
    await load.acknowledged(between);
    await rm(follower.folder, { recursive: true });
    follower.folder = join(group.root, "elsewhere");
    await cp(copy, follower.folder, { recursive: true });
    await group.restart(follower);
    await load.finish();
  });
});

describe("a server's log", () => {
  let group: Group;

  before(async () => {
    group = await Group.start({ hcl: 'raft_snapshot_threshold = 200 raft_trailing_logs = 50 raft_snapshot_interval = "1s"' });
  });
  after(() => group.stop());

  it("that is far behind what the others keep of the log is brought up to date by a snapshot", async () => {
    const load = new Load(group, "behind", random);
    await load.acknowledged(between);
    const follower = await group.follower();
    await group.kill(follower);
    // The second snapshot from now covers nothing but what the follower has missed; either of the others may lead then.
    for (let snapshot = 0; snapshot < 2; snapshot++) {
      const said = group.running.map(({ agent }) => agent.output.length);
      await load.acknowledged(between);
      await Promise.all(group.running.map((server, at) => group.said(/snapshot complete up to/, [server], said[at])));
    }
    await group.restart(follower);
    await group.said(/Installed remote snapshot/, [follower]);
    await load.finish();
  });
});

describe("a server whose disk is full", () => {
  let group: Group;
  const disks: FullDisk[] = [];

  before(async () => {
    for (let server = 0; server < 3; server++) disks.push(await FullDisk.make());
    group = await Group.start({
      folders: disks.map(({ folder }) => join(folder, "data")),
      commands: disks.map(({ command }) => command),
    });
  });
  after(async () => {
    await group.stop();
    for (const disk of disks) disk.remove();
  });

  for (const role of ["follower", "leader"] as const)
    it(`stops and says why, and the group goes on; with room again it comes back: the ${role}`, async () => {
      const load = new Load(group, role, random);
      await load.acknowledged(between);
      const full = role === "leader" ? await group.leader() : await group.follower();
      const disk = disks[group.servers.indexOf(full)] as FullDisk;
      await disk.fill(full.agent.pid);
      let ended = false;
      const end = full.agent.ended().then((how) => {
        ended = true;
        full.state = "ended";
        return how;
      });
      // What the log has in store is used up sooner with large values.
      const [other] = group.others(full) as [Server];
      for (let at = 0; !ended; at++) await request(other.ports.http, "PUT", `/v1/kv/${role}/large/${at}`, "x".repeat(50_000));
      assert.deepEqual(await end, { code: 1, signal: null });
      assert.match(full.agent.output, /the log cannot be written any more; shutting down: error="Cannot write the log in /);
      assert.match(full.agent.output, disk.failure);
      await load.acknowledged(between);
      disk.clear();
      await group.restart(full);
      await load.finish();
    });
});
