/**
 * What one server of a group asks another, and how it is written: CBOR, over core/raft/transport.ts.
 *
 *   follower ──write, writePiece, readIndex, renewSession, removeServer──► leader   (server-store.ts, large-writes.ts, server-care.ts)
 *   follower ──groupHealth──► leader ──raftStats──► every server                    (autopilot.ts, server-health.ts)
 *   leader   ──belonging─────────────────────────────────────► a new server  (server-care.ts)
 *   founder  ──founding──────────────────────────────────────► the others    (bootstrap.ts, founding-messages.ts)
 *
 * Requests come from the network: what is not one of these is refused. Values may be added, and fields to them; none
 * changes its meaning.
 */
import { encode, tryDecode } from "../codec/cbor.ts";
import { serversMax } from "../raft/membership.ts";
import { pieceBytesMax } from "../raft/pieces.ts";
import type { RaftTransport } from "../raft/transport.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import { checkedInteger, type Millis, type NodeId } from "../types/ids.ts";
import { type FoundingMessage, readFoundingMessage, readIds } from "./founding-messages.ts";

export type ServerRequest =
  /** An encoded command of the catalog. Answered by {@link CommandResult}. */
  | { readonly kind: "write"; readonly command: Bytes }
  /** A piece of such a command, in order (large-writes.ts); `id` names it among those of one server. The last is answered as `write` is. */
  | { readonly kind: "writePiece"; readonly id: number; readonly number: number; readonly piece: Bytes }
  /** From which index on an answer is as fresh as the leader's own. `consistent`: proven by a majority, not by a lease. */
  | { readonly kind: "readIndex"; readonly consistent: boolean }
  /** Answered by whether the session is there. */
  | { readonly kind: "renewSession"; readonly id: string }
  /** Takes a server out of the group. */
  | { readonly kind: "removeServer"; readonly id: NodeId }
  /** "How far are you?" Answered by {@link RaftStats}; a contact that never was is negative. */
  | { readonly kind: "raftStats" }
  /** How the leader judges the servers. Answered by {@link GroupHealth}. */
  | { readonly kind: "groupHealth" }
  /**
   * "Which group are you of? Ours has these servers." Answered by the IDs in its configuration, or of what else it is
   * bound to; none when it was free, and then it is bound to the group that asks.
   */
  | { readonly kind: "belonging"; readonly servers: readonly NodeId[] }
  /** About a group that is being founded. Answered by a FoundingAnswer. */
  | { readonly kind: "founding"; readonly message: FoundingMessage };

const idLengthMax = 128;

export function encodeRequest(request: ServerRequest): Bytes {
  return encode(request);
}

/** Undefined for bytes that are no request. */
export function decodeRequest(bytes: Bytes): ServerRequest | undefined {
  const value = tryDecode(bytes)?.value;
  if (typeof value !== "object" || value === null) return undefined;
  const {
    kind,
    command,
    consistent,
    id,
    number,
    piece,
    message: rawMessage,
    servers: rawServers,
  } = value as Readonly<Record<string, unknown>>;
  switch (kind) {
    case "write":
      return command instanceof Uint8Array && isCommand(command) ? { kind, command } : undefined;
    case "writePiece": {
      const [numbered, ordered] = [checkedInteger(id), checkedInteger(number)];
      if (numbered === undefined || ordered === undefined || !(piece instanceof Uint8Array) || piece.length > pieceBytesMax)
        return undefined;
      return { kind, id: numbered, number: ordered, piece };
    }
    case "readIndex":
      return typeof consistent === "boolean" ? { kind, consistent } : undefined;
    case "renewSession":
    case "removeServer":
      return typeof id === "string" && id.length <= idLengthMax ? { kind, id } : undefined;
    case "raftStats":
    case "groupHealth":
      return { kind };
    case "belonging": {
      const servers = readIds(rawServers, serversMax);
      return servers === undefined || servers.length === 0 ? undefined : { kind, servers };
    }
    case "founding": {
      const message = readFoundingMessage(rawMessage);
      return message === undefined ? undefined : { kind, message };
    }
    default:
      return undefined;
  }
}

/** Readable, at least: what enters the log must be readable wherever it is applied. */
export function isCommand(bytes: Bytes): boolean {
  const value = tryDecode(bytes)?.value;
  return typeof value === "object" && value !== null && typeof (value as { readonly kind?: unknown }).kind === "string";
}

/** As `RaftTransport.request`; an answer that cannot be read rejects with `rejected`. */
export async function ask(
  transport: RaftTransport | undefined,
  to: NodeId,
  request: ServerRequest,
  timeout: Millis,
): Promise<unknown> {
  if (transport === undefined) throw new AgentError("connection-refused", { message: "this server is alone" });
  const answer = tryDecode(await transport.request(to, encodeRequest(request), timeout));
  if (answer === undefined) throw new AgentError("rejected", { message: "the answer cannot be read" });
  return answer.value;
}
