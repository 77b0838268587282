/**
 * What a member remembers across a restart: whom it knew, and how far the clocks were. A text file, line by line as
 * Serf writes it, so that a data directory can be taken over from Consul.
 *
 *   alive: NAME IP:PORT      clock: N      event-clock: N      query-clock: N      leave
 *
 * Serf appends; here the whole file is replaced at most twice a second, which FileStore makes atomic.
 */
import type { Clock, Timer } from "../ports/clock.ts";
import { type Address, formatAddress } from "../ports/net.ts";
import type { FileStore } from "../ports/storage.ts";
import type { Logger } from "../ports/telemetry.ts";
import type { SerfMetrics } from "./metrics.ts";
import { text, utf8 } from "../types/bytes.ts";
import { messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { lamportMax } from "./lamport.ts";

export interface SnapshotContent {
  /** Members that were alive, by name. */
  readonly alive: ReadonlyMap<string, Address>;
  /** The last Lamport times seen: of members, events, queries. */
  readonly clock: number;
  readonly eventClock: number;
  readonly queryClock: number;
  /** The member left on purpose: it is not to join again by itself. */
  readonly left: boolean;
}

const flushInterval: Millis = 500;
/** Lines of a file that somebody else may have written. */
const membersMax = 65_536;

/** Never throws: lines that say nothing are skipped. */
export function parseSnapshot(content: string, options: { readonly rejoinAfterLeave: boolean }): SnapshotContent {
  let alive = new Map<string, Address>();
  const clocks = { clock: 0, "event-clock": 0, "query-clock": 0 };
  let left = false;
  for (const line of content.split("\n")) {
    const at = line.indexOf(":");
    const key = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).trim();
    if (key === "alive") {
      const member = parseMember(value);
      if (member !== undefined && alive.size < membersMax) alive.set(member.name, member.address);
    } else if (key === "not-alive") alive.delete(value);
    else if (key === "clock" || key === "event-clock" || key === "query-clock") {
      const time = /^[0-9]+$/.test(value) ? Number(value) : 0;
      if (time <= lamportMax) clocks[key] = time;
    } else if (key === "leave") {
      left = !options.rejoinAfterLeave;
      if (left) {
        alive = new Map();
        clocks.clock = 0;
        clocks["event-clock"] = 0;
        clocks["query-clock"] = 0;
      }
      // Whatever follows was written by a later life.
    }
  }
  return { alive, clock: clocks.clock, eventClock: clocks["event-clock"], queryClock: clocks["query-clock"], left };
}

export function renderSnapshot(content: SnapshotContent): string {
  const lines = [...content.alive].map(([name, address]) => `alive: ${name} ${formatAddress(address)}`);
  lines.push(`clock: ${content.clock}`, `event-clock: ${content.eventClock}`, `query-clock: ${content.queryClock}`);
  if (content.left) lines.push("leave");
  return `${lines.join("\n")}\n`;
}

/** Keeps the file up to date, half a second behind. */
export class SnapshotFile {
  readonly #files: FileStore;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Pick<SerfMetrics, "snapshotAppend"> | undefined;
  readonly #content: () => SnapshotContent;
  #timer: Timer | undefined;
  #written = "";
  #writing: Promise<void> = Promise.resolve();

  constructor(options: {
    readonly files: FileStore;
    readonly name: string;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly metrics?: Pick<SerfMetrics, "snapshotAppend">;
    readonly content: () => SnapshotContent;
  }) {
    this.#metrics = options.metrics;
    this.#files = options.files;
    this.#name = options.name;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#content = options.content;
  }

  /** Something may be different now. */
  touch(): void {
    this.#timer ??= this.#clock.after(flushInterval, () => {
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
    this.#timer?.cancel();
    await this.flush();
  }

  async #write(): Promise<void> {
    const content = renderSnapshot(this.#content());
    if (content === this.#written) return;
    const begun = this.#clock.monotonic();
    try {
      await this.#files.put(this.#name, utf8(content));
      this.#metrics?.snapshotAppend.observe(this.#clock.monotonic() - begun);
      this.#written = content;
    } catch (error) {
      this.#logger.log("error", `serf: Failed to update snapshot: ${messageOf(error)}`);
    }
  }
}

/** Undefined when there is none, or when it cannot be read: then the member starts as a new one. */
export async function loadSnapshot(
  files: FileStore,
  name: string,
  options: { readonly rejoinAfterLeave: boolean },
): Promise<SnapshotContent | undefined> {
  const content = await files.get(name);
  return content === undefined ? undefined : parseSnapshot(text(content), options);
}

/** "NAME IP:PORT"; the name may hold spaces, the address does not. */
function parseMember(value: string): { readonly name: string; readonly address: Address } | undefined {
  const space = value.lastIndexOf(" ");
  const colon = value.lastIndexOf(":");
  const port = Number(value.slice(colon + 1));
  if (space < 1 || colon < space || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  const host = value.slice(space + 1, colon).replace(/^\[(.*)\]$/, "$1");
  return host === "" ? undefined : { name: value.slice(0, space), address: { host, port } };
}
