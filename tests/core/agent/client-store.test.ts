import type { Command, TxnOp } from "../../../core/catalog/commands.ts";
import type { Query } from "../../../core/catalog/queries.ts";
import type { ServiceFields } from "../../../core/catalog/records.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { clientOf, type ServedCatalog, servedCatalog, startServer } from "./rpc-pair.ts";

const host = "127.0.0.1";

const web: ServiceFields = {
  kind: "",
  id: "web1",
  service: "web",
  tags: ["v1", "rails"],
  address: "10.0.0.9",
  taggedAddresses: { lan: { address: "10.0.0.9", port: 80 } },
  meta: { version: "1" },
  port: 80,
  weights: { passing: 3, warning: 1 },
  enableTagOverride: true,
  proxy: undefined,
  connectNative: false,
};

const sidecar: ServiceFields = {
  ...web,
  id: "web1-sidecar",
  service: "web-sidecar",
  kind: "connect-proxy",
  taggedAddresses: undefined,
  meta: undefined,
  tags: [],
  proxy: {
    DestinationServiceName: "web",
    LocalServicePort: 8080,
    Config: { text: "a", number: 1.5, list: [true, null, { deep: "b" }] },
    Upstreams: [{ DestinationType: "service", DestinationName: "db", LocalBindPort: 9191, Config: { x: "y" } }],
    MeshGateway: { Mode: "local" },
    Expose: { Checks: true, Paths: [{ ListenerPort: 1, Path: "/p", LocalPathPort: 2, Protocol: "http" }] },
  },
};

const registration = {
  kind: "register",
  node: "n1",
  id: "0b2ab1a5-6f0c-4a2e-9d34-111111111111",
  address: "10.0.0.1",
  datacenter: "dc1",
  taggedAddresses: { lan: "10.0.0.1" },
  nodeMeta: { rack: "r1" },
  skipNodeUpdate: false,
  now: 0,
} as const;

const check = (checkId: string, serviceId: string, status: string) => ({
  checkId,
  name: `Check ${checkId}`,
  status,
  notes: "notes",
  output: "output",
  serviceId,
  type: "http",
  definition: { HTTP: "http://a", Interval: "10s", Header: { Accept: ["a", "b"] }, TTL: 5_000_000_000, ScriptArgs: ["x"] },
});

const sessionId = "11111111-2222-3333-4444-555555555555";
const coordinate = { vec: [0, 0, 0, 0, 0, 0, 0, 1.25], error: 1.5, adjustment: 0, height: 1e-5 };

const setting: readonly Command[] = [
  { ...registration, service: web, checks: [check("c1", "", "passing"), check("c2", "web1", "critical")] },
  { ...registration, service: sidecar, checks: [] },
  {
    ...registration,
    node: "n2",
    id: "",
    address: "10.0.0.2",
    taggedAddresses: undefined,
    nodeMeta: undefined,
    service: undefined,
    checks: [],
  },
  {
    kind: "sessionCreate",
    session: {
      id: sessionId,
      name: "lock",
      node: "n1",
      lockDelay: 1500,
      behavior: "delete",
      ttl: "15s",
      nodeChecks: ["c1"],
      serviceChecks: [],
      checks: undefined,
    },
    now: 0,
  },
  { kind: "kv", op: { op: "set", key: "a/b", value: new Uint8Array([0, 255]), flags: 18446744073709551615n }, now: 0 },
  { kind: "kv", op: { op: "acquire", key: "a/c", value: utf8("held"), flags: 1, session: sessionId }, now: 0 },
  { kind: "kv", op: { op: "set", key: "empty", value: new Uint8Array(0), flags: 0 }, now: 0 },
  { kind: "coordinates", updates: [{ node: "n1", segment: "", coordinate }] },
];

