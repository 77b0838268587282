/** Watches as the documentation has them: a file in the configuration directory, a script that writes down what it gets. */
import { chmodSync, existsSync, readdirSync, readFileSync, watch, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { consulPath, freePorts, RunningAgent, run, temporaryFolder } from "../support/program.ts";

/** The lines of a file that grows in `folder`, when there are as many. */
function lines(folder: string, name: string, count: number): Promise<readonly string[]> {
  const path = join(folder, name);
  return new Promise((resolve) => {
    const look = (): void => {
      const found = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
      if (found.length < count) return;
      watcher.close();
      resolve(found);
    };
    const watcher = watch(folder, look);
    look();
  });
}

describe("watches in a configuration directory", () => {
  const folder = temporaryFolder();
  const output = temporaryFolder();
  const script = join(output, "write.sh");
  const received: { readonly index: string | undefined; readonly own: string | undefined; readonly body: string }[] = [];
  let onReceived = (): void => {};
  let server: http.Server;
  let ports: readonly number[];
  let agent: RunningAgent;

  before(async () => {
    ports = await freePorts(5);
    writeFileSync(script, `#!/bin/sh\necho "$CONSUL_INDEX $(cat)" >> ${output}/$1\necho "wrote $1"\n`);
    chmodSync(script, 0o755);
    server = http.createServer((request, response) => {
      let body = "";
      request.on("data", (piece) => (body += piece));
      request.on("end", () => {
        received.push({ index: request.headers["x-consul-index"] as string, own: request.headers["x-own"] as string, body });
        response.end("thanks");
        onReceived();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    writeFileSync(
      join(folder, "watches.json"),
      JSON.stringify({
        watches: [
          { type: "key", key: "redis/config", args: [script, "key"] },
          { type: "service", service: "web", handler: `${script} service` },
          {
            type: "keyprefix",
            prefix: "redis/",
            handler_type: "http",
            http_handler_config: { path: `http://127.0.0.1:${port}/hook`, header: { "x-own": ["one", "two"] }, timeout: "10s" },
          },
        ],
      }),
    );
    agent = await RunningAgent.start({ args: ["-dev", "-node=n1", `-config-dir=${folder}`, "-log-level=debug"] });
  });
  after(async () => {
    server.close();
    await agent?.stop();
  });

  it("a script gets what there is at the start, and each change", async () => {
    assert.deepEqual((await lines(output, "key", 1))[0]?.replace(/^\d+ /, ""), "null");
    await agent.consul(["kv", "put", "-flags=18446744073709551615", "redis/config", "a<b"]);
    const line = (await lines(output, "key", 2))[1] as string;
    const index = line.split(" ")[0];
    const indexes = `"CreateIndex":${index},"ModifyIndex":${index}`;
    assert.equal(
      line,
      `${index} {"Key":"redis/config",${indexes},"LockIndex":0,"Flags":18446744073709551615,"Value":"YTxi","Session":""}`,
    );
    await agent.said(/\[DEBUG\] agent: watch handler output: watch_handler=\[\S+write.sh, key\] output="wrote key\\n"/);
  });

  it("a script in the deprecated form follows a service", async () => {
    assert.match(agent.output, /\[WARN\] {2}agent: The 'handler' field in watches has been deprecated/);
    assert.deepEqual((await lines(output, "service", 1))[0]?.replace(/^\d+ /, ""), "[]");
    await agent.consul(["services", "register", "-name=web", "-port=80"]);
    const shown = JSON.parse(((await lines(output, "service", 2))[1] as string).replace(/^\d+ /, ""));
    assert.equal(shown[0].Service.Port, 80);
    assert.equal(shown[0].Node.Node, "n1");
  });

  it("a URL gets the same, with the index and the configured headers", async () => {
    if (received.length < 2) await new Promise<void>((resolve) => (onReceived = () => received.length >= 2 && resolve()));
    const { index, own, body } = received[1] as (typeof received)[number];
    assert.equal(own, "one, two");
    assert.equal(JSON.parse(body)[0].ModifyIndex, Number(index));
    await agent.said(/\[DEBUG\] agent: http watch handler output: watch=http:\S+hook output=thanks/);
  });

  it("a reload begins those that were added, and is refused where one is wrong", async () => {
    writeFileSync(join(folder, "more.hcl"), `watches = [{ type = "nodes", args = ["${script}", "nodes"] }]`);
    assert.equal((await agent.consul(["reload"])).code, 0);
    assert.match((await lines(output, "nodes", 1))[0] as string, /^\d+ \[\{"ID":"[^"]+","Node":"n1"/);

    writeFileSync(join(folder, "more.hcl"), 'watches = [{ type = "nodes" }]');
    const { code, stderr } = await agent.consul(["reload"]);
    assert.equal(code, 1);
    assert.match(stderr, /Failed reloading watches: Must define a watch handler/);
  });

  it("an agent stops with its watches, and tells no error", async () => {
    const from = agent.output.length;
    agent.signal("SIGINT");
    await agent.ended();
    assert.doesNotMatch(agent.output.slice(from), /\[ERROR\]/);
  });

  it("one that is wrong stops the start after the banner, in Consul's words", async () => {
    const { code, stdout } = await run(consulPath, [
      "agent",
      "-dev",
      ...["-hcl", 'watches = [{ type = "key" }]'],
      ...["http", "dns", "server", "serf-lan", "serf-wan"].map((name, at) => `-${name}-port=${ports[at]}`),
    ]);
    assert.equal(code, 1);
    assert.match(
      stdout,
      /Error starting agent: error="Failed to parse watch \(map\[string\]interface \{\}\{\}\): Must specify a single key to watch"/,
    );
  });
});

describe("watches of a client agent", () => {
  it("follow what its servers hold, and begin when it has found one", async () => {
    const output = temporaryFolder();
    const server = await RunningAgent.start({ args: ["-dev", "-node=s1"] });
    const watches = `watches = [{ type = "keyprefix" prefix = "a/" args = ["sh", "-c", "cat >> ${output}/keys"] }]`;
    const client = await RunningAgent.start({
      args: [
        "-node=c1",
        "-bind=127.0.0.1",
        `-data-dir=${temporaryFolder()}`,
        `-retry-join=127.0.0.1:${server.ports.serfLan}`,
        ...["-hcl", watches],
      ],
      ready: /Synced node info/,
    });
    try {
      assert.deepEqual(await lines(output, "keys", 1), ["null"]);
      await server.consul(["kv", "put", "a/b", "c"]);
      const seen = await lines(output, "keys", 2);
      assert.equal(JSON.parse(seen[1] as string)[0].Value, "Yw==");
    } finally {
      await Promise.all([client.stop(), server.stop()]);
    }
  });
});

describe("log files", () => {
  it("are begun at each start and when they are full, and so many are kept", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "agent.txt"), "what was there\n");
    const args = ["-dev", `-log-file=${folder}/agent.txt`, "-log-rotate-bytes=200", "-log-rotate-max-files=2"];
    const agent = await RunningAgent.start({ args });
    await agent.said(/Synced node info/);
    agent.signal("SIGINT");
    await agent.ended();
    const names = readdirSync(folder).sort();
    assert.equal(names.length, 4, names.join(" "));
    for (const name of names.slice(0, 3)) assert.match(name, /^agent-\d{19}\.txt$/);
    assert.equal(readFileSync(join(folder, "agent.txt"), "utf8"), "what was there\n");
    const last = readFileSync(join(folder, names[2] as string), "utf8");
    assert.match(last, /^\d{4}-\S+Z \[/);
    assert.match(last, /\[INFO\] {2}agent: Exit code: code=1\n$/);
  });

  it("that cannot be made stop the start", async () => {
    const { code, stderr } = await run(consulPath, ["agent", "-dev", "-log-file=/nonexistent/agent"]);
    assert.equal(code, 1);
    assert.match(stderr, /^==> Failed to setup logging: open \/nonexistent\/agent-\d{19}\.log: no such file or directory/);
  });
});
