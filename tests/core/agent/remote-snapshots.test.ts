/** A server that hangs while it should make or take a snapshot: who asked may go. */
import { RemoteSnapshots } from "../../../core/agent/remote-snapshots.ts";
import type { ByteStream } from "../../../core/ports/streams.ts";
import { CancelSource } from "../../../core/rpc/cancel-source.ts";
import { assert, describe, it } from "../../support/harness.ts";

/** A connection on which nothing ever comes. */
function silentStream(): { readonly stream: ByteStream; readonly aborted: () => boolean } {
  const address = { host: "127.0.0.1", port: 1 };
  let aborted = false;
  let fail: (reason: Error) => void = () => {};
  const stream: ByteStream = {
    local: address,
    remote: address,
    read: () =>
      new Promise((_, reject) => {
        fail = reject;
      }),
    write: () => true,
    drained: () => Promise.resolve(),
    closeWrite: () => Promise.resolve(),
    abort: (reason) => {
      aborted = true;
      fail(reason);
    },
  };
  return { stream, aborted: () => aborted };
}

describe("a snapshot asked of another server, when the client goes", () => {
  for (const [what, act] of [
    ["saving", (snapshots: RemoteSnapshots, cancel: CancelSource) => snapshots.save({ stale: false, cancel })],
    ["restoring", (snapshots: RemoteSnapshots, cancel: CancelSource) => snapshots.restore(new Uint8Array(3), { cancel })],
  ] as const)
    it(`${what} ends, and the connection with it`, async () => {
      const { stream, aborted } = silentStream();
      const snapshots = new RemoteSnapshots({ connect: async () => stream, datacenter: "dc1" });
      const client = new CancelSource();
      const asked = act(snapshots, client);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(aborted(), false);
      client.abort("gone");
      await assert.rejects(asked, /The client went away/);
      assert.equal(aborted(), true);
    });
});
