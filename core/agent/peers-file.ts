/**
 * `raft/peers.json`: who the group is from now on, written by an operator after a majority was lost for ever.
 *
 *   [{ "id": "adf4…", "address": "10.1.0.1:8300", "non_voter": false }]     since Raft protocol 3
 *   ["10.1.0.1:8300"]                                                       before: servers by their addresses alone
 *
 * Read as Consul 1.8 reads it, with its texts: keys in any letter case, others passed over, what follows the list too.
 * It refuses the second form at the present protocol; here that form is taken where the addresses are those of servers
 * that the last configuration knows, since only these have IDs.
 */
import { type JsonValue, parseJson } from "../config/json.ts";
import type { Configuration, RaftServer } from "../raft/messages.ts";
import { configurationFault } from "../raft/recovery.ts";
import { type Bytes, text } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";

/** More is no list of servers. */
const fileBytesMax = 1024 * 1024;

/** `known`: the last configuration. Throws `config-invalid` with what is wrong. */
export function parsePeers(file: Bytes, known: Configuration): Configuration {
  if (file.length > fileBytesMax) throw refuse(`the file exceeds ${fileBytesMax} bytes`);
  const value = parseFirst(text(file));
  if (value !== null && !Array.isArray(value))
    throw refuse(`json: cannot unmarshal ${goKind(value)} into Go value of type []raft.configEntry`);
  const items = value ?? [];
  const byAddress = items.length > 0 && items.every((item) => typeof item === "string");
  const configuration = { servers: byAddress ? items.map((item) => serverAt(item, known)) : items.map(serverOf) };
  const fault = configurationFault(configuration);
  if (fault !== undefined) throw refuse(fault);
  return configuration;
}

function parseFirst(content: string): JsonValue {
  try {
    return parseJson(content, { extent: "first" });
  } catch (error) {
    if (error instanceof AgentError) throw refuse(error.message);
    throw error;
  }
}

function serverAt(address: string, known: Configuration): RaftServer {
  const server = known.servers.find((candidate) => candidate.address === address);
  if (server === undefined)
    throw refuse(`the last configuration has no server at ${address}: name its "id" too, as peers.info explains`);
  return { id: server.id, address, voter: true };
}

function serverOf(item: JsonValue): RaftServer {
  if (item === null) return { id: "", address: "", voter: true };
  if (typeof item !== "object" || Array.isArray(item))
    throw refuse(`json: cannot unmarshal ${goKind(item)} into Go value of type raft.configEntry`);
  let id = "";
  let address = "";
  let voter = true;
  for (const [key, value] of Object.entries(item)) {
    if (value === null) continue;
    switch (key.toLowerCase()) {
      case "id":
        id = textField(value, "id", "raft.ServerID");
        break;
      case "address":
        address = textField(value, "address", "raft.ServerAddress");
        break;
      case "non_voter":
        if (typeof value !== "boolean") throw mismatch(value, "non_voter", "bool");
        voter = !value;
        break;
    }
  }
  return { id, address, voter };
}

function textField(value: JsonValue, field: string, type: string): string {
  if (typeof value !== "string") throw mismatch(value, field, type);
  return value;
}

function mismatch(value: JsonValue, field: string, type: string): AgentError {
  return refuse(`json: cannot unmarshal ${goKind(value)} into Go struct field configEntry.${field} of type ${type}`);
}

function goKind(value: JsonValue): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

function refuse(what: string): AgentError {
  return new AgentError("config-invalid", { message: `recovery failed to parse peers.json: ${what}` });
}
