/**
 * Raft messages as bytes: a CBOR array whose first item is the kind's number. Framing (a length, with a cap) is the
 * transport's. Other versions of ours may talk to us: numbers are never reused, items are only added at the end, and
 * what follows the items we know is ignored.
 *
 *   [kind, from, to, term, …fields in the order of messages.ts]      entries: flat, index, term, type, data each
 *
 * Decoding checks everything: a peer, or who pretends to be one, can make us drop a message and nothing else.
 */
import { encode, tryDecodeInPlace } from "../codec/cbor.ts";
import type { LogEntry } from "../ports/storage.ts";
import type { Bytes } from "../types/bytes.ts";
import { unreachable } from "../types/errors.ts";
import { checkedInteger } from "../types/ids.ts";
import type { RaftMessage, SnapshotChunkReply, SnapshotPoint } from "./messages.ts";

/** An id is a UUID; twice that is generous. */
const idLengthMax = 128;

const kinds = [
  "preVote",
  "preVoteReply",
  "vote",
  "voteReply",
  "append",
  "appendReply",
  "heartbeat",
  "heartbeatReply",
  "timeoutNow",
  "snapshotChunk",
  "snapshotChunkReply",
] as const satisfies readonly RaftMessage["kind"][];
const kindNumbers = new Map<string, number>(kinds.map((kind, at) => [kind, at]));

const statuses: readonly SnapshotChunkReply["status"][] = ["more", "installing", "installed", "refused"];

export function encodeMessage(message: RaftMessage): Bytes {
  return encode([kindNumbers.get(message.kind), message.from, message.to, message.term, ...fieldsOf(message)]);
}

function fieldsOf(message: RaftMessage): readonly unknown[] {
  switch (message.kind) {
    case "preVote":
      return [message.lastIndex, message.lastTerm];
    case "vote":
      return [message.lastIndex, message.lastTerm, message.transfer];
    case "preVoteReply":
    case "voteReply":
      return [message.granted];
    case "append":
      return [message.previousIndex, message.previousTerm, message.commit, flatten(message.entries)];
    case "appendReply":
      return [message.accepted, message.index, message.hintIndex, message.hintTerm];
    case "heartbeat":
      return [message.commit, message.round];
    case "heartbeatReply":
      return [message.round];
    case "timeoutNow":
      return [];
    case "snapshotChunk": {
      const { index, term, configuration, configurationIndex } = message.point;
      return [index, term, configuration, configurationIndex, message.attempt, message.offset, message.data, message.last];
    }
    case "snapshotChunkReply":
      return [message.attempt, message.offset, statuses.indexOf(message.status)];
    default:
      return unreachable(message);
  }
}

/** Undefined for bytes that are no message of ours. */
export function decodeMessage(bytes: Bytes): RaftMessage | undefined {
  // One copy for the message, since its entries are kept, instead of one for each of them.
  const value = tryDecodeInPlace(new Uint8Array(bytes))?.value;
  if (!Array.isArray(value)) return undefined;
  const fields = new Fields(value);
  const kind = kinds[fields.integer()];
  const envelope = { from: fields.id(), to: fields.id(), term: fields.integer() };
  const message = kind === undefined ? undefined : decodeFields(kind, envelope, fields);
  return fields.broken ? undefined : message;
}

function decodeFields(
  kind: RaftMessage["kind"],
  envelope: { from: string; to: string; term: number },
  fields: Fields,
): RaftMessage {
  switch (kind) {
    case "preVote":
      return { kind, ...envelope, lastIndex: fields.integer(), lastTerm: fields.integer() };
    case "vote":
      return { kind, ...envelope, lastIndex: fields.integer(), lastTerm: fields.integer(), transfer: fields.boolean() };
    case "preVoteReply":
    case "voteReply":
      return { kind, ...envelope, granted: fields.boolean() };
    case "append":
      return {
        kind,
        ...envelope,
        previousIndex: fields.integer(),
        previousTerm: fields.integer(),
        commit: fields.integer(),
        entries: fields.entries(),
      };
    case "appendReply":
      return {
        kind,
        ...envelope,
        accepted: fields.boolean(),
        index: fields.integer(),
        hintIndex: fields.integer(),
        hintTerm: fields.integer(),
      };
    case "heartbeat":
      return { kind, ...envelope, commit: fields.integer(), round: fields.integer() };
    case "heartbeatReply":
      return { kind, ...envelope, round: fields.integer() };
    case "timeoutNow":
      return { kind, ...envelope };
    case "snapshotChunk": {
      const point: SnapshotPoint = {
        index: fields.integer(),
        term: fields.integer(),
        configuration: fields.bytes(),
        configurationIndex: fields.integer(),
      };
      return {
        kind,
        ...envelope,
        point,
        attempt: fields.integer(),
        offset: fields.integer(),
        data: fields.bytes(),
        last: fields.boolean(),
      };
    }
    case "snapshotChunkReply":
      return { kind, ...envelope, attempt: fields.integer(), offset: fields.integer(), status: fields.oneOf(statuses) };
    default:
      return unreachable(kind);
  }
}

function flatten(entries: readonly LogEntry[]): readonly unknown[] {
  const flat: unknown[] = [];
  for (const entry of entries) flat.push(entry.index, entry.term, entry.type, entry.data);
  return flat;
}

/** Takes items one by one; the first that is not what it should be breaks the message. */
class Fields {
  readonly #items: readonly unknown[];
  #at = 0;
  broken = false;

  constructor(items: readonly unknown[]) {
    this.#items = items;
  }

  integer(): number {
    return checkedInteger(this.#items[this.#at++]) ?? this.#break(0);
  }
  boolean(): boolean {
    const item = this.#items[this.#at++];
    return typeof item === "boolean" ? item : this.#break(false);
  }
  id(): string {
    const item = this.#items[this.#at++];
    return typeof item === "string" && item !== "" && item.length <= idLengthMax ? item : this.#break("");
  }
  bytes(): Bytes {
    const item = this.#items[this.#at++];
    return item instanceof Uint8Array ? item : this.#break(new Uint8Array(0));
  }
  oneOf<Value>(values: readonly Value[]): Value {
    return values[this.integer()] ?? this.#break(values[0] as Value);
  }
  entries(): readonly LogEntry[] {
    const flat = this.#items[this.#at++];
    if (!Array.isArray(flat) || flat.length % 4 !== 0) return this.#break([]);
    const items = new Fields(flat);
    const entries: LogEntry[] = [];
    while (items.#at < flat.length)
      entries.push({ index: items.integer(), term: items.integer(), type: items.integer(), data: items.bytes() });
    return items.broken ? this.#break([]) : entries;
  }

  #break<Value>(placeholder: Value): Value {
    this.broken = true;
    return placeholder;
  }
}
