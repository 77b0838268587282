/**
 * Keeps the file of snapshot.ts up to date, half a second behind, as Serf does.
 *
 *   a change ─► half a second ─► the lines that differ are added ─► beyond a bound the file is written anew
 *                                             │ failed
 *                                             └─► after half a minute the file is written anew
 *
 * Lines are added without a sync: what a power failure takes of the last ones, gossip brings again. A goodbye is synced,
 * and so is the end. Written anew the file is replaced at once: a crash leaves the old one or the new one.
 *
 *   whole  ⇔  the file says `#written` and ends with a line break
 */
import type { Clock, Timer } from "../ports/clock.ts";
import type { FileStore } from "../ports/storage.ts";
import type { Logger } from "../ports/telemetry.ts";
import { text, utf8 } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import type { SerfMetrics } from "./metrics.ts";
import {
  emptySnapshot,
  isRememberable,
  membersMax,
  parseSnapshot,
  renderChange,
  renderSnapshot,
  type SnapshotContent,
} from "./snapshot.ts";

// Serf's own bounds.
const flushInterval: Millis = 500;
const recoveryInterval: Millis = 30_000;
const compactBytesMin = 128 * 1024;
/** Twice what a member takes in a file that is new. */
const bytesPerMember = 2 * 128;

/** A file as it was found. */
export interface FoundSnapshot extends SnapshotContent {
  readonly bytes: number;
  /** Lines can be added to it. */
  readonly whole: boolean;
}

/**
 * Undefined when there is none, or when it is too large to be one: then the member starts as a new one. Rejects when it
 * cannot be read.
 */
export async function loadSnapshot(
  files: FileStore,
  name: string,
  options: { readonly rejoinAfterLeave: boolean; readonly logger?: Logger },
): Promise<FoundSnapshot | undefined> {
  try {
    const content = await files.get(name);
    if (content === undefined) return undefined;
    const found = parseSnapshot(text(content), options);
    const whole = content[content.length - 1] === 10 && found.alive.size < membersMax;
    return { ...found, bytes: content.length, whole };
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== "too-large") throw error;
    options.logger?.log("error", `serf: Snapshot is passed over, and will be written anew: ${error.message}`);
    return undefined;
  }
}

export interface SnapshotFileOptions {
  readonly files: FileStore;
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Pick<SerfMetrics, "snapshotAppend" | "snapshotCompact">;
  /** What there is already. */
  readonly found: FoundSnapshot | undefined;
  readonly content: () => SnapshotContent;
}

export class SnapshotFile {
  readonly #options: SnapshotFileOptions;
  #timer: Timer | undefined;
  #written: SnapshotContent;
  #bytes: number;
  #whole: boolean;
  /** Something was added since the last sync. */
  #unsynced = false;
  /** After a failure: when to try again. */
  #recoverAt: Millis | undefined;
  #closed = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: SnapshotFileOptions) {
    const { found } = options;
    this.#options = options;
    this.#written = found ?? emptySnapshot;
    this.#bytes = found?.bytes ?? 0;
    this.#whole = found?.whole ?? false;
  }

  /** Something may be different now. */
  touch(): void {
    if (this.#timer !== undefined || this.#closed) return;
    const { clock } = this.#options;
    const wait = Math.max(flushInterval, (this.#recoverAt ?? 0) - clock.monotonic());
    this.#timer = clock.after(wait, () => {
      this.#timer = undefined;
      void this.flush();
    });
  }

  /** Writes now if there is anything new. One write at a time; a failure is logged, for the pool can go on without. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /** Writes what is left to write, and no more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.flush();
  }

  async #write(): Promise<void> {
    const { clock, logger } = this.#options;
    const now = clock.monotonic();
    // Early only at the end; a full disk is not asked twice a second.
    if (this.#recoverAt !== undefined && now < this.#recoverAt && !this.#closed) {
      this.touch();
      return;
    }
    const recovering = this.#recoverAt !== undefined;
    if (recovering) logger.log("info", "serf: Attempting compaction to recover from error...");
    try {
      await this.#bring(rememberable(this.#options.content()));
      this.#recoverAt = undefined;
      if (recovering) logger.log("info", "serf: Finished compaction, successfully recovered from error state");
    } catch (error) {
      // Part of a line may be there.
      this.#whole = false;
      this.#recoverAt = clock.monotonic() + recoveryInterval;
      const problem = recovering ? "Compaction failed, will reattempt after 30s" : "Failed to update snapshot";
      logger.log("error", `serf: ${problem}: ${messageOf(error)}`);
      this.touch();
    }
  }

  async #bring(next: SnapshotContent): Promise<void> {
    const { files, name, clock, metrics } = this.#options;
    const begun = clock.monotonic();
    const lines = utf8(renderChange(this.#written, next));
    const bytesMax = Math.max(compactBytesMin, next.alive.size * bytesPerMember);
    if (!this.#whole || this.#bytes + lines.length > bytesMax) {
      const content = utf8(renderSnapshot(next));
      await files.put(name, content);
      if (this.#whole) metrics?.snapshotCompact.observe(clock.monotonic() - begun);
      this.#bytes = content.length;
      this.#whole = true;
      this.#unsynced = false;
    } else {
      const sync = this.#closed || (next.left && !this.#written.left);
      if (lines.length === 0 && !(sync && this.#unsynced)) return;
      await files.append(name, lines, { sync });
      this.#bytes += lines.length;
      this.#unsynced = !sync;
      metrics?.snapshotAppend.observe(clock.monotonic() - begun);
    }
    this.#written = next;
  }
}

function rememberable(content: SnapshotContent): SnapshotContent {
  for (const name of content.alive.keys()) {
    if (isRememberable(name)) continue;
    return { ...content, alive: new Map([...content.alive].filter(([kept]) => isRememberable(kept))) };
  }
  return content;
}
