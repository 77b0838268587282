/**
 * The catalog as a client agent sees it: through the servers.
 *
 *   HTTP, DNS, anti-entropy ──StoreApi──► ClientStore ──┬─ one read, one call ───────────► ServerCalls ──► RpcClient
 *                                                       └─ blocking reads ─► RemoteWatches ──┘
 *
 * It keeps nothing: what it answers a server said just now. The servers decide on consistency and datacenters.
 */
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { Answers, Query, QueryKind, QueryOf, Selection } from "../catalog/queries.ts";
import type { AutopilotRecord, AutopilotSettings } from "../catalog/records.ts";
import { Fields, textOf } from "../codec/fields.ts";
import type { Encodable, Value } from "../codec/msgpack.ts";
import type { AgentConfig } from "../config/config.ts";
import type {
  Blocking,
  Consistency,
  DatacenterMap,
  GroupHealth,
  RaftPeer,
  ReadMeta,
  ReadOptions,
  Shared,
  SharedRead,
  StoreApi,
  WriteOptions,
} from "../plugin/agent-api.ts";
import type { Clock } from "../ports/clock.ts";
import { decodeAutopilot, decodeGroupHealth, encodeAutopilot } from "../rpc/endpoints/autopilot.ts";
import { decodeQueryMeta, encodeQueryOptions } from "../rpc/endpoints/query-options.ts";
import { decodeDatacenterMaps } from "../rpc/endpoints/datacenter-maps.ts";
import { instancesByAddress, type ReadMethod, readMethodByKind } from "../rpc/endpoints/reads.ts";
import { writeCalls } from "../rpc/endpoints/writes.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, assert } from "../types/errors.ts";
import type { Cancel } from "../types/cancel.ts";
import type { LogIndex, Millis, NodeId } from "../types/ids.ts";
import { late } from "./late-cancel.ts";
import { RemoteWatches } from "./remote-watches.ts";
import type { ServerCalls } from "./server-calls.ts";

export interface ClientStoreOptions {
  readonly calls: ServerCalls;
  readonly clock: Clock;
  readonly config: () => AgentConfig;
}

/** Longer than a server holds a request without a leader, or a write that has to enter the log. */
const callTimeout: Millis = 60_000;
/** Servers add up to this share of a wait at random. */
const jitterShare = 1 / 16;

type Found<Kind extends QueryKind> = { readonly meta: ReadMeta; readonly answer: Answers[Kind] };

export class ClientStore implements StoreApi {
  readonly #options: ClientStoreOptions;
  readonly #watches: RemoteWatches;

