/** A real Consul client agent whose only server is ours: gossip, anti-entropy, and every command through our RPC methods. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { rpcEndpoints } from "../../core/agent/rpc-handlers.ts";
import type { Member } from "../../core/plugin/agent-api.ts";
import { createRpcServer } from "../../core/rpc/server.ts";
import { utf8 } from "../../core/types/bytes.ts";
import { catalogStore, cluster, testConfig } from "../core/agent/rpc-pair.ts";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { insist, patience } from "../support/patience.ts";
import { eventually, findPeer, freePort, type Peer, startPeer } from "./peers.ts";
import { ownPool, realPorts } from "./ports.ts";

/** Of this process alone. */
const { network } = await ownGround();
const here = ({ source }: RegExp): RegExp => new RegExp(source.replaceAll("NET", network));

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

const serverTags = (port: number) => ({
  role: "consul",
  dc: "dc1",
  segment: "",
  id: "0b2ab1a5-6f0c-4a2e-9d34-222222222222",
  vsn: "2",
  vsn_min: "2",
  vsn_max: "3",
  raft_vsn: "3",
  build: "1.8.7:",
  port: String(port),
  acls: "0",
  ft_fs: "1",
  wan_join_port: "8302",
});

interface Setup {
  readonly client: Peer & { readonly http: string; readonly folder: string };
  readonly served: ReturnType<typeof catalogStore>;
  newLeader(): Promise<void>;
  run(...args: readonly string[]): Promise<string>;
  get(path: string): Promise<Response>;
  put(path: string, body?: unknown): Promise<Response>;
  stop(): Promise<void>;
}

