/**
 * Consul 1.8's methods on the server port, answered from our store: what real client agents, and our own, ask of a server.
 *
 *   call ──► RpcServer ──fields──► handler ──Query, Command──► StoreApi ──answer──► reply
 *                                     └─ core/rpc/endpoints: the structs, both ways
 *
 * A read's reply is encoded once per change, however many agents wait for it: the encoding is what the store's shared
 * reads keep. Errors are thrown with Consul's text; the server writes it into the reply.
 *
 * What is not built is answered as by a Consul that has it switched off, or refused by name.
 */
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { QueryKind } from "../catalog/queries.ts";
import { sessionFault } from "../catalog/validate-session.ts";
import type { Fields } from "../codec/fields.ts";
import { type Encodable, Encoded, encode } from "../codec/msgpack.ts";
import type { AgentConfig } from "../config/config.ts";
import type { AutopilotApi, ClusterApi, KeyringApi, ReadMeta, ReadOptions, SharedRead, StoreApi } from "../plugin/agent-api.ts";
import { type Clock, type Crypto, type Logger, uuid } from "../ports/mod.ts";
import { encodeDatacenterMaps } from "../rpc/endpoints/datacenter-maps.ts";
import { decodeQueryOptions, encodeQueryMeta } from "../rpc/endpoints/query-options.ts";
import { instancesByAddress, type ReadMethod, readMethods, sessionId } from "../rpc/endpoints/reads.ts";
import { encodeSession } from "../rpc/endpoints/wire-records.ts";
import {
  decodeCoordinateUpdate,
  decodeDeregister,
  decodeKvOp,
  decodeRegister,
  decodeSessionOp,
  decodeTxn,
  encodeKvResult,
  encodeTxnResult,
} from "../rpc/endpoints/writes.ts";
import type { RpcCall, RpcHandler } from "../rpc/server.ts";
import { AgentError } from "../types/errors.ts";
import { CoordinateBatch } from "./coordinate-batch.ts";
import { dumpHandlers } from "./rpc-dumps.ts";
import { keyringHandlers } from "./rpc-keyring.ts";
import { operatorHandlers } from "./rpc-operator.ts";
import { refusals } from "./rpc-refusals.ts";
import { requestDatacenter } from "./rpc-request.ts";

export interface RpcEndpointsOptions {
  readonly store: StoreApi;
  readonly cluster: ClusterApi;
  /** Absent: its methods are unknown. */
  readonly autopilot?: AutopilotApi;
  readonly config: () => AgentConfig;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly logger: Logger;
  /** For Status.RaftStats. Absent: that method is refused. */
  readonly raftStats?: () => { readonly lastContact: string; readonly lastIndex: number; readonly lastTerm: number };
  /** Gossips a user event, named without prefix, with its payload as agents read it. Absent: Internal.EventFire is refused. */
  readonly fireEvent?: (name: string, payload: Uint8Array) => Promise<void>;
  /** Absent: Internal.KeyringOperation is refused. */
  readonly keyring?: KeyringApi;
}

export interface RpcEndpoints {
  /** By "Service.Method". */
  readonly handlers: ReadonlyMap<string, RpcHandler>;
  /** Ends what waits to be written. */
  stop(): void;
}

export function rpcEndpoints(options: RpcEndpointsOptions): RpcEndpoints {
  const coordinates = new CoordinateBatch({
    clock: options.clock,
    logger: options.logger,
    write: (command) => options.store.write(command),
  });
  const handlers = new Map<string, RpcHandler>([
    ...refusals,
    ...[...readMethods].map(([name, method]) => [name, (args, call) => read(options, method, args, call)] as NamedHandler),
    ...dumpHandlers(options.store),
    ...statusHandlers(options),
    ...operatorHandlers(options.cluster, options.autopilot),
    ...(options.keyring === undefined ? [] : keyringHandlers(options.keyring)),
    ...writeHandlers(options, coordinates),
    ...sessionHandlers(options),
    ...emptyHandlers(options),
  ]);
  const byName = handlers.get(instancesByAddress.method);
  handlers.set(instancesByAddress.method, (args, call) => {
    if (args.text("ServiceAddress") === "" && byName !== undefined) return byName(args, call);
    return read(options, instancesByAddress as unknown as ReadMethod, args, call);
  });
  return { handlers, stop: () => coordinates.stop() };
}

type NamedHandler = readonly [method: string, handler: RpcHandler];

const none: Encodable = {};

/** A reply's own fields, encoded. */
interface EncodedReply {
  readonly fields: { readonly [field: string]: Encoded };
  readonly bytes: number;
}

async function read(options: RpcEndpointsOptions, method: ReadMethod, args: Fields, call: RpcCall): Promise<Encodable> {
  const { store, config } = options;
  const { consistency, token, minIndex, wait } = decodeQueryOptions(args);
  const readOptions: ReadOptions = { consistency, datacenter: requestDatacenter(args), token };
  const query = method.decode(args, config().datacenter);
  const request: SharedRead<QueryKind, EncodedReply> = {
    key: `rpc\n${method.method}\n${consistency}\n${readOptions.datacenter ?? ""}\n${token}\n${JSON.stringify(query, plain)}`,
    query,
    options: readOptions,
    render: (answer) => encodedReply(method.encodeAnswer(answer, query)),
  };
  const shared = await store.readShared(request, { minIndex, wait, cancel: call.cancel });
  return { ...encodeQueryMeta(metaOf(method.kind, shared.meta)), ...shared.rendered.fields };
}

/** A transaction's answer has no index. */
function metaOf(kind: QueryKind, meta: ReadMeta): ReadMeta {
  return kind === "txnRead" ? { ...meta, index: 0 } : meta;
}

