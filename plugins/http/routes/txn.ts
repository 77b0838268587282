/** /v1/txn: several operations at once, all or none. */
import type { TxnKvVerb, TxnOp, TxnResult, TxnVerb } from "../../../core/catalog/commands.ts";
import { isReadOnly } from "../../../core/catalog/txn.ts";
import type { ReadMeta } from "../../../core/plugin/agent-api.ts";
import { emptyBytes } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { checkFields, fields, healthCheck, nodeService, number, rejected, serviceFields, stringMap, text } from "../bodies.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import {
  bytes,
  type Decoded,
  type DecodedFields,
  decode,
  JsonError,
  map,
  readJson,
  slice,
  string,
  struct,
  uint64,
} from "../json-decode.ts";
import { jsonArray, jsonString } from "../json-write.ts";
import { isPretty, readParameters, writeOptions } from "../query.ts";
import { jsonReply, Refusal } from "../reply.ts";
import { txnResultJson } from "../shapes.ts";

/** Operations in one transaction. */
const opsMax = 64;

const txnOps = slice(
  struct("api.TxnOp", {
    KV: struct("api.KVTxnOp", { Verb: string, Key: string, Value: bytes, Flags: uint64, Index: uint64, Session: string }),
    Node: struct("api.NodeTxnOp", {
      Verb: string,
      Node: struct("api.Node", {
        ID: string,
        Node: string,
        Address: string,
        Datacenter: string,
        TaggedAddresses: map(string),
        Meta: map(string),
        CreateIndex: uint64,
        ModifyIndex: uint64,
      }),
    }),
    Service: struct("api.ServiceTxnOp", { Verb: string, Node: string, Service: nodeService }),
    Check: struct("api.CheckTxnOp", { Verb: string, Check: healthCheck }),
  }),
  "api.TxnOps",
);

export function txnRoutes(context: ApiContext): readonly Route[] {
  return [{ path: "/v1/txn", methods: ["PUT"], handle: (request) => transact(context, request) }];
}

async function transact(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { agent } = context;
  const ops = await readOps(context, request);
  const pretty = isPretty(request, agent);
  if (isReadOnly(ops)) {
    const { options } = readParameters(request, agent);
    const { meta, answer } = await agent.store.read<"txnRead">({ kind: "txnRead", ops }, options);
    const known = [
      "X-Consul-Knownleader",
      meta.knownLeader ? "true" : "false",
      "X-Consul-Lastcontact",
      String(Math.trunc(meta.lastContact)),
    ];
    return jsonReply(outcomeJson(answer, meta), pretty, answer.errors.length > 0 ? 409 : 200, known);
  }
  const result = await agent.store.write({ kind: "txn", ops, now: agent.store.now() }, writeOptions(request, agent));
  if (result.kind === "rejected") throw rejected(result.message);
  if (result.kind !== "txn") throw rejected("the transaction gave no result");
  return jsonReply(outcomeJson(result, undefined), pretty, result.errors.length > 0 ? 409 : 200);
}

interface Outcome {
  readonly results: readonly TxnResult[];
  readonly errors: readonly { readonly opIndex: number; readonly what: string }[];
}

function outcomeJson({ results, errors }: Outcome, meta: ReadMeta | undefined): string {
  const shown = errors.length > 0 ? "null" : jsonArray(results, txnResultJson);
  const problems =
    errors.length === 0 ? "null" : jsonArray(errors, (error) => `{"OpIndex":${error.opIndex},"What":${jsonString(error.what)}}`);
  const tail =
    meta === undefined
      ? ""
      : `,"Index":0,"LastContact":${Math.trunc(meta.lastContact)},"KnownLeader":${meta.knownLeader},"ConsistencyLevel":""`;
  return `{"Results":${shown},"Errors":${problems}${tail}}`;
}

async function readOps(context: ApiContext, request: HttpRequest): Promise<readonly TxnOp[]> {
  const { limits } = context.agent.config;
  const bytesMax = Math.max(limits.txnMaxReqLen, limits.kvMaxValueSize);
  const given = await decodeOps(request, bytesMax);
  if (given.length > opsMax) throw new Refusal(413, `Transaction contains too many operations (${given.length} > ${opsMax})`);
  return given.flatMap((op) => txnOp(op, limits.kvMaxValueSize, context.agent.config.datacenter));
}

async function decodeOps(request: HttpRequest, bytesMax: number): Promise<readonly DecodedFields[]> {
  try {
    const decoded = decode(txnOps, readJson(await request.body(bytesMax)), { unknownFields: "refuse" });
    return Array.isArray(decoded) ? (decoded as readonly Decoded[]).map((op) => fields(op) ?? {}) : [];
  } catch (error) {
    if (error instanceof JsonError) throw new Refusal(400, `Failed to parse body: ${error.message}`);
    if (error instanceof AgentError && error.code === "too-large") {
      throw new Refusal(413, `${error.message} See https://www.consul.io/docs/agent/options.html#txn_max_req_len.`);
    }
    throw error;
  }
}

/** Of several in one object Consul takes the first of KV, Node, Service, Check; of none it makes nothing. */
function txnOp(op: DecodedFields, valueBytesMax: number, datacenter: string): TxnOp[] {
  const kv = fields(op["KV"]);
  if (kv !== undefined) return [kvTxnOp(kv, valueBytesMax)];
  const node = fields(op["Node"]);
  if (node !== undefined) return [nodeTxnOp(node, datacenter)];
  const service = fields(op["Service"]);
  if (service !== undefined) return [serviceTxnOp(service)];
  const check = fields(op["Check"]);
  return check === undefined ? [] : [checkTxnOp(check)];
}

function kvTxnOp(given: DecodedFields, valueBytesMax: number): TxnOp {
  const value = given["Value"] instanceof Uint8Array ? given["Value"] : emptyBytes;
  const key = text(given["Key"]);
  if (value.length > valueBytesMax)
    throw new Refusal(413, `Value for key ${jsonString(key)} is too large (${value.length} > ${valueBytesMax} bytes)`);
  return {
    on: "kv",
    verb: text(given["Verb"]) as TxnKvVerb,
    key,
    value,
    flags: typeof given["Flags"] === "bigint" ? given["Flags"] : number(given["Flags"]),
    index: number(given["Index"]),
    session: text(given["Session"]),
  };
}

function nodeTxnOp(given: DecodedFields, datacenter: string): TxnOp {
  const node = fields(given["Node"]) ?? {};
  return {
    on: "node",
    verb: text(given["Verb"]) as TxnVerb,
    node: {
      id: text(node["ID"]),
      node: text(node["Node"]),
      address: text(node["Address"]),
      datacenter: text(node["Datacenter"]) || datacenter,
      taggedAddresses: stringMap(node["TaggedAddresses"]),
      meta: stringMap(node["Meta"]),
      modifyIndex: number(node["ModifyIndex"]),
    },
  };
}

function serviceTxnOp(given: DecodedFields): TxnOp {
  const service = fields(given["Service"]) ?? {};
  return {
    on: "service",
    verb: text(given["Verb"]) as TxnVerb,
    node: text(given["Node"]),
    service: { ...serviceFields(service), modifyIndex: number(service["ModifyIndex"]) },
  };
}

function checkTxnOp(given: DecodedFields): TxnOp {
  const check = fields(given["Check"]) ?? {};
  return {
    on: "check",
    verb: text(given["Verb"]) as TxnVerb,
    node: text(check["Node"]),
    check: { ...checkFields(check), modifyIndex: number(check["ModifyIndex"]) },
  };
}
