/**
 * Who this agent is: its ID, its tags in the gossip pools, its addresses. What other members and the catalog see of it.
 */
import type { Coordinate, StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { Member } from "../plugin/agent-api.ts";
import { type Crypto, type FileStore, type Logger, uuid } from "../ports/mod.ts";
import { strictText, utf8 } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import { consulVersion } from "../version.ts";

const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** From the configuration, else from the data directory's `node-id`, else made and kept there. */
export async function nodeIdentity(config: AgentConfig, files: FileStore, crypto: Crypto, logger: Logger): Promise<string> {
  const kept = await files.get("node-id");
  if (config.nodeId !== "") {
    const id = config.nodeId.toLowerCase();
    if (!uuidForm.test(id))
      throw new AgentError("config-invalid", {
        message: `failed to setup node ID: specified NodeID is invalid: ${whyNoUuid(id)}`,
      });
    await files.put("node-id", utf8(id));
    return id;
  }
  const id = kept === undefined ? undefined : strictText(kept)?.trim().toLowerCase();
  if (id !== undefined) {
    if (!uuidForm.test(id))
      throw new AgentError("config-invalid", {
        message: `failed to setup node ID: persisted NodeID is invalid: ${whyNoUuid(id)}. Mend or remove the file node-id in the data directory`,
      });
    return id;
  }
  const made = uuid(crypto);
  if (config.dataDir !== undefined) {
    await files.put("node-id", utf8(made));
    logger.log("debug", "Generated unique node ID for this agent (will be persisted)", { id: made });
  } else logger.log("debug", "Using random ID as node ID", { id: made });
  return made;
}

function whyNoUuid(id: string): string {
  return id.length !== 36 ? "uuid string is wrong length" : "uuid is improperly formatted";
}

/** Where an agent is that has no pool to measure in. */
export const origin: Coordinate = { vec: [0, 0, 0, 0, 0, 0, 0, 0], error: 1.5, adjustment: 0, height: 1e-5 };

export interface BoundPorts {
  readonly server: number;
  readonly serfWan: number;
}

/** Member tags of a server, in the LAN or the WAN pool. Other agents find servers by them. */
export function serverTags(config: AgentConfig, nodeId: string, pool: "lan" | "wan", ports: BoundPorts): StringMap {
  return {
    role: "consul",
    dc: config.datacenter,
    segment: "",
    id: nodeId,
    vsn: "2",
    vsn_min: "2",
    vsn_max: "3",
    raft_vsn: "3",
    build: `${consulVersion}:`,
    port: String(ports.server),
    acls: "0",
    ft_fs: "1",
    ...(pool === "lan" ? { wan_join_port: String(ports.serfWan) } : {}),
    ...(config.bootstrap ? { bootstrap: "1" } : {}),
    ...(config.bootstrapExpect > 1 ? { expect: String(config.bootstrapExpect) } : {}),
  };
}

/** This agent as a member where no gossip runs (embedded without sockets). */
export function lonelyMember(name: string, address: string, port: number, tags: StringMap): Member {
  return {
    name,
    address,
    port,
    tags,
    status: "alive",
    protocolMin: 1,
    protocolMax: 5,
    protocolCur: 2,
    delegateMin: 2,
    delegateMax: 5,
    delegateCur: 4,
  };
}
