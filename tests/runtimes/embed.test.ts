/** `createAgent`: an agent inside this process, on the runtime the test runs on. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Plugin } from "../../core/plugin/plugin.ts";
import { createAgent } from "../support/embedded.ts";
import { assert, describe, it } from "../support/harness.ts";

describe("createAgent", () => {
  it("starts an agent on free ports that answers HTTP, and is gone after stop", async () => {
    const agent = await createAgent();
    const url = agent.url as string;
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.notEqual(agent.dns?.port, 0);
    const nodes = (await (await fetch(`${url}/v1/catalog/nodes`)).json()) as { ID: string }[];
    assert.deepEqual(
      nodes.map(({ ID }) => ID),
      [agent.nodeId],
    );
    await agent.stop();
    await assert.rejects(fetch(`${url}/v1/catalog/nodes`));
  });

  it("answers without any socket", async () => {
    const agent = await createAgent({ listen: "none", config: { node_name: "inside", datacenter: "dc7" } });
    assert.equal(agent.url, undefined);
    await agent.fetch("/v1/kv/a", { method: "PUT", body: "1" });
    assert.equal(await (await agent.fetch("/v1/kv/a?raw")).text(), "1");
    assert.deepEqual(await (await agent.fetch("/v1/catalog/datacenters")).json(), ["dc7"]);
    await agent.stop();
  });

  it("nobody waits for an answer of an agent that stopped", async () => {
    const agent = await createAgent({ listen: "none" });
    const events = agent.fetch("/v1/event/list?index=1");
    const log = (await agent.fetch("/v1/agent/monitor?loglevel=error")).text();
    await agent.stop();
    assert.deepEqual(await (await events).json(), []);
    await log;
  });

  it("registers services in code, and a blocking query of the store wakes", async () => {
    const agent = await createAgent({ listen: "none" });
    await agent.local.registerService({ name: "web", port: 80, checks: [{ ttl: 60_000, status: "passing" }] });
    const query = { kind: "checkedInstances", service: "web", passingOnly: true } as const;
    const read = (minIndex: number) =>
      agent.store.readShared(
        {
          key: "test web",
          query,
          options: { consistency: "default" },
          render: (answer) => ({ ports: answer.map(({ service }) => service.port) }),
        },
        { minIndex, wait: 10_000 },
      );
    let { meta, rendered } = await read(0);
    while (rendered.ports.length === 0) ({ meta, rendered } = await read(meta.index));
    assert.deepEqual(rendered.ports, [80]);
    await agent.stop();
  });

  it("several agents in one process share nothing", async () => {
    const [one, two] = await Promise.all([createAgent({ listen: "none" }), createAgent({ listen: "none" })]);
    await one.fetch("/v1/kv/only", { method: "PUT", body: "here" });
    assert.equal((await two.fetch("/v1/kv/only")).status, 404);
    assert.notEqual(one.nodeId, two.nodeId);
    await Promise.all([one.stop(), two.stop()]);
  });

  it("keeps its data where it is told to", async () => {
    const folder = mkdtempSync(join(tmpdir(), "proconsul-embed-"));
    const first = await createAgent({ listen: "none", dataDir: folder });
    await first.fetch("/v1/kv/kept", { method: "PUT", body: "yes" });
    await first.stop();
    const second = await createAgent({ listen: "none", dataDir: folder });
    assert.equal(await (await second.fetch("/v1/kv/kept?raw")).text(), "yes");
    assert.equal(second.nodeId, first.nodeId);
    await second.stop();
    rmSync(folder, { recursive: true });
  });

  it("runs a plugin of one's own, with its section of the configuration", async () => {
    const heard: string[] = [];
    const plugin: Plugin<{ greeting: string }> = {
      name: "greeter",
      config: { key: "greeter", schema: { parse: (section) => section as { greeting: string } } },
      setup: ({ config, agent }) => ({
        start: async () => void heard.push(`${config.greeting}, ${agent.config.nodeName}`),
        stop: async () => void heard.push("bye"),
      }),
    };
    const agent = await createAgent({
      listen: "none",
      plugins: [plugin],
      config: { node_name: "n1", greeter: { greeting: "hello" } },
    });
    await agent.stop();
    assert.deepEqual(heard, ["hello, n1", "bye"]);
  });

  it("refuses a configuration that is wrong, in Consul's words", async () => {
    await assert.rejects(
      createAgent({ config: { datacenter: "d c" } }),
      /datacenter cannot be "d c"\. Please use only \[a-z0-9-_\]/,
    );
  });
});