  constructor(options: ClientStoreOptions) {
    this.#options = options;
    this.#watches = new RemoteWatches({
      clock: options.clock,
      limits: () => ({ defaultWait: options.config().defaultQueryTime, maxWait: options.config().maxQueryTime }),
      ask: (request, blocking) => this.#rendered(request, blocking),
    });
  }

  now(): number {
    return this.#options.clock.wall();
  }

  read<Kind extends QueryKind>(query: QueryOf<Kind>, options: ReadOptions): Promise<Found<Kind>> {
    return this.#ask<Kind>(query, options, undefined);
  }

  /** Never: only servers answer by themselves. */
  readNow(): undefined {
    return undefined;
  }

  async readShared<Kind extends QueryKind, Rendered extends object>(
    request: SharedRead<Kind, Rendered>,
    blocking?: Blocking,
  ): Promise<Shared<Rendered>> {
    const any = request as unknown as SharedRead<QueryKind, object>;
    const shared =
      blocking === undefined || blocking.minIndex <= 0
        ? await this.#rendered({ ...any, options: { ...any.options, ...cancelOf(blocking) } }, undefined)
        : await this.#watches.wait(any, blocking);
    return shared as Shared<Rendered>;
  }

  /** Never: nothing is kept. */
  sharedNow(): undefined {
    return undefined;
  }

  async write(command: Command, options: WriteOptions = {}): Promise<CommandResult> {
    if (command.kind === "barrier") return this.#barrier();
    const calls = writeCalls(command);
    if (calls.length === 0) throw new AgentError("not-supported", { message: `Only a server may propose this: ${command.kind}` });
    let result: CommandResult = { kind: "done" };
    for (const { method, args, result: decode } of calls) {
      try {
        result = await this.#write(method, args, options, decode);
      } catch (error) {
        if (error instanceof AgentError && error.code === "rejected") return { kind: "rejected", message: error.message };
        throw error;
      }
    }
    return result;
  }

  renewSession(id: string, options: WriteOptions = {}): Promise<boolean> {
    const { datacenter, token } = this.#target(options);
    const args = {
      Datacenter: datacenter,
      Session: id,
      SessionID: id,
      ...encodeQueryOptions({ consistency: "default", token, minIndex: 0, wait: 0 }),
    };
    // Renewed twice is renewed; still a write to whoever counts, as in Consul.
    return this.#call("Session.Renew", args, false, (reply) => new Fields(reply).list("Sessions").length > 0, options.cancel);
  }

  /** Who leads, as a server knows it: "ip:port", "" for nobody. */
  leader(datacenter?: string): Promise<string> {
    return this.#status("Status.Leader", (reply) => textOf(reply, "leader"), datacenter);
  }

  /** The servers' addresses. */
  peers(datacenter?: string): Promise<readonly string[]> {
    return this.#status("Status.Peers", texts, datacenter);
  }

  /** As a server sorts them: nearest first. */
  datacenters(): Promise<readonly string[]> {
    return this.#status("Catalog.ListDatacenters", texts);
  }

  /** As a server of the WAN pool knows them. */
  datacenterMaps(): Promise<readonly DatacenterMap[]> {
    return this.#status("Coordinate.ListDatacenters", decodeDatacenterMaps);
  }

  /** A server gossips a user event. Not a read: fired twice is two events. */
  fireEvent(name: string, payload: Bytes, where: { readonly datacenter?: string; readonly token?: string }): Promise<void> {
    const { datacenter, token } = this.#target(where);
    const options = encodeQueryOptions({ consistency: "stale", token, minIndex: 0, wait: 0 });
    const args = { Datacenter: datacenter, Name: name, Payload: payload, ...options };
    return this.#call("Internal.EventFire", args, false, () => undefined);
  }

  /** The Raft configuration as a server knows it. */
  raftServers(options: Pick<ReadOptions, "consistency" | "datacenter">): Promise<readonly RaftPeer[]> {
    const decode = (reply: Value) => new Fields(reply).list("Servers").map(decodePeer);
    return this.#status("Operator.RaftGetConfiguration", decode, options.datacenter, options.consistency);
  }

  autopilotConfiguration(options: ReadOptions): Promise<AutopilotRecord> {
    const { datacenter, token } = this.#target(options);
    const args = {
      Datacenter: datacenter,
      ...encodeQueryOptions({ consistency: options.consistency, token, minIndex: 0, wait: 0 }),
    };
    return this.#call(
      "Operator.AutopilotGetConfiguration",
      args,
      true,
      (reply) => decodeAutopilot(new Fields(reply)),
      options.cancel,
    );
  }

  configureAutopilot(settings: AutopilotSettings, options: WriteOptions & { readonly index?: LogIndex }): Promise<boolean> {
    const { datacenter, token } = this.#target(options);
    const { index } = options;
    const config = { ...settings, createIndex: 0, modifyIndex: index ?? 0 };
    const args = { CAS: index !== undefined, Config: encodeAutopilot(config), Datacenter: datacenter, Token: token };
    // Without a comparison the reply says nothing.
    return this.#call(
      "Operator.AutopilotSetConfiguration",
      args,
      false,
      (reply) => index === undefined || reply === true,
      options.cancel,
    );
  }

  groupHealth(options: WriteOptions): Promise<GroupHealth> {
    const { datacenter, token } = this.#target(options);
    const args = { Datacenter: datacenter, ...encodeQueryOptions({ consistency: "default", token, minIndex: 0, wait: 0 }) };
    return this.#call("Operator.ServerHealth", args, true, decodeGroupHealth, options.cancel);
  }

  /** Takes a server out of the Raft configuration. */
  async removeRaftServer(id: NodeId, datacenter?: string): Promise<void> {
    const where = datacenter === undefined ? {} : { datacenter };
    await this.#write("Operator.RaftRemovePeerByID", { Address: "", ID: id }, where, () => undefined);
  }

  /** Who waits is told why; default: `closed`. The client is its owner's to close. */
  stop(reason?: AgentError): void {
    this.#watches.stop(reason);
  }

  #status<Reply>(
    method: string,
    decode: (reply: Value) => Reply,
    where?: string,
    consistency: Consistency = "default",
  ): Promise<Reply> {
    const { datacenter, token } = this.#target(where === undefined ? {} : { datacenter: where });
    const options = encodeQueryOptions({ consistency, token, minIndex: 0, wait: 0 });
    return this.#call(method, { Datacenter: datacenter, ...options }, true, decode);
  }

  async #rendered(request: SharedRead<QueryKind, object>, blocking: Blocking | undefined): Promise<Shared<object>> {
    const { meta, answer } = await this.#ask<QueryKind>(request.query, request.options, blocking);
    return { meta, rendered: (request.render as (answer: unknown, meta: ReadMeta) => object)(answer, meta) };
  }

  async #ask<Kind extends QueryKind>(query: Query, options: ReadOptions, blocking: Blocking | undefined): Promise<Found<Kind>> {
    if (query.kind === "byAddress") return (await this.#byAddress(query, options)) as unknown as Found<Kind>;
    const method = readMethodByKind.get(query.kind);
    assert(method !== undefined, "every kind of query has its method");
    return (await this.#read(method, query, options, blocking)) as Found<Kind>;
  }

  async #read(
    method: ReadMethod,
    query: Query,
    options: ReadOptions,
    blocking: Blocking | undefined,
  ): Promise<{ readonly meta: ReadMeta; readonly answer: Answers[QueryKind] }> {
    const { datacenter, token } = this.#target(options);
    const wait = blocking?.wait ?? 0;
    const { filter } = query as Pick<Selection, "filter">;
    const args = {
      Datacenter: datacenter,
      ...encodeQueryOptions({ consistency: options.consistency, token, minIndex: blocking?.minIndex ?? 0, wait }, filter),
      // What is near counts from a node of the datacenter that is asked.
      ...method.encode(query, datacenter),
    };
    const timeout = callTimeout + wait * (1 + jitterShare);
    const { calls, clock } = this.#options;
    const cancel = blocking?.cancel ?? late(clock, options.cancel);
    return calls.call({ method: method.method, args, isRead: true, timeout, cancel }, (reply) => {
      const fields = new Fields(reply);
      return { meta: decodeQueryMeta(fields), answer: method.decodeAnswer(fields, query) };
    });
  }

  /** Two calls: no method finds nodes by address. */
  async #byAddress(query: QueryOf<"byAddress">, options: ReadOptions): Promise<Found<"byAddress">> {
    const nodes = await this.#ask<"nodes">({ kind: "nodes" }, options, undefined);
    const instances = (await this.#read(
      instancesByAddress as unknown as ReadMethod,
      query,
      options,
      undefined,
    )) as unknown as Found<"byAddress">;
    const found = nodes.answer.filter((node) => node.address === query.address);
    return { meta: nodes.meta, answer: { nodes: found, services: instances.answer.services } };
  }

  #write<Reply>(
    method: string,
    args: { readonly [field: string]: Encodable },
    options: WriteOptions,
    decode: (reply: Value) => Reply,
  ): Promise<Reply> {
    const { datacenter, token } = this.#target(options);
    return this.#call(method, { Datacenter: datacenter, Token: token, ...args }, false, decode, options.cancel);
  }

  /** A read that a majority stands for: whatever was written before is in the catalog that answers next. */
  async #barrier(): Promise<CommandResult> {
    await this.#ask<"kvGet">({ kind: "kvGet", key: "" }, { consistency: "consistent" }, undefined);
    return { kind: "done" };
  }

  #call<Reply>(
    method: string,
    args: Encodable,
    isRead: boolean,
    decode: (reply: Value) => Reply,
    cancel?: Cancel,
  ): Promise<Reply> {
    const { calls, clock } = this.#options;
    return calls.call({ method, args, isRead, timeout: callTimeout, cancel: late(clock, cancel) }, decode);
  }

  #target({ datacenter, token }: { readonly datacenter?: string; readonly token?: string }): {
    readonly datacenter: string;
    readonly token: string;
  } {
    return { datacenter: datacenter || this.#options.config().datacenter, token: token ?? "" };
  }
}

function cancelOf(blocking: Blocking | undefined): { readonly cancel?: Cancel } {
  return blocking?.cancel === undefined ? {} : { cancel: blocking.cancel };
}

function texts(reply: Value): readonly string[] {
  return new Fields(new Map([["list", reply]])).texts("list");
}

function decodePeer(value: Value): RaftPeer {
  const fields = new Fields(value);
  return {
    id: fields.text("ID"),
    node: fields.text("Node"),
    address: fields.text("Address"),
    voter: fields.flag("Voter"),
    leader: fields.flag("Leader"),
  };
}