const queries: readonly Query[] = [
  { kind: "kvGet", key: "a/b" },
  { kind: "kvGet", key: "a/c" },
  { kind: "kvGet", key: "empty" },
  { kind: "kvGet", key: "missing" },
  { kind: "kvList", prefix: "a/" },
  { kind: "kvList", prefix: "missing" },
  { kind: "kvKeys", prefix: "", separator: "/" },
  { kind: "kvKeys", prefix: "", separator: "" },
  { kind: "nodes" },
  { kind: "nodes", filter: "Node == n2" },
  { kind: "nodes", nodeMeta: { rack: "r1" } },
  { kind: "nodes", near: "n1" },
  { kind: "services" },
  { kind: "services", nodeMeta: { rack: "none" } },
  { kind: "nodeServices", node: "n1" },
  { kind: "nodeServices", node: "n1", filter: "Service == web" },
  { kind: "nodeServices", node: "missing" },
  { kind: "nodeChecks", node: "n1" },
  { kind: "serviceChecks", service: "web" },
  { kind: "checksInState", state: "any" },
  { kind: "checksInState", state: "critical" },
  { kind: "checkedInstances", service: "web", passingOnly: false },
  { kind: "checkedInstances", service: "web", passingOnly: true },
  { kind: "checkedInstances", service: "web", passingOnly: false, tags: ["rails", "v1"] },
  { kind: "checkedInstances", service: "web", passingOnly: false, tags: ["v2"] },
  { kind: "checkedInstances", service: "web", passingOnly: false, through: "connect" },
  { kind: "session", id: sessionId },
  { kind: "session", id: "11111111-2222-3333-4444-555555555556" },
  { kind: "sessions" },
  { kind: "nodeSessions", node: "n1" },
  { kind: "coordinates" },
  { kind: "coordinate", node: "n1" },
  {
    kind: "txnRead",
    ops: [{ on: "kv", verb: "get-tree", key: "a/", value: new Uint8Array(0), flags: 0, index: 0, session: "" }],
  },
];

async function pair(hosts: readonly string[] = [host]) {
  const served = await servedCatalog();
  for (const command of setting) assert.notEqual(served.apply(command).kind, "rejected");
  for (const each of hosts) await startServer(served, each);
  const client = await clientOf(served, hosts);
  const settle = <Result>(promise: Promise<Result>, limit?: number) => served.world.settle(promise, limit);
  return { served, settle, ...client };
}

const page = (key: string) => ({
  key: `test ${key}`,
  query: { kind: "kvGet", key } as const,
  options: { consistency: "default" } as const,
  render: (record: { readonly value: Uint8Array } | undefined) => ({ shown: record === undefined ? "" : String(record.value) }),
});

const methodsOf = (served: ServedCatalog) => served.calls.splice(0);

