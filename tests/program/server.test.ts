/** A lone server with a data directory: what it acknowledged, it has again, whatever ended it. And how signals end it. */
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { RunningAgent, temporaryFolder } from "../support/program.ts";
import { join } from "node:path";
import { symlinkSync } from "node:fs";
import { consulPath } from "../support/program.ts";

const serverArgs = (folder: string): string[] => ["-server", "-bootstrap", "-bind=127.0.0.1", "-node=s1", `-data-dir=${folder}`];

describe("consul agent -server -bootstrap -data-dir", () => {
  const folder = join(temporaryFolder(), "data");
  let agent: RunningAgent;
  before(async () => {
    agent = await RunningAgent.start({ args: serverArgs(folder) });
  });
  after(() => agent?.stop());

  const restart = async (): Promise<void> => {
    agent = await RunningAgent.start({ args: serverArgs(folder), ports: agent.ports });
  };

  it("a write that was acknowledged survives kill -9", async () => {
    for (let at = 0; at < 50; at++)
      assert.equal((await agent.request("PUT", `/v1/kv/kept/${at}`, `value ${at}`)).body.trim(), "true");
    agent.signal("SIGKILL");
    await agent.ended();
    await restart();
    assert.equal((await agent.request("GET", "/v1/kv/kept/49?raw")).body, "value 49");
    assert.equal(((await agent.json("/v1/kv/kept/?keys")) as string[]).length, 50);
  });

  it("the node keeps its ID, and what was registered through the API is there again", async () => {
    const id = async (): Promise<unknown> =>
      ((await agent.json("/v1/agent/self")) as { Config: { NodeID: string } }).Config.NodeID;
    const first = await id();
    await agent.request(
      "PUT",
      "/v1/agent/service/register",
      JSON.stringify({ Name: "kept", Port: 1, Check: { TTL: "1h", Status: "passing" } }),
    );
    agent.signal("SIGTERM");
    await agent.ended();
    await restart();
    assert.equal(await id(), first);
    assert.ok("kept" in ((await agent.json("/v1/agent/services")) as object));
    assert.ok("service:kept" in ((await agent.json("/v1/agent/checks")) as object));
  });

  it("SIGHUP reloads and the agent goes on", async () => {
    agent.signal("SIGHUP");
    await agent.said(/Caught: signal=hangup/);
    assert.equal((await agent.request("GET", "/v1/status/leader")).status, 200);
  });

  it("a second agent on the same data directory is refused", async () => {
    await assert.rejects(RunningAgent.start({ args: serverArgs(folder) }), /ended with code 1/);
  });

  for (const [signal, word] of [
    ["SIGTERM", "terminated"],
    ["SIGINT", "interrupt"],
  ] as const) {
    it(`${signal} stops a server without leaving, with code 1`, async () => {
      agent.signal(signal);
      assert.deepEqual(await agent.ended(), { code: 1, signal: null });
      assert.match(agent.output, new RegExp(`Caught: signal=${word}\\n.*Graceful shutdown disabled\\. Exiting`));
      assert.match(agent.output, /Exit code: code=1/);
      await restart();
    });
  }

  it("the command works through a symlink from another folder", async () => {
    const link = join(temporaryFolder(), "consul");
    symlinkSync(consulPath, link);
    const { run } = await import("../support/program.ts");
    const { stdout, code } = await run(link, ["members", `-http-addr=127.0.0.1:${agent.ports.http}`], { cwd: "/" });
    assert.match(stdout, /s1 +127\.0\.0\.1:\d+ +alive/);
    assert.equal(code, 0);
  });
});
