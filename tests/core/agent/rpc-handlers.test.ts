import { fc } from "../../support/property.ts";
import { CoordinateBatch } from "../../../core/agent/coordinate-batch.ts";
import type { Command } from "../../../core/catalog/commands.ts";
import { Fields } from "../../../core/codec/fields.ts";
import { decode, type Encodable, encode, Malformed, type Value } from "../../../core/codec/msgpack.ts";
import { CancelSource } from "../../../core/rpc/cancel-source.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { recordingLogger, servedCatalog, type ServedCatalog } from "./rpc-pair.ts";

type Shown = null | boolean | number | bigint | string | readonly Shown[] | { readonly [key: string]: Shown };

/** Bytes as text, maps as objects. */
function shown(value: Value): Shown {
  if (value instanceof Uint8Array) return new TextDecoder().decode(value);
  if (Array.isArray(value)) return (value as readonly Value[]).map(shown);
  if (value instanceof Map)
    return Object.fromEntries([...(value as ReadonlyMap<string, Value>)].map(([key, item]) => [key, shown(item)]));
  return value as null | boolean | number | bigint;
}

async function ask(
  { handlers }: ServedCatalog,
  method: string,
  args: Encodable,
  cancel = new CancelSource(),
): Promise<{ readonly [key: string]: Shown }> {
  const handler = handlers.get(method);
  assert.ok(handler, method);
  const from = { host: "127.0.0.9", port: 1 };
  const body = await handler(new Fields(decode(encode(args))), { method, from, cancel });
  return shown(decode(encode(body))) as { readonly [key: string]: Shown };
}

const dc = { Datacenter: "dc1" };
const coord = { Vec: [0, 0, 0, 0, 0, 0, 0, 0.5], Error: 1.5, Adjustment: 0, Height: 0 };
const unknownSession = "11111111-1111-1111-1111-111111111111";

