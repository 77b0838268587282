/** Commands over few names, so that they meet: for properties that hold whatever was applied. */
import { fc } from "../../support/property.ts";
import type { Command, KvOp, TxnOp } from "../../../core/catalog/commands.ts";
import { utf8 } from "../../../core/types/bytes.ts";

export const anyKey = fc.constantFrom("a", "a/", "a/b", "a/b/c", "a/c", "b", "b/a", "é", "😀");
const anyNode = fc.constantFrom("n1", "n2", "N2");
const anyService = fc.constantFrom("web", "db", "proxy");
const anyStatus = fc.constantFrom("passing", "warning", "critical");
export const sessionIds = [1, 2, 3].map((number) => `5e551011-0000-0000-0000-00000000000${number}`);
const anySession = fc.constantFrom(...sessionIds);
const anyValue = fc.constantFrom("", "v", "w").map(utf8);
const anyIndex = fc.nat(40);
const now = fc.nat(40).map((step) => 1_000_000 + step * 1000);

export const anyKvOp: fc.Arbitrary<KvOp> = fc.oneof(
  fc.record({ op: fc.constant("set" as const), key: anyKey, value: anyValue, flags: fc.nat(2) }),
  fc.record({ op: fc.constant("cas" as const), key: anyKey, value: anyValue, flags: fc.nat(2), index: anyIndex }),
  fc.record({
    op: fc.constantFrom("acquire" as const, "release" as const),
    key: anyKey,
    value: anyValue,
    flags: fc.nat(2),
    session: anySession,
  }),
  fc.record({ op: fc.constant("delete" as const), key: anyKey }),
  fc.record({ op: fc.constant("deleteCas" as const), key: anyKey, index: anyIndex }),
  fc.record({ op: fc.constant("deleteTree" as const), prefix: fc.constantFrom("a/", "a/b", "b", "") }),
);

const anyServiceFields = fc
  .record({ name: anyService, tags: fc.subarray(["x", "y"]), port: fc.nat(2) })
  .map(({ name, tags, port }) => ({
    kind: name === "proxy" ? "connect-proxy" : "",
    id: name === "proxy" ? "p1" : `${name}${port % 2}`,
    service: name,
    tags,
    address: "",
    taggedAddresses: undefined,
    meta: undefined,
    port: port + 1,
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
    proxy: name === "proxy" ? { DestinationServiceName: port === 0 ? "web" : "db" } : undefined,
    connectNative: false,
  }));

const anyCheck = fc
  .record({ id: fc.constantFrom("c1", "c2", "serfHealth"), status: anyStatus, of: fc.constantFrom("", "", "web0", "db1") })
  .map(({ id, status, of }) => ({
    checkId: id,
    name: id,
    status,
    notes: "",
    output: "",
    serviceId: of,
    type: "",
    definition: {},
  }));

const anyTxnOp: fc.Arbitrary<TxnOp> = fc.oneof(
  fc.record({
    on: fc.constant("kv" as const),
    verb: fc.constantFrom(
      "set",
      "cas",
      "lock",
      "unlock",
      "get",
      "check-index",
      "check-not-exists",
      "delete",
      "delete-tree",
      "delete-cas",
    ),
    key: anyKey,
    value: anyValue,
    flags: fc.constant(0),
    index: anyIndex,
    session: anySession,
  }),
  fc.record({
    on: fc.constant("service" as const),
    verb: fc.constantFrom("set", "delete", "cas"),
    node: anyNode,
    service: anyServiceFields.map((fields) => ({ ...fields, modifyIndex: 0 })),
  }),
  fc.record({
    on: fc.constant("check" as const),
    verb: fc.constantFrom("set", "delete", "cas"),
    node: anyNode,
    check: anyCheck.map((fields) => ({ ...fields, modifyIndex: 0 })),
  }),
);

export const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("kv" as const), op: anyKvOp, now }) },
  {
    weight: 6,
    arbitrary: fc
      .record({
        node: anyNode,
        id: fc.constantFrom("", "10de0000-0000-0000-0000-000000000000", "20de0000-0000-0000-0000-000000000000"),
        address: fc.constantFrom("10.0.0.1", "10.0.0.2"),
        rack: fc.constantFrom("r1", "r2"),
        skipNodeUpdate: fc.boolean(),
        service: fc.option(anyServiceFields, { nil: undefined }),
        checks: fc.array(anyCheck, { maxLength: 2 }),
        now,
      })
      .map(({ rack, ...rest }) => ({
        kind: "register" as const,
        datacenter: "dc1",
        taggedAddresses: undefined,
        nodeMeta: { rack },
        ...rest,
      })),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("deregister" as const),
      node: anyNode,
      serviceId: fc.constantFrom(undefined, "web0", "db1", "p1"),
      checkId: fc.constantFrom(undefined, "c1"),
      now,
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({
        id: anySession,
        node: anyNode,
        behavior: fc.constantFrom("release" as const, "delete" as const),
        checks: fc.subarray(["c1", "c2"]),
        now,
      })
      .map(({ id, node, behavior, checks, now: at }) => ({
        kind: "sessionCreate" as const,
        session: {
          id,
          name: "",
          node,
          lockDelay: 5000,
          behavior,
          ttl: "",
          nodeChecks: checks,
          serviceChecks: undefined,
          checks: undefined,
        },
        now: at,
      })),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("sessionDestroy" as const), id: anySession, now }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("txn" as const), ops: fc.array(anyTxnOp, { minLength: 1, maxLength: 4 }), now }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("tombstonesReap" as const), index: anyIndex }) },
  {
    weight: 1,
    arbitrary: fc.record({ node: anyNode, at: fc.nat(3) }).map(({ node, at }) => ({
      kind: "coordinates" as const,
      updates: [{ node, segment: "", coordinate: { vec: [at, 0], error: 1, adjustment: 0, height: 0 } }],
    })),
  },
);
