/**
 * Recovery of a group that lost its majority, at the start of a server:
 *
 *   peers.info missing ──► peers.json removed, peers.info written         the first start: such a file is a left-over
 *   peers.json there ────► read ─► raft/recovered written ─► peers.json removed ─► the log is resumed with it
 *   raft/recovered there ► the log is resumed with it                     until a later snapshot carries it all
 *
 * A crash at any point leaves the old configuration, with the operator's file, or the new one: the record is written
 * in one piece, the file goes only afterwards, and reading the file again comes to the same record.
 * What the record does to the log is said in core/raft/recovery.ts.
 */
import type { FileStore, Logger } from "../ports/mod.ts";
import {
  decodeRecovered,
  encodeRecovered,
  isOutdated,
  isUntouched,
  type Held,
  lastConfiguration,
  type Recovered,
  recoveryTerm,
} from "../raft/recovery.ts";
import { utf8 } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import { parsePeers } from "./peers-file.ts";

export const peersName = "raft/peers.json";
export const peersInfoName = "raft/peers.info";
export const recoveredName = "raft/recovered";

const peersInfo = `
Who the servers of the cluster are is kept in their log and needs no file.

A file peers.json in this directory is for the time after an outage: when so many servers are lost for good that the
rest is no majority, nobody can be elected and nobody can take the lost ones out. Stop all servers that are left, write
the same peers.json into this directory on each of them, with all who are to go on, and start them again:

[
  {
    "id": "adf4238a-882b-9ddc-4a9d-5b6758e4159e",
    "address": "10.1.0.1:8300",
    "non_voter": false
  },
  {
    "id": "8b6dda82-3103-11e7-93ae-92361f002671",
    "address": "10.1.0.2:8300",
    "non_voter": false
  }
]

"id" is a server's node ID: it is in the file node-id of its data directory. "address" is the address and port of its
server port. "non_voter" makes it a server without a vote; it may be left out. A plain list of addresses will do where
the servers still have the addresses that the cluster knew:

[
  "10.1.0.1:8300",
  "10.1.0.2:8300"
]

The file is removed once it was taken. A peers.json that is here before this file is, at the very first start, is removed
without being read.
`;

export interface RecoveryOptions {
  readonly files: FileStore;
  readonly logger: Logger;
}

/** What an operator decided, now or earlier; undefined: nothing. Rejects with `config-invalid` for a file it cannot follow. */
export async function recover(options: RecoveryOptions, held: Held): Promise<Recovered | undefined> {
  const { files, logger } = options;
  const before = await keptRecovery(files, held);
  if ((await files.get(peersInfoName)) === undefined) {
    const leftOver = (await files.get(peersName)) !== undefined;
    await files.delete(peersName);
    if (leftOver) logger.log("info", "deleted peers.json file (see peers.info for details)");
    await files.put(peersInfoName, utf8(peersInfo));
    return before;
  }
  const file = await files.get(peersName);
  if (file === undefined) return before;
  logger.log("info", "found peers.json file, recovering Raft configuration...");
  const configuration = parsePeers(file, lastConfiguration(held, before));
  if (isUntouched(held)) {
    throw new AgentError("config-invalid", {
      message: "recovery failed: refused to recover cluster with no initial state, this is probably an operator error",
    });
  }
  const recovered = { configuration, term: recoveryTerm(held, before) };
  await files.put(recoveredName, encodeRecovered(recovered));
  await files.delete(peersName);
  logger.log("info", "deleted peers.json file after successful recovery");
  return recovered;
}

async function keptRecovery(files: FileStore, held: Held): Promise<Recovered | undefined> {
  const bytes = await files.get(recoveredName);
  if (bytes === undefined) return undefined;
  const recovered = decodeRecovered(bytes);
  if (recovered === undefined) {
    throw new AgentError("storage-failed", {
      message: `Cannot resume: the file ${recoveredName} in the data directory cannot be read, and it says who the servers are. Write a new peers.json and remove it`,
    });
  }
  if (!isOutdated(recovered, held)) return recovered;
  await files.delete(recoveredName);
  return undefined;
}
