/** `consul snapshot` against a server that keeps its data: saved, changed, restored, restarted. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { RunningAgent, root, temporaryFolder } from "../support/program.ts";

describe("consul snapshot", () => {
  const folder = temporaryFolder();
  const file = join(folder, "backup.snap");
  const args = ["-server", "-bootstrap", "-bind=127.0.0.1", "-node=s1", `-data-dir=${join(folder, "data")}`];
  let agent: RunningAgent;
  before(async () => {
    agent = await RunningAgent.start({ args });
  });
  after(() => agent?.stop());

  const value = async (key: string): Promise<string> => (await agent.request("GET", `/v1/kv/${key}?raw`)).body;
  const put = async (key: string, content: string): Promise<void> =>
    assert.equal((await agent.request("PUT", `/v1/kv/${key}`, content)).body.trim(), "true");
  const restart = async (): Promise<void> => {
    agent.signal("SIGKILL");
    await agent.ended();
    agent = await RunningAgent.start({ args, ports: agent.ports });
  };

  it("save writes a verified file for its owner alone, and leaves nothing else", async () => {
    for (let at = 0; at < 40; at++) await put(`big/${at}`, String(at).repeat(20_000));
    await put("a", "1");
    const { stdout, stderr, code } = await agent.consul(["snapshot", "save", file]);
    assert.match(stdout, /^Saved and verified snapshot to index \d+\n$/, stderr);
    assert.equal(code, 0);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(existsSync(`${file}.unverified`), false);
  });

  it("inspect says what it is of, and so it does of one of the original Consul", async () => {
    const own = await agent.consul(["snapshot", "inspect", file]);
    assert.match(own.stdout, /^ID {11}\d+-\d+-\d{13}\nSize {9}\d{6,}\nIndex {8}\d+\nTerm {9}\d+\nVersion {6}1\n\n$/, own.stderr);
    const consuls = await agent.consul(["snapshot", "inspect", join(root, "tests/vectors/consul-snapshot.snap")]);
    assert.equal(
      consuls.stdout,
      "ID           2-13-1795185812683\nSize         5020\nIndex        13\nTerm         2\nVersion      1\n\n",
    );
  });

  it("restore brings everything back, wakes who waits, and the agent's own registration returns", async () => {
    await put("a", "changed");
    await put("late", "x");
    const { headers } = await agent.request("GET", "/v1/kv/a");
    const waiting = agent.request("GET", `/v1/kv/a?raw&wait=50s&index=${headers["x-consul-index"]}`);
    const { stdout, stderr, code } = await agent.consul(["snapshot", "restore", file]);
    assert.deepEqual([stdout, stderr, code], ["Restored snapshot\n", "", 0]);
    assert.equal((await waiting).body, "1");
    assert.equal(await value("a"), "1");
    assert.equal(await value("big/39"), "39".repeat(20_000));
    assert.equal((await agent.request("GET", "/v1/kv/late")).status, 404);
    assert.ok(((await agent.json("/v1/catalog/nodes")) as { Node: string }[]).some(({ Node }) => Node === "s1"));
  });

  it("what was restored is there after kill -9, and later writes have later indexes", async () => {
    await put("after", "1");
    const written = (await agent.json("/v1/kv/after")) as [{ ModifyIndex: number }];
    await restart();
    assert.equal(await value("a"), "1");
    assert.equal((await agent.request("GET", "/v1/kv/late")).status, 404);
    await put("after", "2");
    const later = (await agent.json("/v1/kv/after")) as [{ ModifyIndex: number }];
    assert.ok(later[0].ModifyIndex > written[0].ModifyIndex);
  });

  it("a file that is none changes nothing", async () => {
    const broken = join(folder, "broken.snap");
    const whole = readFileSync(file);
    writeFileSync(broken, whole.subarray(0, whole.length >> 1));
    const { stderr, code } = await agent.consul(["snapshot", "restore", broken]);
    assert.match(
      stderr,
      /^Error restoring snapshot: Unexpected response code: 500 \(failed to read snapshot file: .*unexpected EOF\)/,
    );
    assert.equal(code, 1);
    assert.equal(await value("after"), "2");
  });

  it("into a fresh server lifts its index above all in the file", async () => {
    const fresh = await RunningAgent.start({ args: ["-dev", "-node=s2"] });
    try {
      assert.equal((await fresh.consul(["snapshot", "restore", file])).code, 0);
      const inspected = (await fresh.consul(["snapshot", "inspect", file])).stdout;
      const index = Number(/^Index +(\d+)$/m.exec(inspected)?.[1]);
      await fresh.request("PUT", "/v1/kv/new", "1");
      const [{ ModifyIndex }] = (await fresh.json("/v1/kv/new")) as [{ ModifyIndex: number }];
      assert.ok(ModifyIndex > index, `${ModifyIndex} is not above ${index}`);
    } finally {
      await fresh.stop();
    }
  });
});