describe("a client agent's store", () => {
  it("answers every query as the server does", async () => {
    const { served, store, settle } = await pair();
    for (const query of queries) {
      const expected = served.catalog.evaluate(query);
      const { answer, meta } = await settle(store.read(query, { consistency: "default" }));
      assert.deepEqual(answer, expected.answer, JSON.stringify(query));
      if (query.kind !== "txnRead") assert.equal(meta.index, expected.index, JSON.stringify(query));
      assert.equal(meta.knownLeader, true);
    }
  });

  it("answers instances as the server does, but for the node's own indexes, which do not travel", async () => {
    const { served, store, settle } = await pair();
    const unapplied = { createIndex: 0, modifyIndex: 0 };
    const { answer } = await settle(
      store.read<"serviceInstances">({ kind: "serviceInstances", service: "web" }, { consistency: "stale" }),
    );
    const expected = served.catalog.evaluate<"serviceInstances">({ kind: "serviceInstances", service: "web" }).answer;
    assert.deepEqual(
      answer,
      expected.map(({ node, service }) => ({ node: { ...node, ...unapplied }, service })),
    );
    const found = await settle(store.read<"byAddress">({ kind: "byAddress", address: "10.0.0.9" }, { consistency: "stale" }));
    assert.deepEqual(found.answer.nodes, []);
    assert.deepEqual(
      found.answer.services.map(({ service }) => service.id),
      ["web1", "web1-sidecar"],
    );
    const node = await settle(store.read<"byAddress">({ kind: "byAddress", address: "10.0.0.2" }, { consistency: "stale" }));
    assert.deepEqual(
      node.answer.nodes.map((record) => record.node),
      ["n2"],
    );
  });

  it("writes what the server would have been asked to write", async () => {
    const { served, store, settle } = await pair();
    const write = (command: Command) => settle(store.write(command));
    const kv = (op: Extract<Command, { kind: "kv" }>["op"]): Command => ({ kind: "kv", op, now: 0 });
    const value = utf8("x");
    assert.deepEqual(await write(kv({ op: "set", key: "k", value, flags: 7 })), { kind: "took", effect: true });
    const { modifyIndex } = served.catalog.evaluate<"kvGet">({ kind: "kvGet", key: "k" }).answer ?? { modifyIndex: 0 };
    assert.deepEqual(await write(kv({ op: "cas", key: "k", value, flags: 7, index: 1 })), { kind: "took", effect: false });
    assert.deepEqual(await write(kv({ op: "cas", key: "k", value: utf8("y"), flags: 7, index: modifyIndex })), {
      kind: "took",
      effect: true,
    });
    assert.deepEqual(await write(kv({ op: "acquire", key: "k", value, flags: 0, session: sessionId })), {
      kind: "took",
      effect: true,
    });
    assert.deepEqual(await write(kv({ op: "release", key: "k", value, flags: 0, session: sessionId })), {
      kind: "took",
      effect: true,
    });
    assert.deepEqual(await write(kv({ op: "deleteCas", key: "k", index: 1 })), { kind: "took", effect: false });
    assert.deepEqual(await write(kv({ op: "delete", key: "k" })), { kind: "took", effect: true });
    assert.deepEqual(await write(kv({ op: "deleteTree", prefix: "a/" })), { kind: "took", effect: true });
    assert.equal(served.catalog.evaluate<"kvList">({ kind: "kvList", prefix: "a/" }).answer.length, 0);

    const again = { ...registration, node: "n3", id: "", service: sidecar, checks: [check("c9", "web1-sidecar", "warning")] };
    assert.deepEqual(await write(again), { kind: "done" });
    const n3 = served.catalog.evaluate<"nodeServices">({ kind: "nodeServices", node: "n3" }).answer;
    assert.deepEqual(
      n3?.services.map(({ proxy }) => proxy),
      [sidecar.proxy],
    );
    const [kept] = served.catalog.evaluate<"nodeChecks">({ kind: "nodeChecks", node: "n3" }).answer;
    assert.deepEqual(kept?.definition, check("", "", "").definition);
    assert.deepEqual(await write({ kind: "deregister", node: "n3", serviceId: undefined, checkId: "c9", now: 0 }), {
      kind: "done",
    });

    const created = await write({
      kind: "sessionCreate",
      session: {
        id: "",
        name: "s",
        node: "n1",
        lockDelay: 15_000,
        behavior: "release",
        ttl: "10s",
        nodeChecks: [],
        serviceChecks: undefined,
        checks: undefined,
      },
      now: 0,
    });
    const id = created.kind === "session" ? created.id : "";
    assert.equal(served.catalog.evaluate<"session">({ kind: "session", id }).answer?.lockDelay, 15_000);
    assert.equal(await settle(store.renewSession(id)), true);
    assert.deepEqual(await write({ kind: "sessionDestroy", id, now: 0 }), { kind: "done" });
    assert.equal(await settle(store.renewSession(id)), false);
  });

  it("sends transactions, and gets their results or errors", async () => {
    const { store, settle } = await pair();
    const kv = (verb: string, key: string): TxnOp =>
      ({ on: "kv", verb, key, value: utf8("t"), flags: 0, index: 0, session: "" }) as TxnOp;
    const {
      createIndex: _c,
      modifyIndex: _m,
      ...node
    } = {
      id: "",
      node: "t1",
      address: "10.1.1.1",
      datacenter: "dc1",
      taggedAddresses: undefined,
      meta: { a: "b" },
      createIndex: 0,
      modifyIndex: 0,
    };
    const done = await settle(
      store.write({
        kind: "txn",
        ops: [
          kv("set", "t"),
          kv("get", "t"),
          { on: "node", verb: "set", node: { ...node, modifyIndex: 0 } },
          { on: "service", verb: "set", node: "t1", service: { ...web, modifyIndex: 0 } },
          { on: "check", verb: "set", node: "t1", check: { ...check("tc", "", "passing"), modifyIndex: 0 } },
        ],
        now: 0,
      }),
    );
    assert.equal(done.kind, "txn");
    if (done.kind !== "txn") return;
    assert.deepEqual(done.errors, []);
    assert.deepEqual(
      done.results.map(({ on }) => on),
      ["kv", "kv", "node", "service", "check"],
    );
    const failed = await settle(store.write({ kind: "txn", ops: [kv("get", "none")], now: 0 }));
    assert.deepEqual(failed, { kind: "txn", results: [], errors: [{ opIndex: 0, what: `key "none" doesn't exist` }] });
  });

  it("a refusal of the server comes in its words, with Consul's prefix: of a write as its result", async () => {
    const { store, settle } = await pair();
    await assert.rejects(settle(store.read({ kind: "nodes", filter: "Foo == 3" }, { consistency: "default" })), {
      code: "rejected",
      message: 'rpc error making call: Failed to create boolean expression evaluator: Selector "Foo" is not valid',
    });
    await assert.rejects(settle(store.read({ kind: "nodes" }, { consistency: "default", datacenter: "dc9" })), {
      code: "no-datacenter",
      message: "rpc error making call: No path to datacenter",
    });
    const result = await settle(
      store.write({ kind: "kv", op: { op: "acquire", key: "k", value: utf8(""), flags: 0, session: "" }, now: 0 }),
    );
    assert.deepEqual(result, { kind: "rejected", message: "rpc error making call: missing session" });
  });

  it("knows of leader, peers and datacenters what the server knows", async () => {
    const { store, settle } = await pair();
    assert.equal(await settle(store.leader()), "127.0.0.1:8300");
    assert.deepEqual(await settle(store.peers()), ["127.0.0.1:8300"]);
    assert.deepEqual(await settle(store.datacenters()), ["dc1"]);
  });
});

