/** Snapshots between agents: what is asked passes a server that only hands on, as Consul's followers do. */
import { fetchSnapshot, pushSnapshot, serveSnapshot } from "../../../core/rpc/snapshot-stream.ts";
import type { SnapshotApi } from "../../../core/plugin/agent-api.ts";
import type { ByteStream } from "../../../core/ports/streams.ts";
import { concat, text, utf8 } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualWorld } from "../../support/virtual.ts";

const request = { datacenter: "dc1", stale: false, token: "" };
const meta = { index: 7, knownLeader: true, lastContact: 0 };

/** Everything of the one until its end, then everything of the other (Consul 1.8: agent/consul/snapshot_endpoint.go). */
async function handOn(from: ByteStream, to: ByteStream): Promise<void> {
  let skipped = 1; // The byte that says what follows is read by the listener at either place.
  for (let bytes = await from.read(); bytes !== undefined; bytes = await from.read()) {
    to.write(bytes.slice(skipped));
    skipped = 0;
  }
  await to.closeWrite();
  for (let bytes = await to.read(); bytes !== undefined; bytes = await to.read()) from.write(bytes.slice());
  await from.closeWrite();
}

async function through<Result>(snapshots: SnapshotApi, act: (stream: ByteStream) => Promise<Result>): Promise<Result> {
  const world = new VirtualWorld();
  const leader = { host: "10.0.0.1", port: 8300 };
  const follower = { host: "10.0.0.2", port: 8300 };
  await world.streams(leader.host).listen(leader, (stream) => {
    void serveSnapshot(stream, { clock: world.clock, snapshots: () => snapshots, fileBytesMax: 1000 });
  });
  await world.streams(follower.host).listen(follower, (stream) => {
    void world
      .streams(follower.host)
      .connect(leader, { timeout: 1000 })
      .then((onwards) => handOn(stream, onwards));
  });
  return world.settle(world.streams("10.0.0.3").connect(follower, { timeout: 1000 }).then(act));
}

describe("a snapshot that passes a server which only hands on", () => {
  it("is saved", async () => {
    const content = (async function* () {
      yield utf8("the ");
      yield utf8("state");
    })();
    const api: SnapshotApi = { save: async () => ({ meta, content, release() {} }), restore: async () => undefined };
    const saved = await through(api, async (stream) => {
      const { content: pieces, ...told } = await fetchSnapshot(stream, request);
      const parts: Uint8Array[] = [];
      for await (const piece of pieces) parts.push(piece.slice());
      return { index: told.meta.index, file: text(concat(parts)) };
    });
    assert.deepEqual(saved, { index: 7, file: "the state" });
  });

  it("is restored", async () => {
    let restored = "";
    const api: SnapshotApi = {
      save: () => Promise.reject(new AgentError("rejected", { message: "not asked for" })),
      async restore(file) {
        restored = text(file);
      },
    };
    await through(api, (stream) => pushSnapshot(stream, request, utf8("the state")));
    assert.equal(restored, "the state");
  });

  it("is refused in the leader's words", async () => {
    const refuse = () => Promise.reject(new AgentError("rejected", { message: "No cluster leader" }));
    const api: SnapshotApi = { save: refuse, restore: refuse };
    await assert.rejects(
      through(api, (stream) => fetchSnapshot(stream, request)),
      /No cluster leader/,
    );
  });
});
