/** What this server answers to the other servers of its group: see forwarding.ts for the requests. */
import { encode } from "../codec/cbor.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, unreachable } from "../types/errors.ts";
import type { NodeId } from "../types/ids.ts";
import type { Bootstrap } from "./bootstrap.ts";
import { decodeRequest } from "./forwarding.ts";
import type { Raft } from "./raft.ts";
import type { ServerCare } from "./server-care.ts";
import type { HealthWatch, RaftStats } from "./server-health.ts";
import type { ServerStore } from "./server-store.ts";

export interface AnsweringServer {
  readonly raft: Raft;
  readonly store: ServerStore;
  readonly care: ServerCare;
  readonly health: HealthWatch;
  readonly bootstrap: Bootstrap;
}

const emptyAnswer = encode(null);

/** Whatever it rejects with is told to the one who asked. */
export async function answerServer(server: AnsweringServer, from: NodeId, body: Bytes): Promise<Bytes> {
  const { raft, store, care, health, bootstrap } = server;
  const request = decodeRequest(body);
  if (request === undefined) throw new AgentError("bad-request", { message: "no request that this server knows" });
  // The listener is up before the stores are read: until then nothing true can be said of what this server holds.
  if (!raft.started) throw new AgentError("no-leader", { message: "No cluster leader" });
  switch (request.kind) {
    case "write":
    case "writePiece":
    case "readIndex":
    case "renewSession":
      return encode(await store.serve(request, from));
    case "removeServer":
      await care.remove(request.id);
      return emptyAnswer;
    case "raftStats": {
      const { lastContact, ...stats } = raftStatsOf(raft);
      return encode({ ...stats, lastContact: Number.isFinite(lastContact) ? lastContact : -1 });
    }
    case "groupHealth":
      if (!raft.isLeader()) throw new AgentError("no-leader", { message: "No cluster leader" });
      return encode(health.current);
    case "belonging":
      return encode(raft.hasData ? raft.servers().map((member) => member.id) : await bootstrap.claim(request.servers));
    case "founding":
      return encode(await bootstrap.onFounding(from, request.message));
    default:
      return unreachable(request);
  }
}

export function raftStatsOf(raft: Raft): RaftStats {
  return { lastContact: raft.lastContact(), lastTerm: raft.lastTerm, lastIndex: raft.lastIndex };
}
