/**
 * The keys that encrypt gossip, looked at and changed in all pools at once, from one server:
 *
 *   operator ──► this server ──query──► everyone in the WAN pool
 *                     │      ──query──► everyone in this datacenter's LAN pool
 *                     └──Internal.KeyringOperation, forwarded──► a server of each other datacenter ──query──► its LAN pool
 *
 * The WAN pool comes first and by itself; the LAN pools follow together (Consul 1.8, agent/consul/internal_endpoint.go).
 * A pool whose members did not all do as asked has an `error`, and is among the answers as the others are: they may have
 * changed. Every step may be repeated: installing, using and removing twice is harmless.
 */
import type { KeyringAnswer, KeyringApi, KeyringRequest } from "../plugin/agent-api.ts";
import type { KeySummary } from "../serf/keys.ts";
import type { Pool } from "../serf/pool.ts";
import { fromBase64 } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";

export interface KeyringOptions {
  readonly datacenter: string;
  /** Undefined where there is no such pool. */
  readonly pools: () => { readonly lan: Pool | undefined; readonly wan: Pool | undefined };
  /** Other datacenters than this one. */
  readonly others: () => readonly string[];
  /** The answers of another datacenter's LAN pool. Rejects with `no-datacenter`, or as the server there refused. */
  readonly ask: (datacenter: string, request: KeyringRequest) => Promise<readonly KeyringAnswer[]>;
}

/** Serf's limit, and Consul's. */
export const relayFactorMax = 5;

export class KeyringOperations implements KeyringApi {
  readonly #options: KeyringOptions;

  constructor(options: KeyringOptions) {
    this.#options = options;
  }

  async run(request: KeyringRequest): Promise<readonly KeyringAnswer[]> {
    const { datacenter, pools, others, ask } = this.#options;
    if (request.localOnly && request.operation !== "list")
      throw new AgentError("rejected", { message: "argument error: LocalOnly can only be used for List operations" });
    const { lan, wan } = pools();
    if (lan === undefined)
      throw new AgentError("rejected", { message: "keyring operations need gossip, and this agent runs without sockets" });
    if (request.localOnly || request.forwarded === true || wan === undefined)
      return [await inPool(lan, false, datacenter, request)];
    const everyone = await inPool(wan, true, datacenter, request);
    const answers = await Promise.all([
      inPool(lan, false, datacenter, request).then((answer) => [answer]),
      ...[...others()].sort().map((other) => ask(other, { ...request, forwarded: true })),
    ]);
    return [everyone, ...answers.flat()];
  }
}

/** Never rejects for what members answer, or do not answer. */
async function inPool(pool: Pool, wan: boolean, datacenter: string, request: KeyringRequest): Promise<KeyringAnswer> {
  const { operation, key, relayFactor } = request;
  const place = { wan, datacenter, segment: "" };
  const decoded = fromBase64(operation === "list" ? "" : key);
  if ("badAt" in decoded) return { ...place, ...nothing, error: `illegal base64 data at input byte ${decoded.badAt}` };
  try {
    return { ...place, ...counted(await pool.keys(operation, decoded.bytes, { relayFactor })), error: "" };
  } catch (error) {
    const summary =
      error instanceof AgentError && error.code === "rejected" ? (error.cause as KeySummary | undefined) : undefined;
    if (summary === undefined) throw error;
    return { ...place, ...counted(summary), error: messageOf(error) };
  }
}

const nothing = { messages: {}, keys: {}, primaryKeys: {}, nodes: 0 } as const;

function counted({ messages, keys, primaryKeys, nodes }: KeySummary): Pick<KeyringAnswer, keyof typeof nothing> {
  return { messages, keys, primaryKeys, nodes };
}