/** Ours at `${net}.2`, the real client at `${net}.1`. */
async function setUp(net: string): Promise<Setup> {
  const ports = realPorts(net);
  const config = await testConfig();
  const served = catalogStore(ports.clock);
  let serverAddress = "";
  const endpoints = rpcEndpoints({
    ...ports,
    store: served.store,
    cluster: {
      ...cluster(),
      leader: () => serverAddress,
      peers: () => [serverAddress],
      raftServers: async () => [{ id: serverTags(0).id, node: "ours", address: serverAddress, voter: true, leader: true }],
    },
    config: () => config,
  });
  const rpc = createRpcServer({
    ...ports,
    at: { host: `${net}.2`, port: 0 },
    limits: { connectionsPerClientMax: 100, handshakeTimeout: 5000 },
    handlers: endpoints.handlers,
  });
  const { port } = await rpc.start();
  serverAddress = `${net}.2:${port}`;
  const { pool, address } = await ownPool(`${net}.2`, {
    name: "ours",
    tags: serverTags(port),
    onEvent: (event) => {
      if ("member" in event && event.member.status === "alive") served.apply(memberAlive(event.member));
    },
  });
  const folder = mkdtempSync(join(tmpdir(), "consul-"));
  const httpPort = await freePort();
  const peer = startPeer(consul, [
    "agent",
    "-node=real",
    `-bind=${net}.1`,
    `-client=${net}.1`,
    `-data-dir=${folder}`,
    `-http-port=${httpPort}`,
    `-serf-lan-port=${await freePort()}`,
    "-dns-port=-1",
    "-log-level=debug",
    "-hcl=disable_update_check = true enable_script_checks = true",
    `-retry-join=${address}`,
  ]);
  const http = `http://${net}.1:${httpPort}`;
  return {
    client: { ...peer, http, folder },
    served,
    newLeader: () => pool.userEvent("consul:new-leader", utf8("ours"), false),
    run: async (...args) => {
      const env = { ...process.env, CONSUL_HTTP_ADDR: http };
      return (await promisify(execFile)(consul, [...args], { encoding: "utf8", timeout: patience, env })).stdout;
    },
    get: (path) => fetch(http + path),
    put: (path, body) =>
      fetch(http + path, {
        method: "PUT",
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      }),
    async stop() {
      await peer.stop();
      await pool.stop();
      await rpc.stop();
      endpoints.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What a leader registers for a member. */
function memberAlive(member: Member) {
  const serfHealth = {
    checkId: "serfHealth",
    name: "Serf Health Status",
    status: "passing",
    notes: "",
    output: "Agent alive and reachable",
    serviceId: "",
    type: "",
    definition: {},
  };
  return {
    kind: "register",
    node: member.name,
    id: member.tags["id"] ?? "",
    address: member.address,
    datacenter: "dc1",
    taggedAddresses: undefined,
    nodeMeta: undefined,
    skipNodeUpdate: false,
    service: undefined,
    checks: [serfHealth],
    now: 0,
  } as const;
}

const json = async (response: Promise<Response>): Promise<unknown> => (await response).json();
const flat = (value: unknown): string => JSON.stringify(value);

describe("a real Consul client agent under our server", { skip }, () => {
  it("registers itself, its services and checks with us, and serves what we know of them", async () => {
    const { client, served, run, get, put, stop } = await setUp(`${network}.84`);
    try {
      await eventually("its node is here", () => servicesOf(served).known, client.output);
      assert.match(await run("members"), here(/ours +NET\.84\.2:\d+ +alive +server[\s\S]*real +NET\.84\.1:\d+ +alive +client/));

      const web = { Name: "web", Tags: ["v1"], Port: 80, Meta: { a: "b" }, Check: { TTL: "1h", Status: "passing" } };
      assert.equal((await put("/v1/agent/service/register", web)).status, 200);
      assert.equal((await put("/v1/agent/service/register", { Name: "plain" })).status, 200);
      assert.equal((await put("/v1/agent/check/register", { Name: "mem", TTL: "1h", Status: "passing" })).status, 200);
      await eventually("its services are here", () => flat(servicesOf(served).ids) === flat(["plain", "web"]), client.output);
      await eventually(
        "its checks are here",
        () => flat([...checksOf(served)].sort()) === flat(["mem", "serfHealth", "service:web"]),
        client.output,
      );
      assert.match(await run("catalog", "services", "-tags"), /plain +\nweb +v1/);
      assert.match(await run("catalog", "nodes"), here(/ours +0b2ab1a5 +NET\.84\.2 +dc1[\s\S]*real +\w{8} +NET\.84\.1 +dc1/));
      const [instance] = (await json(get("/v1/health/service/web?passing"))) as [
        { Service: { Port: number; Meta: object }; Checks: { CheckID: string }[] },
      ];
      assert.equal(instance.Service.Port, 80);
      assert.deepEqual(instance.Service.Meta, { a: "b" });
      assert.deepEqual(
        instance.Checks.map((check) => check.CheckID),
        ["mem", "serfHealth", "service:web"],
      );
      assert.deepEqual(await json(get("/v1/health/service/none")), []);

      let index = (await get("/v1/health/service/web")).headers.get("x-consul-index");
      const changed = insist(
        async () => {
          const answer = await get(`/v1/health/service/web?index=${index}&wait=20s`);
          index = answer.headers.get("x-consul-index");
          const [{ Checks }] = (await answer.json()) as [{ Checks: { Status: string; Output: string }[] }];
          return [Checks[2]?.Status, Checks[2]?.Output];
        },
        ([status]) => status !== "passing",
      );
      assert.equal((await put("/v1/agent/check/fail/service:web?note=down")).status, 200);
      assert.deepEqual(await changed, ["critical", "down"]);
      assert.equal(flat(await json(get("/v1/health/service/web?passing"))), "[]");
      assert.match(flat(await json(get("/v1/health/state/critical"))), /^\[\{[^{}]*"CheckID":"service:web"/);
      assert.match(flat(await json(get("/v1/health/node/real"))), /"Type":"ttl"/);
      assert.match(flat(await json(get("/v1/health/checks/web"))), /"ServiceTags":\["v1"\]/);
      assert.match(flat(await json(get("/v1/catalog/service/web?tag=v1&near=real"))), /"ServiceMeta":\{"a":"b"\}/);
      assert.match(flat(await json(get("/v1/catalog/node/real"))), /"web":\{"ID":"web"/);
      assert.match(flat(await json(get("/v1/internal/ui/nodes"))), /"Node":"real"[\s\S]*"Service":"web"/);
      assert.match(flat(await json(get("/v1/internal/ui/services"))), /"Name":"web"[\s\S]*"ChecksCritical":1/);

      const file = join(client.folder, "api.json");
      writeFileSync(file, flat({ service: { name: "api", id: "api-1", port: 9090, tags: ["x"] } }));
      await run("services", "register", file);
      await run("services", "deregister", "-id=plain");
      await eventually("the change is here", () => flat(servicesOf(served).ids) === flat(["api-1", "web"]), client.output);
      await run("maint", "-enable", "-service=web", "-reason=upgrade");
      await eventually("maintenance is here", () => checksOf(served).includes("_service_maintenance:web"), client.output);
      assert.doesNotMatch(client.output(), /\[ERROR\](?!.*(No known Consul servers|failed to sync|Failed fallback ping))/);
    } finally {
      await stop();
    }
  });

  it("what it has synced it finds in sync: it does not write again", async () => {
    const { client, served, put, newLeader, stop } = await setUp(`${network}.85`);
    try {
      await eventually("its node is here", () => servicesOf(served).known, client.output);
      const proxy = {
        DestinationServiceName: "web",
        Config: { number: 3, text: "a", list: [1, 2.5], deep: { on: true } },
        Upstreams: [{ DestinationName: "db", LocalBindPort: 9191, Config: { connect_timeout_ms: 1000 } }],
      };
      await put("/v1/agent/service/register", {
        Name: "web",
        Port: 80,
        Check: { HTTP: `http://${network}.85.1:1/`, Interval: "1s" },
      });
      await put("/v1/agent/service/register", {
        Name: "tagged",
        Tags: ["b", "a"],
        TaggedAddresses: { lan: { Address: "1.2.3.4", Port: 5 } },
      });
      await put("/v1/agent/service/register", { Kind: "connect-proxy", Name: "web-proxy", Port: 21000, Proxy: proxy });
      await eventually("all are here", () => servicesOf(served).ids.length === 3, client.output);
      // It says so when it has our answer.
      for (const synced of ["node info", "service: service=web", "service: service=tagged", "service: service=web-proxy"])
        await eventually(`it has synced ${synced}`, () => client.output().includes(`Synced ${synced}\n`), client.output);
      await eventually("its check has run", () => client.output().includes("Check is now critical"), client.output);
      const before = client.output().length;
      // Clients compare everything when another server leads.
      await newLeader();
      await eventually(
        "it compared",
        () =>
          ["Service in sync: service=web-proxy", "Check in sync: check=service:web", "Node info in sync"].every((line) =>
            client.output().slice(before).includes(line),
          ),
        client.output,
      );
      const since = client.output().slice(before);
      assert.doesNotMatch(since, /Synced (node|service)/);
    } finally {
      await stop();
    }
  });

  it("keys, locks, sessions and transactions", async () => {
    const { client, served, run, get, put, stop } = await setUp(`${network}.86`);
    try {
      await eventually("its node is here", () => servicesOf(served).known, client.output);
      assert.equal(await run("kv", "put", "-flags=42", "a/b", "hello"), "Success! Data written to: a/b\n");
      assert.equal(await run("kv", "get", "a/b"), "hello\n");
      assert.match(await run("kv", "get", "-detailed", "a/b"), /Flags +42/);
      await run("kv", "put", "a/c/d", "");
      assert.equal(await run("kv", "get", "-keys", "a/"), "a/b\na/c/\n");
      assert.equal(await run("kv", "get", "-recurse", "a/"), "a/b:hello\na/c/d:\n");
      assert.equal((await get("/v1/kv/none")).status, 404);
      assert.equal(await (await put("/v1/kv/a/b?cas=1", "x")).text(), "false");
      const index = (await get("/v1/kv/a/b")).headers.get("x-consul-index");
      assert.equal(await (await put(`/v1/kv/a/b?cas=${index}`, "y")).text(), "true");
      const waiting = get(`/v1/kv/a/?recurse&index=${(await get("/v1/kv/a/?recurse")).headers.get("x-consul-index")}&wait=20s`);
      await run("kv", "delete", "a/b");
      assert.match(await (await waiting).text(), /^\[\{"LockIndex":0,"Key":"a\/c\/d"/);
      const start = performance.now();
      await get("/v1/kv/quiet?index=100000&wait=1s");
      assert.ok(performance.now() - start >= 1000);
      assert.match(await run("kv", "delete", "-recurse", "a/"), /Success/);

      const { ID } = (await json(put("/v1/session/create", { Name: "s", TTL: "10s", LockDelay: "1s" }))) as { ID: string };
      assert.equal(await (await put(`/v1/kv/lock?acquire=${ID}`, "held")).text(), "true");
      assert.match(flat(await json(get("/v1/kv/lock"))), new RegExp(`"Session":"${ID}"`));
      assert.match(flat(await json(put(`/v1/session/renew/${ID}`))), /"TTL":"10s"/);
      assert.match(flat(await json(get(`/v1/session/info/${ID}`))), /"LockDelay":1000000000/);
      assert.match(flat(await json(get("/v1/session/list"))), /"Name":"s"/);
      assert.match(flat(await json(get("/v1/session/node/real"))), /"NodeChecks":\["serfHealth"\]/);
      assert.equal(await (await put(`/v1/session/destroy/${ID}`)).text(), "true");
      assert.equal((await put(`/v1/session/renew/${ID}`)).status, 404);
      assert.match(
        await (await put("/v1/session/create", { TTL: "1s" })).text(),
        /^rpc error making call: Invalid Session TTL '1000000000', must be between \[10s=24h0m0s\]$/,
      );

      const ops = [
        { KV: { Verb: "set", Key: "t", Value: "dA==" } },
        { KV: { Verb: "get", Key: "t" } },
        { Node: { Verb: "set", Node: { Node: "ext", Address: "1.1.1.1", Meta: { x: "y" } } } },
        { Service: { Verb: "set", Node: "ext", Service: { ID: "e1", Service: "e", Port: 3 } } },
        {
          Check: {
            Verb: "set",
            Check: { Node: "ext", CheckID: "c", Status: "passing", Definition: { HTTP: "http://x", Interval: "5s" } },
          },
        },
      ];
      const done = (await json(put("/v1/txn", ops))) as { Results: object[]; Errors: null };
      assert.deepEqual(
        done.Results.map((result) => Object.keys(result)[0]),
        ["KV", "KV", "Node", "Service", "Check"],
      );
      const refused = await put("/v1/txn", [{ KV: { Verb: "get", Key: "nope" } }]);
      assert.equal(refused.status, 409);
      assert.match(await refused.text(), /key \\"nope\\" doesn't exist/);
      assert.match(await (await get("/v1/health/node/ext")).text(), /"Definition":\{"Interval":"5s","HTTP":"http:\/\/x"\}/);

      assert.deepEqual(await json(get("/v1/catalog/datacenters")), ["dc1"]);
      assert.match(await run("operator", "raft", "list-peers"), here(/ours +0b2ab1a5-\S+ +NET\.86\.2:\d+ +leader +true +3/));
      assert.match(
        await (await get("/v1/catalog/nodes?filter=Foo==3")).text(),
        /^rpc error making call: Failed to create boolean expression/,
      );
      assert.match(await (await get("/v1/catalog/nodes?dc=dc9")).text(), /No path to datacenter/);
      assert.equal(await (await get("/v1/query")).text(), "[]");
      assert.equal((await get("/v1/query/none/execute")).status, 404);
    } finally {
      await stop();
    }
  });
});

function servicesOf({ catalog }: Setup["served"]): { readonly known: boolean; readonly ids: readonly string[] } {
  const found = catalog.evaluate<"nodeServices">({ kind: "nodeServices", node: "real" }).answer;
  return { known: found?.node.taggedAddresses?.["wan_ipv4"] !== undefined, ids: found?.services.map(({ id }) => id) ?? [] };
}

function checksOf({ catalog }: Setup["served"]): readonly string[] {
  return catalog.evaluate<"nodeChecks">({ kind: "nodeChecks", node: "real" }).answer.map(({ checkId }) => checkId);
}
