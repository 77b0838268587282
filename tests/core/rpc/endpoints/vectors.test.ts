/** Our structs against calls recorded between a Consul 1.8.7 client agent and its server: read, and written back byte for byte. */
import type { Answers, QueryKind, QueryOf } from "../../../../core/catalog/queries.ts";
import { Fields } from "../../../../core/codec/fields.ts";
import { decode, type Encodable, encode, type Value, type ValueMap } from "../../../../core/codec/msgpack.ts";
import { sourceOf, ValueReader } from "../../../../core/codec/value-stream.ts";
import { readRequest, readResponse } from "../../../../core/rpc/codec.ts";
import {
  decodeQueryMeta,
  decodeQueryOptions,
  encodeQueryMeta,
  encodeQueryOptions,
} from "../../../../core/rpc/endpoints/query-options.ts";
import { type ReadMethod, readMethods } from "../../../../core/rpc/endpoints/reads.ts";
import {
  decodeCoordinateUpdate,
  decodeDeregister,
  decodeKvOp,
  decodeRegister,
  decodeSessionOp,
  decodeTxn,
  encodeKvResult,
  encodeTxnResult,
  writeCalls,
} from "../../../../core/rpc/endpoints/writes.ts";
import type { Command } from "../../../../core/catalog/commands.ts";
import { toHex } from "../../../../core/types/bytes.ts";
import { assert, describe, it } from "../../../support/harness.ts";
import { bytesOf, vectors } from "../../swim/support.ts";

/** What the recording agent says of itself beside what it asks; we leave it out. */
const ownWords = new Set(["MaxStaleDuration"]);

function comparable(value: Value): unknown {
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return (value as readonly Value[]).map(comparable);
  if (value instanceof Map) {
    const entries = [...(value as ValueMap)].filter(([key]) => !ownWords.has(key));
    return Object.fromEntries(entries.sort(([left], [right]) => (left < right ? -1 : 1)).map(([k, v]) => [k, comparable(v)]));
  }
  return value;
}

const asValue = (encodable: Encodable): Value => decode(encode(encodable));
const same = (ours: Encodable, theirs: Value) => assert.deepEqual(comparable(asValue(ours)), comparable(theirs));

async function call(file: string) {
  const [vector] = vectors(new RegExp(`-rpc-${file}\\.json$`));
  assert.ok(vector, file);
  const request = await readRequest(new ValueReader(sourceOf(bytesOf(vector.hex))));
  const response = await readResponse(new ValueReader(sourceOf(bytesOf(vector.response_hex as string))));
  assert.ok(request && response);
  return { request, response };
}

/** The network address of who asked: of use to prepared queries alone. */
function withoutSource(value: Value): Value {
  const map = new Map(value as ValueMap);
  if (map.get("Source") !== undefined) map.set("Source", asValue({ Datacenter: "", Ip: "", Node: "", Segment: "" }));
  return map;
}

const reads = [...readMethods.values()].filter(
  ({ method }) => !["Catalog.ServiceList", "Coordinate.Node", "Txn.Read"].includes(method),
);

describe("recorded reads", () => {
  for (const method of reads as readonly ReadMethod[]) {
    it(`${method.method}: the request is read and written as it was`, async () => {
      const { request } = await call(method.method.replace(".", "-"));
      const fields = new Fields(request.args);
      const query = method.decode(fields, "dc1");
      const options = encodeQueryOptions(decodeQueryOptions(fields), fields.text("Filter"));
      same({ Datacenter: "dc1", ...options, ...method.encode(query, "dc1") }, withoutSource(request.args));
    });

    it(`${method.method}: the reply is read and written as it was`, async () => {
      const { request, response } = await call(method.method.replace(".", "-"));
      const query = method.decode(new Fields(request.args), "dc1");
      const fields = new Fields(response.body);
      const answer = method.decodeAnswer(fields, query as QueryOf<QueryKind>) as Answers[QueryKind];
      const meta = encodeQueryMeta(decodeQueryMeta(fields));
      same({ ...meta, ...method.encodeAnswer(answer, query) }, response.body);
    });
  }
});

describe("recorded writes", () => {
  const commands: readonly [file: string, (fields: Fields) => Command][] = [
    ["Catalog-Register", (fields) => decodeRegister(fields, 0)],
    ["Catalog-Deregister", (fields) => decodeDeregister(fields, 0)],
    ["KVS-Apply", (fields) => ({ kind: "kv", op: decodeKvOp(fields), now: 0 })],
    ["Txn-Apply", (fields) => decodeTxn(fields, 0)],
    ["Coordinate-Update", (fields) => ({ kind: "coordinates", updates: [decodeCoordinateUpdate(fields)] })],
    [
      "Session-Apply",
      (fields) => {
        const request = decodeSessionOp(fields);
        assert.equal(request.op, "create");
        const session = request.op === "create" ? { ...request.session, id: "" } : undefined;
        assert.ok(session);
        return { kind: "sessionCreate", session, now: 0 };
      },
    ],
  ];
  for (const [file, read] of commands) {
    it(`${file.replace("-", ".")}: the request is read and written as it was`, async () => {
      const { request } = await call(file);
      const [write, ...others] = writeCalls(read(new Fields(request.args)));
      assert.equal(others.length, 0);
      assert.equal(write?.method, request.method);
      same({ Datacenter: "dc1", Token: "", ...write?.args }, request.args);
    });
  }

  it("KVS.Apply: an unconditional set is answered by false, and means that it took effect", async () => {
    const { request, response } = await call("KVS-Apply");
    const op = decodeKvOp(new Fields(request.args));
    assert.equal(response.body, false);
    assert.equal(encodeKvResult(op, { kind: "took", effect: true }), false);
    assert.deepEqual(writeCalls({ kind: "kv", op, now: 0 })[0]?.result(response.body), { kind: "took", effect: true });
  });

  it("Txn.Apply: results are read and written as they were", async () => {
    const { request, response } = await call("Txn-Apply");
    const [write] = writeCalls(decodeTxn(new Fields(request.args), 0));
    const result = write?.result(response.body);
    assert.ok(result);
    same(encodeTxnResult(result), response.body);
  });
});
