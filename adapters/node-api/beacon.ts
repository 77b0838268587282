/**
 * Shows to every process of this machine that one of them lives, also across containers that share a volume, where process
 * ids mean nothing: a socket in the directory that they share, at which it listens. The system ends it with the process.
 *
 * Where no socket can be made there is none: on file systems without, and below paths too long for one.
 */
import { randomBytes } from "node:crypto";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import type { FileSystem } from "./file-system.ts";

/** What a socket's path may have everywhere; longer ones are cut off silently by some runtimes. */
const pathBytesMax = 100;
const namePattern = /^proconsul\.[0-9a-f]{16}\.alive$/;

export interface Beacon {
  /** In its directory; undefined where none could be made. */
  readonly name: string | undefined;
  close(): Promise<void>;
}

/** Never rejects. */
export async function lightBeacon(directory: string, fileSystem: FileSystem): Promise<Beacon> {
  const name = `proconsul.${randomBytes(8).toString("hex")}.alive`;
  const path = join(directory, name);
  const none: Beacon = { name: undefined, close: async () => {} };
  if (process.platform === "win32" || Buffer.byteLength(path) > pathBytesMax) return none;
  const server = createServer((socket) => socket.destroy());
  const listens = await new Promise<boolean>((resolve) => {
    server.on("error", () => resolve(false));
    server.listen(path, () => resolve(true));
  });
  if (!listens) return none;
  server.unref();
  return {
    name,
    close: async () => {
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await fileSystem.unlink(path).catch(() => undefined); // some runtimes remove it themselves
    },
  };
}

/** Not of a file of ours. */
export function isBeaconName(name: string): boolean {
  return namePattern.test(name);
}

/** Does somebody live who is known by this beacon? Never rejects: a name that is none has nobody. */
export function isLit(directory: string, name: string): Promise<boolean> {
  if (!namePattern.test(name)) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = connect(join(directory, name));
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** Removes the socket of a process that is gone. Never rejects: it only takes room. */
export async function clearBeacon(directory: string, name: string, fileSystem: FileSystem): Promise<void> {
  if (namePattern.test(name)) await fileSystem.unlink(join(directory, name)).catch(() => undefined);
}