/** As Consul 1.8.7 answered the same requests. */
const refusals: readonly (readonly [method: string, args: Encodable, text: string])[] = [
  ["KVS.Get", { Key: "a" }, "No path to datacenter"],
  ["KVS.Get", { Datacenter: "dc9", Key: "a" }, "No path to datacenter"],
  ["Coordinate.Update", { Node: "n" }, "No path to datacenter"],
  ["Operator.RaftGetConfiguration", {}, "No path to datacenter"],
  ["Operator.RaftRemovePeerByAddress", dc, 'address "" was not found in the Raft configuration'],
  ["Operator.RaftRemovePeerByID", { ...dc, ID: "x" }, 'id "x" was not found in the Raft configuration'],
  ["KVS.Apply", dc, "Must provide key"],
  ["KVS.Apply", { ...dc, Op: "set", DirEnt: { Key: "" } }, "Must provide key"],
  ["KVS.Apply", { ...dc, Op: "frob", DirEnt: { Key: "x" } }, "Invalid KVS operation 'frob'"],
  ["KVS.Apply", { ...dc, Op: "lock", DirEnt: { Key: "x" } }, "missing session"],
  [
    "KVS.Apply",
    { ...dc, Op: "lock", DirEnt: { Key: "x", Session: "nope" } },
    "failed session lookup: index error: UUID must be 36 characters",
  ],
  ["KVS.Apply", { ...dc, Op: "lock", DirEnt: { Key: "x", Session: unknownSession } }, `invalid session "${unknownSession}"`],
  ["Catalog.Register", dc, "Must provide node"],
  ["Catalog.Register", { ...dc, Node: "n" }, "Must provide address if SkipNodeUpdate is not set"],
  ["Catalog.Register", { ...dc, Node: "n", Address: "1.1.1.1", Service: { ID: "x" } }, "Must provide service name with ID"],
  [
    "Catalog.Register",
    { ...dc, Node: "n", Address: "1.1.1.1", Check: { Node: "m", CheckID: "c" } },
    'check node "m" does not match node "n"',
  ],
  [
    "Catalog.Register",
    { ...dc, Node: "n", Address: "1.1.1.1", Check: { CheckID: "c", ServiceID: "nope" } },
    'failed inserting check: Missing service registration on node "n"',
  ],
  ["Catalog.Register", { ...dc, ID: "bad", Node: "n", Address: "1.1.1.1" }, "Bad node ID: uuid string is wrong length"],
  ["Catalog.Deregister", dc, "Must provide node"],
  ["Catalog.NodeServices", dc, "Must provide node"],
  ["Catalog.NodeServiceList", dc, "Must provide node"],
  ["Catalog.ServiceNodes", dc, "Must provide service name"],
  ["Health.ServiceNodes", dc, "Must provide service name"],
  [
    "Catalog.ListNodes",
    { ...dc, Filter: "Foo == 3" },
    'Failed to create boolean expression evaluator: Selector "Foo" is not valid',
  ],
  ["Session.Apply", dc, "Invalid Session operation ''"],
  ["Session.Apply", { ...dc, Op: "foo", Session: { Node: "n" } }, "Invalid Session operation 'foo'"],
  ["Session.Apply", { ...dc, Op: "create", Session: {} }, "Must provide Node"],
  ["Session.Apply", { ...dc, Op: "create", Session: { Node: "nx" } }, "Missing node registration"],
  ["Session.Apply", { ...dc, Op: "create", Session: { Node: "n", Behavior: "foo" } }, "Invalid Behavior setting 'foo'"],
  [
    "Session.Apply",
    { ...dc, Op: "create", Session: { Node: "n", TTL: "5s" } },
    "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]",
  ],
  [
    "Session.Apply",
    { ...dc, Op: "create", Session: { Node: "n", TTL: "zz" } },
    "Session TTL 'zz' invalid: time: invalid duration \"zz\"",
  ],
  ["Session.Apply", { ...dc, Op: "destroy", Session: {} }, "Must provide ID"],
  [
    "Session.Apply",
    { ...dc, Op: "destroy", Session: { ID: "zz" } },
    "failed session lookup: index error: UUID must be 36 characters",
  ],
  ["Session.Get", dc, "failed session lookup: index error: UUID must be 36 characters"],
  ["Session.Renew", dc, "failed session lookup: index error: UUID must be 36 characters"],
  ["Coordinate.Update", { ...dc, Node: "n", Coord: { ...coord, Vec: [1] } }, "incompatible coordinate"],
  ["Coordinate.Update", { ...dc, Node: "n", Coord: { ...coord, Error: Number.NaN } }, "invalid coordinate"],
  ["ACL.TokenRead", dc, "ACL support disabled"],
  ["ACL.PolicyResolve", dc, "ACL support disabled"],
  ["ConnectCA.Roots", dc, "Connect must be enabled in order to use this endpoint"],
  ["PreparedQuery.Execute", { ...dc, QueryIDOrName: "q" }, "Query not found"],
];

describe("what a server refuses, in Consul's words", () => {
  for (const [method, args, text] of refusals) {
    it(`${method}: ${text}`, async () => {
      await assert.rejects(ask(await servedCatalog(), method, args), { message: text });
    });
  }

  it("what is not built is refused by name", async () => {
    const served = await servedCatalog();
    for (const method of ["ConfigEntry.Apply", "Intention.Apply", "PreparedQuery.Apply", "Internal.EventFire"])
      await assert.rejects(ask(served, method, dc), { message: `${method} is not supported by this server` });
  });
});

const meta = { ConsistencyLevel: "", Index: 1, KnownLeader: true, LastContact: 0 };