function encodedReply(fields: { readonly [field: string]: Encodable }): EncodedReply {
  let bytes = 0;
  const encoded = Object.entries(fields).map(([name, value]): [string, Encoded] => {
    const written = encode(value);
    bytes += written.length;
    return [name, new Encoded(written)];
  });
  return { fields: Object.fromEntries(encoded), bytes };
}

/** Queries as text: what JSON has no form for. */
function plain(_name: string, value: unknown): unknown {
  if (typeof value === "bigint") return `${value}n`;
  return value instanceof Uint8Array ? [...value] : value;
}

async function write(options: RpcEndpointsOptions, command: Command, args: Fields, call: RpcCall): Promise<CommandResult> {
  const datacenter = requestDatacenter(args);
  const result = await options.store.write(command, { datacenter, token: args.text("Token"), cancel: call.cancel });
  if (result.kind === "rejected") throw new AgentError("rejected", { message: result.message });
  return result;
}

function writeHandlers(options: RpcEndpointsOptions, coordinates: CoordinateBatch): readonly NamedHandler[] {
  const { store } = options;
  const now = (): number => store.now();
  return [
    [
      "Catalog.Register",
      async (args, call) => {
        await write(options, decodeRegister(args, now()), args, call);
        return none;
      },
    ],
    [
      "Catalog.Deregister",
      async (args, call) => {
        await write(options, decodeDeregister(args, now()), args, call);
        return none;
      },
    ],
    [
      "KVS.Apply",
      async (args, call) => {
        requestDatacenter(args);
        const op = decodeKvOp(args);
        return encodeKvResult(op, await write(options, { kind: "kv", op, now: now() }, args, call));
      },
    ],
    ["Txn.Apply", async (args, call) => encodeTxnResult(await write(options, decodeTxn(args, now()), args, call))],
    [
      "Coordinate.Update",
      async (args, call) => {
        const datacenter = requestDatacenter(args);
        const update = decodeCoordinateUpdate(args);
        if (datacenter === options.config().datacenter) coordinates.add(update);
        else await write(options, { kind: "coordinates", updates: [update] }, args, call);
        return none;
      },
    ],
  ];
}

function sessionHandlers(options: RpcEndpointsOptions): readonly NamedHandler[] {
  const { store, config, crypto } = options;
  return [
    [
      "Session.Apply",
      async (args, call) => {
        requestDatacenter(args);
        const request = decodeSessionOp(args);
        if (request.op === "destroy") {
          await write(options, { kind: "sessionDestroy", id: request.id, now: store.now() }, args, call);
          return "";
        }
        const fault = sessionFault(request.session, config().sessionTtlMin);
        if (fault !== undefined) throw new AgentError("rejected", { message: fault });
        const session = { ...request.session, id: uuid(crypto) };
        const result = await write(options, { kind: "sessionCreate", session, now: store.now() }, args, call);
        return result.kind === "session" ? result.id : session.id;
      },
    ],
    [
      "Session.Renew",
      async (args, call) => {
        const where = { datacenter: requestDatacenter(args), token: args.text("Token"), cancel: call.cancel };
        const id = sessionId(args);
        const { answer, meta } = await store.read<"session">({ kind: "session", id }, { consistency: "default", ...where });
        const renewed = answer !== undefined && (await store.renewSession(id, where));
        // Consul fills in no more of the meta here.
        const said = encodeQueryMeta({ index: renewed ? meta.index : 0, knownLeader: false, lastContact: 0 });
        return { ...said, Sessions: renewed ? [encodeSession(answer)] : null };
      },
    ],
  ];
}

function statusHandlers(options: RpcEndpointsOptions): readonly NamedHandler[] {
  const { cluster, raftStats, fireEvent } = options;
  const handlers: NamedHandler[] = [
    ["Status.Ping", async () => none],
    ["Status.Leader", async () => cluster.leader()],
    ["Status.Peers", async () => [...cluster.peers()]],
    ["Catalog.ListDatacenters", async () => [...cluster.datacenters()]],
    ["Coordinate.ListDatacenters", async () => encodeDatacenterMaps((await cluster.datacenterMaps?.()) ?? [])],
  ];
  if (raftStats !== undefined)
    handlers.push([
      "Status.RaftStats",
      async () => {
        const { lastContact, lastIndex, lastTerm } = raftStats();
        return { LastContact: lastContact, LastIndex: lastIndex, LastTerm: lastTerm };
      },
    ]);
  if (fireEvent !== undefined)
    handlers.push([
      "Internal.EventFire",
      async (args) => {
        requestDatacenter(args);
        await fireEvent(args.text("Name"), args.bytes("Payload") ?? new Uint8Array(0));
        return encodeQueryMeta({ index: 0, knownLeader: true, lastContact: 0 });
      },
    ]);
  return handlers;
}

/** Lists of things that cannot be made here, and so are empty. */
function emptyHandlers({ store }: RpcEndpointsOptions): readonly NamedHandler[] {
  const empty =
    (fields: { readonly [field: string]: Encodable }): RpcHandler =>
    async (args) => {
      const { consistency, token } = decodeQueryOptions(args);
      const where = { consistency, token, datacenter: requestDatacenter(args) };
      // For its meta, and to be refused where no read is answered.
      const { meta } = await store.read<"coordinate">({ kind: "coordinate", node: "" }, where);
      return { ...encodeQueryMeta({ ...meta, index: 1 }), ...fields };
    };
  return [
    ["PreparedQuery.List", empty({ Queries: null })],
    ["Intention.List", empty({ Intentions: [] })],
    ["Catalog.GatewayServices", empty({ Services: null })],
  ];
}
