/**
 * A disk of a few megabytes to keep a data directory on, and to fill up.
 *
 * It is a tmpfs of its own where this may be mounted. Where it may not (in an unprivileged container), the server's
 * files are kept from growing instead, by RLIMIT_FSIZE; the error then is another one, and the test says so aloud. The
 * signal that comes with it must be ignored from the start: not every runtime does that by itself.
 */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { consulPath, run, temporaryFolder } from "./program.ts";

const megabytes = 32;
const ballast = "ballast";

export class FullDisk {
  readonly folder: string;
  readonly #mounted: boolean;

  private constructor(folder: string, mounted: boolean) {
    this.folder = folder;
    this.#mounted = mounted;
  }

  /** Starts a server whose disk this is; undefined: as usual. */
  get command(): string | undefined {
    return this.#mounted ? undefined : `${this.folder}.sh`;
  }

  static async make(): Promise<FullDisk> {
    let disk: FullDisk | undefined;
    // Before the folder removes itself.
    process.once("exit", () => disk?.remove());
    const folder = join(temporaryFolder(), "disk");
    mkdirSync(folder);
    const mounted = await run("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", folder]).catch((error: Error) => ({
      code: 1,
      stderr: error.message,
    }));
    if (mounted.code !== 0) {
      writeFileSync(`${folder}.sh`, `#!/bin/sh\ntrap '' XFSZ\nexec ${consulPath} "$@"\n`, { mode: 0o755 });
      console.log(
        `NOTE: cannot mount a tmpfs (${mounted.stderr.trim()}); file sizes are limited by prlimit instead of a full disk`,
      );
    }
    disk = new FullDisk(folder, mounted.code === 0);
    return disk;
  }

  /** How a write fails there. */
  get failure(): RegExp {
    return this.#mounted ? /no space left on device.*Free some space and restart the agent/ : /file too large/i;
  }

  /** From now on nothing on it can grow, as far as the process `pid` goes. */
  async fill(pid: number): Promise<void> {
    if (!this.#mounted) {
      const limited = await run("prlimit", [`--pid=${pid}`, "--fsize=1048576:1048576"]);
      if (limited.code !== 0) throw new Error(`neither a small disk nor a limit of file sizes can be had: ${limited.stderr}`);
      return;
    }
    const file = openSync(join(this.folder, ballast), "w");
    try {
      for (const size of [1024 * 1024, 4096]) fillWith(file, new Uint8Array(size));
    } finally {
      closeSync(file);
    }
  }

  /** Makes room. A limit ends with the process it was set for. */
  clear(): void {
    rmSync(join(this.folder, ballast), { force: true });
  }

  remove(): void {
    if (this.#mounted) spawnSync("umount", ["--lazy", this.folder]);
  }
}

function fillWith(file: number, block: Uint8Array): void {
  try {
    // A disk of that size is full after that many blocks.
    for (let written = 0; written <= megabytes * 1024 * 1024; ) {
      const bytes = writeSync(file, block);
      if (bytes === 0) return;
      written += bytes;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  }
}