describe("blocking queries of a client agent", () => {
  it("a hundred waiters of one key cost one call, and one change answers all", async () => {
    const { served, store, settle } = await pair();
    const first = await settle(store.readShared(page("a/b")));
    methodsOf(served);
    const waiting = Array.from({ length: 100 }, () =>
      store.readShared(page("a/b"), { minIndex: first.meta.index, wait: 60_000 }),
    );
    await served.world.pass(1000);
    assert.deepEqual(methodsOf(served), ["KVS.Get"]);
    served.set("a/b", "new");
    const answers = await settle(Promise.all(waiting), 1000);
    assert.equal(new Set(answers.map(({ rendered }) => rendered)).size, 1);
    assert.ok(answers.every(({ meta }) => meta.index > first.meta.index));
    assert.deepEqual(methodsOf(served), []);
  });

  it("who has seen less than the others is answered at once", async () => {
    const { served, store, settle } = await pair();
    const { meta } = await settle(store.readShared(page("a/b")));
    void store.readShared(page("a/b"), { minIndex: meta.index, wait: 60_000 });
    await served.world.pass(10);
    const late = await settle(store.readShared(page("a/b"), { minIndex: meta.index - 1, wait: 60_000 }), 1000);
    assert.equal(late.meta.index, meta.index);
  });

  it("a wait that ends without news gives what there is: the server's own end of it where one call serves it", async () => {
    const { served, store, settle } = await pair();
    const { meta } = await settle(store.readShared(page("a/b")));
    methodsOf(served);
    const start = served.world.now;
    const alone = await settle(store.readShared(page("a/b"), { minIndex: meta.index, wait: 10_000 }));
    assert.equal(alone.meta.index, meta.index);
    assert.ok(served.world.now - start >= 10_000 && served.world.now - start < 10_100);
    assert.deepEqual(methodsOf(served), ["KVS.Get"]);

    const long = store.readShared(page("a/b"), { minIndex: meta.index, wait: 60_000 });
    const short = await settle(store.readShared(page("a/b"), { minIndex: meta.index, wait: 5000 }), 7000);
    assert.equal(short.meta.index, meta.index);
    assert.deepEqual(methodsOf(served), ["KVS.Get", "KVS.Get"]);
    served.set("a/b", "news");
    assert.ok((await settle(long, 100)).meta.index > meta.index);
  });

  it("the last waiter to give up ends the call at the server", async () => {
    const { served, store, settle } = await pair();
    const { meta } = await settle(store.readShared(page("a/b")));
    const controllers = [new AbortController(), new AbortController()];
    const waiting = controllers.map((controller) =>
      store.readShared(page("a/b"), { minIndex: meta.index, wait: 60_000, cancel: controller.signal }),
    );
    const outcomes = Promise.allSettled(waiting);
    await served.world.pass(100);
    controllers[0]?.abort();
    await served.world.pass(100);
    controllers[1]?.abort();
    const settled = await settle(outcomes, 100);
    assert.ok(settled.every((outcome) => outcome.status === "rejected" && outcome.reason.code === "cancelled"));
    await served.world.pass(100);
    served.set("a/b", "nobody waits");
    assert.equal(await settle(store.leader()), "127.0.0.1:8300");
  });

  it("stopping tells who waits", async () => {
    const { served, store, settle } = await pair();
    const { meta } = await settle(store.readShared(page("a/b")));
    const waiting = store.readShared(page("a/b"), { minIndex: meta.index, wait: 60_000 });
    const outcome = assert.rejects(waiting, { code: "closed" });
    await served.world.pass(10);
    store.stop();
    await outcome;
  });
});

