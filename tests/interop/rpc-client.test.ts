/** Our client agent's store over a real Consul server. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AntiEntropy } from "../../core/agent/anti-entropy.ts";
import { ClientCluster } from "../../core/agent/client-cluster.ts";
import { ClientServers } from "../../core/agent/client-servers.ts";
import { LocalState } from "../../core/agent/local-state.ts";
import type { Command, TxnOp } from "../../core/catalog/commands.ts";
import { emptySources, loadConfig } from "../../core/config/load.ts";
import type { Runtime } from "../../core/ports/mod.ts";
import { FakeHost } from "../support/fake-host.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { testConfig } from "../core/agent/rpc-pair.ts";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { freePorts } from "../support/free-ports.ts";
import { eventually, findPeer, startPeer } from "./peers.ts";
import { realPorts } from "./ports.ts";

/** Of this process alone. */
const { network } = await ownGround();

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

async function setUp(host: string) {
  const folder = mkdtempSync(join(tmpdir(), "consul-"));
  const [httpPort, lanPort, wanPort, serverPort] = (await freePorts(4)) as [number, number, number, number];
  const peer = startPeer(consul, [
    "agent",
    "-server",
    "-bootstrap-expect=1",
    "-node=real",
    `-bind=${host}`,
    `-client=${host}`,
    `-data-dir=${folder}`,
    "-dns-port=-1",
    "-log-level=debug",
    `-http-port=${httpPort}`,
    `-serf-lan-port=${lanPort}`,
    `-serf-wan-port=${wanPort}`,
    `-server-port=${serverPort}`,
    "-hcl=performance { raft_multiplier = 1 } disable_update_check = true",
  ]);
  const ports = realPorts(host);
  const config = await testConfig();
  const servers = new ClientServers({ ...ports, config: () => config, clusterSize: () => 2 });
  servers.set([{ name: "real", address: { host, port: serverPort } }]);
  await eventually("it leads", () => peer.output().includes("New leader elected"), peer.output);
  const get = async (path: string): Promise<unknown> => (await fetch(`http://${host}:${httpPort}${path}`)).json();
  await eventually(
    "it registered itself",
    async () => JSON.stringify(await get("/v1/catalog/node/real")).includes("raft_version"),
    peer.output,
  );
  return {
    store: servers.store,
    output: peer.output,
    address: `${host}:${serverPort}`,
    lan: `${host}:${lanPort}`,
    get,
    async stop() {
      await servers.stop();
      await peer.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const kv = (op: Extract<Command, { kind: "kv" }>["op"]): Command => ({ kind: "kv", op, now: 0 });
const took = { kind: "took", effect: true };
const anyhow = { consistency: "default" } as const;

const registration = {
  kind: "register",
  node: "ours",
  id: "0b2ab1a5-6f0c-4a2e-9d34-111111111111",
  address: "127.0.0.9",
  datacenter: "dc1",
  taggedAddresses: { lan: "127.0.0.9" },
  nodeMeta: { rack: "r1" },
  skipNodeUpdate: false,
  now: 0,
} as const;

const web = {
  kind: "",
  id: "web1",
  service: "web",
  tags: ["a", "b"],
  address: "",
  taggedAddresses: { lan: { address: "1.2.3.4", port: 5 } },
  meta: { v: "1" },
  port: 80,
  weights: { passing: 3, warning: 1 },
  enableTagOverride: false,
  proxy: undefined,
  connectNative: false,
} as const;

const check = {
  checkId: "service:web1",
  name: "Service 'web' check",
  status: "passing",
  notes: "",
  output: "ok",
  serviceId: "web1",
  type: "http",
  definition: { HTTP: "http://127.0.0.9/", Interval: "10s", Header: { Accept: ["x"] } },
} as const;

describe("our client agent's store over a real Consul server", { skip }, () => {
  it("keys: written, listed, locked, waited for", async () => {
    const { store, address, get, stop } = await setUp(`${network}.87.1`);
    try {
      assert.equal(await store.leader(), address);
      assert.deepEqual(await store.peers(), [address]);
      assert.deepEqual(await store.datacenters(), ["dc1"]);
      assert.deepEqual(
        await store.write(kv({ op: "set", key: "a/b", value: new Uint8Array([0, 255]), flags: 2n ** 64n - 1n })),
        took,
      );
      const { answer, meta } = await store.read<"kvGet">({ kind: "kvGet", key: "a/b" }, { consistency: "consistent" });
      assert.deepEqual([answer?.value, answer?.flags, meta.knownLeader], [new Uint8Array([0, 255]), 2n ** 64n - 1n, true]);
      const cas = (index: number) => store.write(kv({ op: "cas", key: "a/b", value: utf8("x"), flags: 0, index }));
      assert.deepEqual(await cas(1), { kind: "took", effect: false });
      assert.deepEqual(await cas(answer?.modifyIndex ?? 0), took);
      assert.deepEqual((await store.read<"kvKeys">({ kind: "kvKeys", prefix: "", separator: "/" }, anyhow)).answer, ["a/"]);
      assert.deepEqual((await store.read<"kvGet">({ kind: "kvGet", key: "none" }, anyhow)).answer, undefined);

      const page = {
        key: "a/b",
        query: { kind: "kvGet", key: "a/b" } as const,
        options: anyhow,
        render: (record: { readonly value: Uint8Array } | undefined) => ({ shown: text(record?.value ?? utf8("none")) }),
      };
      const { meta: seen } = await store.readShared(page);
      const waiting = Promise.all([1, 2, 3].map(() => store.readShared(page, { minIndex: seen.index, wait: 20_000 })));
      await store.write(kv({ op: "set", key: "a/b", value: utf8("new"), flags: 0 }));
      assert.deepEqual(
        (await waiting).map(({ rendered }) => rendered.shown),
        ["new", "new", "new"],
      );
      const quiet = await store.readShared(page, { minIndex: (await store.readShared(page)).meta.index, wait: 1000 });
      assert.equal(quiet.rendered.shown, "new");
      assert.deepEqual(await store.write(kv({ op: "deleteTree", prefix: "a/" })), took);
      assert.deepEqual((await store.read<"kvList">({ kind: "kvList", prefix: "a/" }, anyhow)).answer, []);

      const created = await store.write({
        kind: "sessionCreate",
        session: {
          id: "",
          name: "s",
          node: "real",
          lockDelay: 1000,
          behavior: "delete",
          ttl: "600s",
          nodeChecks: ["serfHealth"],
          serviceChecks: undefined,
          checks: undefined,
        },
        now: 0,
      });
      const id = created.kind === "session" ? created.id : "";
      assert.deepEqual(await store.write(kv({ op: "acquire", key: "lock", value: utf8("me"), flags: 0, session: id })), took);
      assert.equal((await store.read<"kvGet">({ kind: "kvGet", key: "lock" }, anyhow)).answer?.session, id);
      assert.equal(await store.renewSession(id), true);
      const { answer: session } = await store.read<"session">({ kind: "session", id }, anyhow);
      assert.deepEqual([session?.lockDelay, session?.behavior, session?.ttl], [1000, "delete", "600s"]);
      assert.equal((await store.read<"sessions">({ kind: "sessions" }, anyhow)).answer.length, 1);
      assert.deepEqual(await store.write({ kind: "sessionDestroy", id, now: 0 }), { kind: "done" });
      assert.equal(await store.renewSession(id), false);
      assert.deepEqual(await get("/v1/session/list"), []);
      assert.deepEqual(await store.write({ kind: "barrier" }), { kind: "done" });
    } finally {
      await stop();
    }
  });

  it("the catalog: what we register Consul shows, and what it shows we read", async () => {
    const { store, get, stop } = await setUp(`${network}.88.1`);
    try {
      assert.deepEqual(await store.write({ ...registration, service: web, checks: [check] }), { kind: "done" });
      const [shown] = (await get("/v1/health/service/web")) as [{ Node: object; Service: object; Checks: object[] }];
      assert.match(
        JSON.stringify(shown),
        /"Node":"ours".*"Meta":\{"rack":"r1"\}.*"TaggedAddresses":\{"lan":\{"Address":"1.2.3.4","Port":5\}\}.*"Weights":\{"Passing":3,"Warning":1\}.*"Definition":\{"Interval":"10s","HTTP":"http:\/\/127.0.0.9\/","Header":\{"Accept":\["x"\]\}\}/,
      );

      const { answer: instances } = await store.read<"checkedInstances">(
        { kind: "checkedInstances", service: "web", passingOnly: true, tags: ["b"] },
        anyhow,
      );
      assert.equal(instances.length, 1);
      const { node: _n, createIndex: _c, modifyIndex: _m, ...service } = instances[0]?.service ?? assert.fail("no instance");
      assert.deepEqual(service, web);
      assert.deepEqual(instances[0]?.checks[0]?.definition, check.definition);
      const { answer: services } = await store.read<"services">({ kind: "services" }, anyhow);
      assert.deepEqual(services, [
        { service: "consul", tags: [] },
        { service: "web", tags: ["a", "b"] },
      ]);
      const { answer: here } = await store.read<"nodeServices">({ kind: "nodeServices", node: "ours" }, anyhow);
      assert.deepEqual([here?.node.id, here?.services.map(({ id }) => id)], [registration.id, ["web1"]]);
      const { answer: nodes } = await store.read<"nodes">({ kind: "nodes", filter: 'Meta.rack == "r1"' }, anyhow);
      assert.deepEqual(
        nodes.map(({ node }) => node),
        ["ours"],
      );
      assert.equal(
        (await store.read<"serviceInstances">({ kind: "serviceInstances", service: "web" }, anyhow)).answer[0]?.service.port,
        80,
      );
      assert.deepEqual(
        (await store.read<"nodeChecks">({ kind: "nodeChecks", node: "ours" }, anyhow)).answer.map(({ checkId }) => checkId),
        ["service:web1"],
      );
      assert.equal((await store.read<"checksInState">({ kind: "checksInState", state: "passing" }, anyhow)).answer.length, 2);
      assert.equal(
        (await store.read<"serviceChecks">({ kind: "serviceChecks", service: "web" }, anyhow)).answer[0]?.serviceName,
        "web",
      );
      const { answer: byAddress } = await store.read<"byAddress">({ kind: "byAddress", address: "1.2.3.4" }, anyhow);
      assert.deepEqual(
        byAddress.services.map(({ service: { id } }) => id),
        ["web1"],
      );

      const ops: readonly TxnOp[] = [
        { on: "kv", verb: "set", key: "t", value: utf8("t"), flags: 0, index: 0, session: "" },
        { on: "kv", verb: "get", key: "t", value: utf8(""), flags: 0, index: 0, session: "" },
        { on: "service", verb: "get", node: "ours", service: { ...web, modifyIndex: 0 } },
      ];
      const done = await store.write({ kind: "txn", ops, now: 0 });
      assert.deepEqual(done.kind === "txn" ? done.results.map(({ on }) => on) : done, ["kv", "kv", "service"]);
      const read = await store.read<"txnRead">({ kind: "txnRead", ops: [ops[1] as TxnOp] }, anyhow);
      assert.equal(read.answer.results.length, 1);

      await assert.rejects(store.read({ kind: "nodes", filter: "Foo == 3" }, anyhow), {
        message: 'rpc error making call: Failed to create boolean expression evaluator: Selector "Foo" is not valid',
      });
      await assert.rejects(store.read({ kind: "nodes" }, { ...anyhow, datacenter: "dc9" }), { code: "no-datacenter" });
      assert.deepEqual(await store.write({ ...registration, address: "", service: undefined, checks: [] }), {
        kind: "rejected",
        message: "rpc error making call: Must provide address if SkipNodeUpdate is not set",
      });
      assert.deepEqual(
        await store.write({ kind: "deregister", node: "ours", serviceId: undefined, checkId: undefined, now: 0 }),
        { kind: "done" },
      );
      assert.equal((await store.read<"nodes">({ kind: "nodes" }, anyhow)).answer.length, 1);
      const coordinate = { vec: [0, 0, 0, 0, 0, 0, 0, 1.5], error: 1.5, adjustment: 0, height: 1e-5 };
      assert.deepEqual(await store.write({ kind: "coordinates", updates: [{ node: "real", segment: "", coordinate }] }), {
        kind: "done",
      });
    } finally {
      await stop();
    }
  });

  it("as a member of its pool we find it, are registered by it, and keep our services there in sync", async () => {
    const { lan, address, get, output, stop } = await setUp(`${network}.89.1`);
    const host = `${network}.89.2`;
    const log: string[] = [];
    const ports = realPorts(host, log);
    const sources = {
      ...emptySources,
      freePorts: true,
      fragments: [`server = true node_name = "ours" data_dir = "/data" bind_addr = "${host}" ports { serf_lan = 0 }`],
    };
    const config = { ...(await loadConfig(sources, new FakeHost())), server: false };
    const servers = new ClientServers({ ...ports, config: () => config, clusterSize: () => 2 });
    const cluster = new ClientCluster({
      runtime: { ...ports, name: "test" } as unknown as Runtime,
      config,
      nodeId: registration.id,
      files: undefined,
      logger: ports.logger,
      agentLogger: ports.logger,
      servers,
      onMember: () => {},
      onUserEvent: () => {},
      onLeader: () => {},
      onNewLeader: () => sync.syncFull(),
    });
    const { store } = servers;
    const state = new LocalState();
    const sync = new AntiEntropy({
      ...ports,
      state,
      node: () => ({ ...registration, address: host, meta: registration.nodeMeta }),
      clusterSize: () => 2,
      remote: async () => {
        const { answer } = await store.read<"nodeServices">({ kind: "nodeServices", node: "ours" }, anyhow);
        const checks = await store.read<"nodeChecks">({ kind: "nodeChecks", node: "ours" }, anyhow);
        return { node: answer?.node, services: answer?.services ?? [], checks: checks.answer };
      },
      write: (command) => store.write(command),
      now: () => 0,
    });
    const tell = () => log.join("\n") + output();
    try {
      await assert.rejects(store.read({ kind: "nodes" }, anyhow), { message: "No known Consul servers" });
      await cluster.start();
      assert.equal(await cluster.join([lan], "lan"), 1);
      await eventually("we know who leads", () => cluster.leader() === address, tell);
      await eventually(
        "it registered us",
        async () => JSON.stringify(await get("/v1/health/node/ours")).includes("Agent alive"),
        tell,
      );
      sync.start();
      state.setService(web, "");
      await eventually(
        "our service is there",
        async () => JSON.stringify(await get("/v1/catalog/node/ours")).includes('"web1"'),
        tell,
      );
      await sync.settled();
      const index = (await store.read({ kind: "services" }, anyhow)).meta.index;
      sync.syncFull();
      await sync.settled();
      assert.equal((await store.read({ kind: "services" }, anyhow)).meta.index, index);
      await cluster.leave();
      await eventually("it deregistered us", async () => (await get("/v1/catalog/node/ours")) === null, tell);
    } finally {
      sync.stop();
      await cluster.stop();
      await servers.stop();
      await stop();
    }
  });
});
