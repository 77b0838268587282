/**
 * Everything durable below one data directory, on node:fs, which Node, Bun and Deno share.
 *
 *   DATA/proconsul.lock             who has it open: directory-lock.ts
 *   DATA/proconsul.*.alive          a socket that shows that he lives: beacon.ts
 *   DATA/raft/wal/*.wal             the log, and term and vote: adapters/shared/raft-store.ts
 *   DATA/raft/snapshots/*.snap      the newest two snapshots: adapters/shared/snapshot-files.ts
 *   DATA/raft/peers.json …          an operator's word about the group, and other small files of the agent: files.ts
 */
import { join, resolve } from "node:path";
import type { Clock } from "../../core/ports/clock.ts";
import type { Crypto } from "../../core/ports/crypto.ts";
import type { Storage } from "../../core/ports/storage.ts";
import type { Logger } from "../../core/ports/telemetry.ts";
import { AgentError } from "../../core/types/errors.ts";
import { memoryStorage } from "../shared/memory.ts";
import { WalRaftStore } from "../shared/raft-store.ts";
import { SnapshotFiles } from "../shared/snapshot-files.ts";
import { NodeDirectory } from "./directory.ts";
import { lockDirectory } from "./directory-lock.ts";
import { type FileSystem, makeDirectory, nodeFileSystem, storageFailed } from "./file-system.ts";
import { NodeFileStore } from "./files.ts";

const lockName = "proconsul.lock";

export interface OpenStorageOptions {
  /** Undefined: in memory. Made when missing. */
  readonly dataDirectory: string | undefined;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly logger: Logger;
  /** Default: node:fs. */
  readonly fileSystem?: FileSystem;
}

/** Rejects with `storage-failed` when the directory cannot be used or another agent has it open. */
export async function openStorage(options: OpenStorageOptions): Promise<Storage> {
  const { dataDirectory, clock, crypto, logger, fileSystem = nodeFileSystem } = options;
  if (dataDirectory === undefined) return memoryStorage();
  const root = resolve(dataDirectory);
  try {
    await makeDirectory(fileSystem, root);
  } catch (error) {
    throw storageFailed(`use ${root} as data directory`, error);
  }
  const lock = await lockDirectory(join(root, lockName), {
    clock,
    fileSystem,
    onTakenOver: (holder) => {
      logger.log("warn", "took over the data directory of a process that is gone", { path: root, pid: holder });
    },
  });
  try {
    const raft = new WalRaftStore({
      directory: new NodeDirectory(join(root, "raft", "wal"), root, fileSystem),
      clock,
      randomBytes: (length) => crypto.randomBytes(length),
      onTornTail: (path, offset) => logger.log("warn", "cut an incomplete record off the end of the log", { path, offset }),
    });
    const snapshots = new SnapshotFiles({
      directory: new NodeDirectory(join(root, "raft", "snapshots"), root, fileSystem),
      clock,
      onDamaged: (path, error) => logger.log("error", "passing over a damaged snapshot", { path, error: error.message }),
    });
    const files = new NodeFileStore(root, ["raft/wal", "raft/snapshots", lockName], fileSystem);
    await files.sweep();
    return {
      raft,
      snapshots,
      files,
      close: async () => {
        try {
          await raft.close();
          await files.close();
        } finally {
          await lock.release();
        }
      },
    };
  } catch (error) {
    await lock.release();
    throw error instanceof AgentError ? error : storageFailed(`open the data directory ${root}`, error);
  }
}