describe("the servers of a client agent", () => {
  it("none is known: Consul's words", async () => {
    const { store, settle } = await pair([]);
    await assert.rejects(settle(store.read({ kind: "nodes" }, { consistency: "stale" })), { message: "No known Consul servers" });
  });

  it("one that does not listen is passed over at once, for reads and writes", async () => {
    const { served, servers, store, settle } = await pair();
    servers.set([
      { name: "gone", address: { host: "127.0.0.2", port: 8300 } },
      { name: host, address: { host, port: 8300 } },
    ]);
    const start = served.world.now;
    await settle(store.read({ kind: "nodes" }, { consistency: "stale" }));
    servers.failed({ name: host, address: { host, port: 8300 } });
    assert.deepEqual(await settle(store.write({ kind: "kv", op: { op: "set", key: "w", value: utf8(""), flags: 0 }, now: 0 })), {
      kind: "took",
      effect: true,
    });
    assert.ok(served.world.now - start < 1000);
  });

  it("all are gone: the error of the last attempt, after the hold timeout", async () => {
    const { served, servers, store, settle } = await pair([]);
    servers.set([{ name: "gone", address: { host: "127.0.0.2", port: 8300 } }]);
    const start = served.world.now;
    await assert.rejects(settle(store.read({ kind: "nodes" }, { consistency: "stale" })), {
      message: "rpc error getting client: failed to get conn: dial tcp 127.0.0.2:8300: connect: connection refused",
    });
    const took = served.world.now - start;
    assert.ok(took >= 7000 && took < 7600, `${took}`);
  });

  it("without a leader a call is held for 7 s, and goes through when one is found", async () => {
    const { served, store, settle } = await pair();
    served.leading = false;
    const start = served.world.now;
    await assert.rejects(settle(store.read({ kind: "nodes" }, { consistency: "default" })), {
      code: "no-leader",
      message: "rpc error making call: No cluster leader",
    });
    assert.ok(served.world.now - start >= 7000);
    const held = store.write({ kind: "kv", op: { op: "set", key: "w", value: utf8(""), flags: 0 }, now: 0 });
    await served.world.pass(3000);
    served.leading = true;
    assert.deepEqual(await settle(held, 1000), { kind: "took", effect: true });
  });

  it("a connection that ends: a read is made again elsewhere, a write is not", async () => {
    const served = await servedCatalog();
    const holding = new Map(served.handlers);
    holding.set("KVS.Get", () => new Promise(() => {}));
    holding.set("KVS.Apply", () => new Promise(() => {}));
    const dying = await startServer({ ...served, handlers: holding } as ServedCatalog, "127.0.0.2");
    await startServer(served, host);
    const { store, servers } = await clientOf(served, []);
    servers.set([{ name: "dying", address: { host: "127.0.0.2", port: 8300 } }]);
    const write = store.write({ kind: "kv", op: { op: "set", key: "w", value: utf8(""), flags: 0 }, now: 0 });
    const outcome = write.then(
      () => "",
      (error: Error) => error.message,
    );
    const read = store.read({ kind: "kvGet", key: "a" }, { consistency: "stale" });
    await served.world.pass(100);
    servers.set([
      { name: "dying", address: { host: "127.0.0.2", port: 8300 } },
      { name: host, address: { host, port: 8300 } },
    ]);
    await dying.stop();
    assert.match(await served.world.settle(outcome), /^rpc error making call: /);
    assert.equal((await served.world.settle(read)).answer, undefined);
  });

  it("every two to three minutes another order is drawn, with a server in front that answers", async () => {
    const { served, servers, lines } = await pair();
    servers.set([
      { name: "gone", address: { host: "127.0.0.2", port: 8300 } },
      { name: host, address: { host, port: 8300 } },
    ]);
    methodsOf(served);
    await served.world.pass(181_000);
    assert.deepEqual(methodsOf(served), ["Status.Ping"]);
    assert.equal(servers.first()?.name, host);
    assert.ok(lines.includes("debug: Rebalanced servers, new active server"));
    servers.stop();
  });
});
