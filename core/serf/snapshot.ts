/**
 * What a member remembers across a restart: whom it knew, and how far the clocks were. A text file, line by line as
 * Serf writes it, so that a data directory can be taken over from Consul, or by it.
 *
 *   alive: NAME IP:PORT      not-alive: NAME      clock: N      event-clock: N      query-clock: N      leave
 *
 * Later lines overrule earlier ones. The last line counts only with its line break: the rest of it may be missing.
 * snapshot-file.ts writes it.
 */
import { type Address, formatAddress } from "../ports/net.ts";
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

export const emptySnapshot: SnapshotContent = { alive: new Map(), clock: 0, eventClock: 0, queryClock: 0, left: false };

/** Lines of a file that somebody else may have written. */
export const membersMax = 65_536;

/** Never throws: lines that say nothing are skipped. */
export function parseSnapshot(content: string, options: { readonly rejoinAfterLeave: boolean }): SnapshotContent {
  let alive = new Map<string, Address>();
  const clocks = { clock: 0, "event-clock": 0, "query-clock": 0 };
  let left = false;
  const lines = content.split("\n");
  lines.pop(); // what has no line break
  for (const line of lines) {
    const at = line.indexOf(":");
    const key = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).trim();
    if (key === "alive") {
      const member = parseMember(value);
      if (member === undefined || (alive.size >= membersMax && !alive.has(member.name))) continue;
      alive.set(member.name, member.address);
      left = false; // a later life
    } else if (key === "not-alive") alive.delete(value);
    else if (key === "clock" || key === "event-clock" || key === "query-clock") {
      const time = /^[0-9]+$/.test(value) ? Number(value) : 0;
      if (time <= lamportMax) clocks[key] = time;
    } else if (key === "leave" && !options.rejoinAfterLeave) {
      left = true;
      alive = new Map();
      clocks.clock = 0;
      clocks["event-clock"] = 0;
      clocks["query-clock"] = 0;
    }
  }
  return { alive, clock: clocks.clock, eventClock: clocks["event-clock"], queryClock: clocks["query-clock"], left };
}

/** A whole file. */
export function renderSnapshot(content: SnapshotContent): string {
  const { clock, eventClock, queryClock } = content;
  const clocks = `clock: ${clock}\nevent-clock: ${eventClock}\nquery-clock: ${queryClock}\n`;
  return aliveLines(content, emptySnapshot) + clocks + (content.left ? "leave\n" : "");
}

/** The lines that make `next` of `before`, when they are added to its file. */
export function renderChange(before: SnapshotContent, next: SnapshotContent): string {
  let lines = "";
  for (const name of before.alive.keys()) if (!next.alive.has(name)) lines += `not-alive: ${name}\n`;
  lines += aliveLines(next, before);
  if (next.clock !== before.clock) lines += `clock: ${next.clock}\n`;
  if (next.eventClock !== before.eventClock) lines += `event-clock: ${next.eventClock}\n`;
  if (next.queryClock !== before.queryClock) lines += `query-clock: ${next.queryClock}\n`;
  return next.left && !before.left ? `${lines}leave\n` : lines;
}

/**
 * Can be remembered: others name themselves, and a name with a line break would write lines of its own.
 * One with a space at its end would not come back as it was.
 */
export function isRememberable(name: string): boolean {
  return name !== "" && name === name.trim() && !name.includes("\n");
}

function aliveLines({ alive }: SnapshotContent, before: SnapshotContent): string {
  let lines = "";
  for (const [name, address] of alive) {
    const known = before.alive.get(name);
    if (known?.host !== address.host || known.port !== address.port) lines += `alive: ${name} ${formatAddress(address)}\n`;
  }
  return lines;
}

/** "NAME IP:PORT"; the name may hold spaces, the address does not. */
function parseMember(value: string): { readonly name: string; readonly address: Address } | undefined {
  const space = value.lastIndexOf(" ");
  const colon = value.lastIndexOf(":");
  const port = Number(value.slice(colon + 1));
  if (space < 1 || colon < space || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  const name = value.slice(0, space);
  const host = value.slice(space + 1, colon).replace(/^\[(.*)\]$/, "$1");
  return host === "" || !isRememberable(name) ? undefined : { name, address: { host, port } };
}