describe("what a server answers", () => {
  it("nothing found is nil, with the index that Consul gives", async () => {
    const served = await servedCatalog();
    assert.deepEqual(await ask(served, "KVS.Get", { ...dc, Key: "a" }), { ...meta, Entries: null });
    assert.deepEqual(await ask(served, "KVS.ListKeys", { ...dc, Prefix: "a" }), { ...meta, Keys: null });
    assert.deepEqual(await ask(served, "Catalog.ListNodes", dc), { ...meta, Nodes: null });
    assert.deepEqual(await ask(served, "Catalog.ListNodes", { ...dc, Filter: "Node == x" }), { ...meta, Nodes: [] });
    assert.deepEqual(await ask(served, "Catalog.NodeServices", { ...dc, Node: "n" }), { ...meta, NodeServices: null });
    assert.deepEqual(await ask(served, "Catalog.NodeServiceList", { ...dc, Node: "n" }), {
      ...meta,
      NodeServices: { Node: null, Services: null },
    });
    assert.deepEqual(await ask(served, "Internal.NodeInfo", { ...dc, Node: "n" }), { ...meta, Dump: null });
    assert.deepEqual(await ask(served, "Txn.Read", { ...dc, Ops: [] }), { ...meta, Index: 0, Results: [], Errors: null });
    assert.deepEqual(await ask(served, "Session.Renew", { ...dc, SessionID: unknownSession }), {
      ...meta,
      Index: 0,
      KnownLeader: false,
      Sessions: null,
    });
    assert.deepEqual(await ask(served, "PreparedQuery.List", dc), { ...meta, Queries: null });
  });

  it("a registration fills in what Consul fills in: the check's type and ID, the weights", async () => {
    const served = await servedCatalog();
    const checks = [
      { CheckID: "h", Definition: { HTTP: "x", Interval: 1e9 } },
      { CheckID: "no interval", Definition: { HTTP: "x" } },
      { CheckID: "t", Definition: { TTL: 1e9, TCP: "x", Interval: 1e9 } },
      { CheckID: "s", Definition: { ScriptArgs: ["a"] } },
      { CheckID: "d", Definition: { DockerContainerID: "d", ScriptArgs: ["a"], Interval: 1e9 } },
      { CheckID: "a", Definition: { AliasNode: "a", ScriptArgs: ["a"] } },
      { Name: "named", Type: "mine" },
    ];
    await ask(served, "Catalog.Register", { ...dc, Node: "n", Address: "1.1.1.1", Service: { Service: "s" }, Checks: checks });
    const { answer } = served.catalog.evaluate<"nodeChecks">({ kind: "nodeChecks", node: "n" });
    assert.deepEqual(
      answer.map(({ checkId, type }) => `${checkId}: ${type}`),
      ["a: alias", "d: docker", "h: http", "named: mine", "no interval: ", "s: script", "t: ttl"],
    );
    const service = served.catalog.evaluate<"nodeServices">({ kind: "nodeServices", node: "n" }).answer?.services[0];
    assert.deepEqual([service?.id, service?.weights], ["s", { passing: 1, warning: 1 }]);
  });

  it("an old client's one tag counts before its list, and only where it says so", async () => {
    const served = await servedCatalog();
    await ask(served, "Catalog.Register", { ...dc, Node: "n", Address: "1.1.1.1", Service: { Service: "s", Tags: ["a", "b"] } });
    const count = async (args: { readonly [field: string]: Encodable }): Promise<number> => {
      const { ServiceNodes } = await ask(served, "Catalog.ServiceNodes", { ...dc, ServiceName: "s", ...args });
      return ServiceNodes === null ? 0 : (ServiceNodes as readonly Shown[]).length;
    };
    assert.equal(await count({ TagFilter: true, ServiceTags: ["a", "b"] }), 1);
    assert.equal(await count({ TagFilter: true, ServiceTag: "A" }), 1);
    assert.equal(await count({ TagFilter: true, ServiceTag: "c" }), 0);
    assert.equal(await count({ TagFilter: false, ServiceTag: "c" }), 1);
    assert.equal(await count({ TagFilter: true, ServiceTags: ["c"], ServiceTag: "a" }), 1);
  });

  it("the UI's pages wait for whatever they show", async () => {
    const served = await servedCatalog();
    const { Index } = await ask(served, "Internal.NodeDump", dc);
    const waiting = ask(served, "Internal.NodeDump", { ...dc, MinQueryIndex: Index as number });
    await served.world.pass(1000);
    await ask(served, "Catalog.Register", {
      ...dc,
      Node: "n",
      Address: "1.1.1.1",
      Service: { Service: "s" },
      Check: { CheckID: "c", ServiceID: "s" },
    });
    const { Dump } = await served.world.settle(waiting, 1000);
    const [node] = Dump as readonly { readonly [key: string]: Shown }[];
    assert.equal(node?.["Node"], "n");
    assert.match(JSON.stringify(node), /"CheckID":"c".*"Service":"s"/);
    const all = await ask(served, "Internal.ServiceDump", dc);
    assert.equal((all["Nodes"] as readonly Shown[]).length, 1);
    assert.equal((await ask(served, "Internal.ServiceDump", { ...dc, UseServiceKind: true, ServiceKind: "x" }))["Nodes"], null);
    const cancel = new CancelSource();
    const left = ask(served, "Internal.NodeDump", { ...dc, MinQueryIndex: 1_000_000 }, cancel);
    const outcome = assert.rejects(left, { code: "cancelled" });
    await served.world.pass(10);
    cancel.abort("gone");
    await outcome;
  });

  it("the Raft peers come with the names gossip has for them", async () => {
    assert.deepEqual(await ask(await servedCatalog(), "Operator.RaftGetConfiguration", dc), {
      Index: 0,
      Servers: [
        {
          Address: "127.0.0.1:8300",
          ID: "0cf6e69d-cae7-7d98-bfb1-20909cacc9a8",
          Leader: true,
          Node: "s1",
          ProtocolVersion: "3",
          Voter: true,
        },
      ],
    });
  });
});

