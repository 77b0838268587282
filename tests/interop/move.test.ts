/**
 * A cluster of the original moves over: its client agents one at a time while what they serve stays resolvable, then its
 * server, by a snapshot (docs/moving.md).
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { needsDig, RunningAgent, temporaryFolder } from "../support/program.ts";
import { until } from "../support/until.ts";
import { findPeer } from "./peers.ts";

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

const network = `${(await ownGround()).network}.11`;

interface Instance {
  readonly Node: { readonly Node: string };
}

describe("a cluster of the original Consul", { skip }, () => {
  const folder = temporaryFolder();
  const serverAddress = `${network}.1`;
  let server: RunningAgent;
  const clients = new Map<string, RunningAgent>();
  const snapshot = join(folder, "moving.snap");

  const startServer = (command: string | undefined, dataDir: string): Promise<RunningAgent> =>
    RunningAgent.start({
      ...(command === undefined ? {} : { command }),
      address: serverAddress,
      args: ["-server", "-bootstrap-expect=1", "-node=server", `-data-dir=${join(folder, dataDir)}`],
    });
  /** The data directory is the client's, whichever program it runs: the node's ID and its registrations are in it. */
  const startClient = (name: string, at: number, command: string | undefined): Promise<RunningAgent> =>
    RunningAgent.start({
      ...(command === undefined ? {} : { command }),
      address: `${network}.${at}`,
      args: [
        `-node=${name}`,
        `-data-dir=${join(folder, name)}`,
        `-config-dir=${join(folder, `${name}.d`)}`,
        `-retry-join=${serverAddress}`,
        "-retry-interval=1s",
      ],
      ready: /Synced service: service=web/,
    });

  before(async () => {
    server = await startServer(consul, "server");
    for (const [at, name] of ["one", "two"].entries()) {
      mkdirSync(join(folder, `${name}.d`));
      writeFileSync(
        join(folder, `${name}.d/web.json`),
        '{"service": {"name": "web", "port": 80, "check": {"ttl": "1h", "status": "passing"}}}',
      );
      clients.set(name, await startClient(name, at + 2, consul));
    }
    await until<Instance[]>(server, "/v1/health/service/web?passing", (instances) => instances.length === 2);
  });
  after(async () => {
    for (const agent of [...clients.values(), server]) await agent?.stop();
  });

  for (const [at, name] of ["one", "two"].entries()) {
    it(`its client ${name} is replaced by ours, and the service is resolvable all the while`, needsDig, async () => {
      const other = clients.get(name === "one" ? "two" : "one") as RunningAgent;
      let watching = true;
      const empty: string[] = [];
      const watch = (async () => {
        while (watching) {
          for (const agent of [server, other]) {
            const answer = await agent.dig("web.service.consul", "+short");
            if (!answer.includes(network)) empty.push(`${agent.address}: ${answer}`);
          }
        }
      })();
      const before = (await server.json(`/v1/catalog/node/${name}`)) as { Node: { ID: string } };
      try {
        const old = clients.get(name) as RunningAgent;
        assert.equal((await old.consul(["leave"])).stdout, "Graceful leave complete\n");
        await old.ended();
        clients.set(name, await startClient(name, at + 2, undefined));
        await until<Instance[]>(server, "/v1/health/service/web?passing", (instances) => instances.length === 2);
      } finally {
        watching = false;
      }
      await watch;
      assert.deepEqual(empty, []);
      const now = (await server.json(`/v1/catalog/node/${name}`)) as { Node: { ID: string } };
      assert.equal(now.Node.ID, before.Node.ID);
    });
  }

  it("its server is replaced by ours with all it held, to the byte", async () => {
    assert.equal((await server.request("PUT", "/v1/kv/a?flags=18446744073709551615", "1")).status, 200);
    const { ID } = JSON.parse((await server.request("PUT", "/v1/session/create", '{"Name": "s", "TTL": "3600s"}')).body);
    assert.equal((await server.request("PUT", `/v1/kv/lock?acquire=${ID}`, "held")).body.trim(), "true");
    assert.equal(
      (
        await server.request(
          "PUT",
          "/v1/catalog/register",
          '{"Node": "ext", "Address": "10.0.0.1", "NodeMeta": {"external-node": "true"}, "Service": {"Service": "db", "Port": 1, "Weights": {"Passing": 3, "Warning": 2}}, "Check": {"Name": "c", "Status": "passing", "Definition": {"HTTP": "http://x", "Interval": "5s"}}}',
        )
      ).status,
      200,
    );
    assert.match((await server.consul(["snapshot", "save", snapshot])).stdout, /^Saved and verified snapshot/);
    const paths = [
      "/v1/kv/?recurse",
      "/v1/session/list",
      "/v1/catalog/service/db",
      "/v1/catalog/node/ext",
      "/v1/health/node/ext",
    ];
    const held = new Map<string, string>();
    for (const path of paths) held.set(path, (await server.request("GET", path)).body);
    await server.stop();

    server = await startServer(undefined, "ours");
    assert.equal((await server.consul(["snapshot", "restore", snapshot])).stdout, "Restored snapshot\n");
    for (const path of paths) assert.deepEqual([path, (await server.request("GET", path)).body], [path, held.get(path)]);
  });

  it("its clients find the new server, and their service is resolvable at every agent", needsDig, async () => {
    await until<Instance[]>(server, "/v1/health/service/web?passing", (instances) => instances.length === 2);
    for (const agent of [server, ...clients.values()])
      assert.deepEqual((await agent.dig("web.service.consul", "+short")).trimEnd().split("\n").sort(), [
        `${network}.2`,
        `${network}.3`,
      ]);
    assert.equal((await (clients.get("one") as RunningAgent).request("PUT", "/v1/kv/b", "2")).status, 200);
  });
});