describe("coordinates of agents", () => {
  it("enter the log together after 5 s, the latest of each node; what is too much is dropped and said", async () => {
    const served = await servedCatalog();
    const update = (node: string, height: number) =>
      ask(served, "Coordinate.Update", { ...dc, Node: node, Coord: { ...coord, Height: height } });
    await ask(served, "Catalog.Register", { ...dc, Node: "n", Address: "1.1.1.1" });
    await update("n", 1);
    await update("n", 2);
    const { answer: before } = served.catalog.evaluate<"coordinates">({ kind: "coordinates" });
    await served.world.pass(5001);
    const { answer: after } = served.catalog.evaluate<"coordinates">({ kind: "coordinates" });
    assert.deepEqual([before.length, after.length, after[0]?.coordinate.height], [0, 1, 2]);

    const written: Command[] = [];
    const lines: string[] = [];
    const batch = new CoordinateBatch({
      clock: served.world.clock,
      logger: recordingLogger(lines),
      write: async (command) => {
        written.push(command);
        return { kind: "done" };
      },
    });
    const coordinate = { vec: [], error: 0, adjustment: 0, height: 0 };
    for (let node = 0; node < 700; node++) batch.add({ node: `n${node}`, segment: "", coordinate });
    await served.world.pass(5001);
    assert.equal(written.length, 5);
    assert.deepEqual(lines, ["warn: Discarded coordinate updates"]);
    batch.add({ node: "n", segment: "", coordinate });
    batch.stop();
    await served.world.pass(10_000);
    assert.equal(written.length, 5);
  });
});

describe("hostile requests", () => {
  const names = [
    "Datacenter",
    "Key",
    "Node",
    "Ops",
    "DirEnt",
    "Op",
    "Service",
    "Check",
    "Checks",
    "Session",
    "Coord",
    "Source",
    "Vec",
    "NodeMetaFilters",
    "MinQueryIndex",
    "Filter",
    "Proxy",
    "Definition",
    "Weights",
    "Header",
    "KV",
    "Verb",
    "ServiceTags",
    "TagFilter",
    "__proto__",
  ];
  const { value } = fc.letrec<{ value: Encodable; map: Encodable }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom("dc1", "set", "create", "a", ""),
      fc.integer(),
      fc.constant(2n ** 64n - 1n),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array({ maxLength: 8 }),
      fc.array(tie("value"), { maxLength: 4 }),
      tie("map"),
    ),
    map: fc.dictionary(fc.constantFrom(...names), tie("value"), { maxKeys: 6 }).map((fields) => new Map(Object.entries(fields))),
  }));

  it("any arguments are answered, or refused in words", async () => {
    const served = await servedCatalog();
    const methods = [...served.handlers.keys()];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...methods), fc.dictionary(fc.constantFrom(...names), value), async (method, args) => {
        const cancel = new CancelSource();
        cancel.abort("nobody waits");
        try {
          await ask(served, method, { ...args, Datacenter: "dc1" }, cancel);
        } catch (error) {
          assert.ok(error instanceof AgentError || error instanceof Malformed, String(error));
          assert.notEqual(error.message, "");
        }
      }),
      { numRuns: 2000 },
    );
  });
});
