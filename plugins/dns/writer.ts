/**
 * Writes an answer: names compressed (RFC 1035 section 4.1.4), the question as it was sent.
 *
 * One scratch buffer serves all answers, because writing never waits; what leaves is a copy.
 */
import { assert, unreachable } from "../../core/types/errors.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { byteString, type DnsQuery, headerBytes, messageBytesMax, word } from "./message.ts";
import { type DnsRecord, type Owner, recordType, recordTypes } from "./records.ts";

export interface Sections {
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

/** Room behind the longest message, so that one record may run over before it is noticed. */
const scratch = new Uint8Array(2 * messageBytesMax);
/** Where each name, and each name's tail, stands. Keys are byte strings. */
const offsets = new Map<string, number>();
const pointerOffsetMax = 0x3fff;
let compressing = true;
let questionKnown = false;
let used = 0;

/**
 * How long the message is, which then stands in the scratch buffer for `takeWritten`.
 * Undefined when it would pass 64 KiB.
 */
export function writeReply(query: DnsQuery, flags: number, sections: Sections, compress: boolean): number | undefined {
  offsets.clear();
  compressing = compress;
  questionKnown = false;
  used = query.questionEnd;
  scratch.set(query.packet.subarray(0, used), 0);
  setWord(2, flags);
  setWord(6, sections.answers.length);
  setWord(8, sections.authorities.length);
  setWord(10, sections.additionals.length + (query.edns === undefined ? 0 : 1));
  for (const records of [sections.answers, sections.authorities, sections.additionals]) {
    for (const record of records) {
      if (!writeRecord(query, record)) return undefined;
    }
  }
  if (query.edns !== undefined) writeOpt(query.edns.size, query.edns.subnet);
  return used <= messageBytesMax ? used : undefined;
}

/** A copy of what `writeReply` wrote last. */
export function takeWritten(): Bytes {
  return scratch.slice(0, used);
}

/** The OPT record that an answer carries: its size. */
export function optBytes(query: DnsQuery): number {
  if (query.edns === undefined) return 0;
  return 11 + (query.edns.subnet === undefined ? 0 : 4 + query.edns.subnet.length);
}

/** What the message would take without compression and without OPT. */
export function plainLength(query: DnsQuery, sections: Sections): number {
  const questionName = query.questionEnd - headerBytes - 4;
  let length = query.questionEnd;
  for (const records of [sections.answers, sections.authorities, sections.additionals]) {
    for (const record of records)
      length += (record.owner === undefined ? questionName : nameLength(record.owner)) + 10 + contentLength(record);
  }
  return length;
}

function contentLength(record: DnsRecord): number {
  switch (record.kind) {
    case "data":
      return record.data.length;
    case "name":
      return nameLength(record.target);
    case "srv":
      return 6 + nameLength(record.target);
    case "soa":
      return nameLength(record.primary) + nameLength(record.mailbox) + 20;
    default:
      return unreachable(record);
  }
}

function nameLength(name: string): number {
  return name === "" ? 1 : byteString(name).length + 2;
}

/** False when the message has grown too long. */
function writeRecord(query: DnsQuery, record: DnsRecord): boolean {
  // The longest record is bounded by the length of its content, two bytes; a name by 255.
  if (used > messageBytesMax) return false;
  writeOwner(query, record.owner);
  setWord(used, recordType(record));
  setWord(used + 2, 1);
  setWord(used + 4, (record.ttl >>> 16) & 0xffff);
  setWord(used + 6, record.ttl & 0xffff);
  const lengthAt = used + 8;
  used += 10;
  switch (record.kind) {
    case "data":
      if (used + record.data.length > messageBytesMax) return false;
      if (record.data.length <= 16)
        for (let at = 0; at < record.data.length; at++) scratch[used + at] = record.data[at] as number;
      else scratch.set(record.data, used);
      used += record.data.length;
      break;
    case "name":
      writeName(query, record.target, compressing);
      break;
    case "srv":
      setWord(used, record.priority);
      setWord(used + 2, record.weight);
      setWord(used + 4, record.port);
      used += 6;
      // RFC 2782: the target is not compressed; later names may point into it.
      writeName(query, record.target, false);
      break;
    case "soa":
      writeName(query, record.primary, compressing);
      writeName(query, record.mailbox, compressing);
      for (const number of record.numbers) {
        setWord(used, (number >>> 16) & 0xffff);
        setWord(used + 2, number & 0xffff);
        used += 4;
      }
      break;
    default:
      return unreachable(record);
  }
  setWord(lengthAt, used - lengthAt - 2);
  return used <= messageBytesMax;
}

function writeOwner(query: DnsQuery, owner: Owner): void {
  if (owner !== undefined) {
    writeName(query, owner, compressing);
    return;
  }
  const nameEnd = query.questionEnd - 4;
  if (compressing && nameEnd - headerBytes > 1) {
    setWord(used, 0xc000 | headerBytes);
    used += 2;
  } else {
    scratch.copyWithin(used, headerBytes, nameEnd);
    used += nameEnd - headerBytes;
  }
}

/** Writes `name`, ending in a pointer where its tail is known and `shorten`, and remembers where its new tails stand. */
function writeName(query: DnsQuery, name: string, shorten: boolean): void {
  if (compressing && !questionKnown) rememberQuestion(query);
  let rest = byteString(name);
  while (rest !== "") {
    if (compressing) {
      const known = offsets.get(rest);
      if (known === undefined) {
        if (used <= pointerOffsetMax) offsets.set(rest, used);
      } else if (shorten) {
        setWord(used, 0xc000 | known);
        used += 2;
        return;
      }
    }
    const dot = rest.indexOf(".");
    const end = dot < 0 ? rest.length : dot;
    assert(end > 0 && end < 64, "a label has 1 to 63 bytes");
    scratch[used++] = end;
    for (let at = 0; at < end; at++) scratch[used++] = rest.charCodeAt(at);
    rest = dot < 0 ? "" : rest.slice(dot + 1);
  }
  scratch[used++] = 0;
}

/** The question's name and its tails may be pointed to as well. */
function rememberQuestion(query: DnsQuery): void {
  questionKnown = true;
  const starts: number[] = [];
  for (let at = headerBytes; scratch[at] !== 0; at += (scratch[at] as number) + 1) starts.push(at);
  let tail = "";
  for (let index = starts.length - 1; index >= 0; index--) {
    const start = starts[index] as number;
    let label = "";
    for (let at = start + 1; at <= start + (scratch[start] as number); at++) {
      const byte = scratch[at] as number;
      // A dot within a label must not look like the end of it: no byte string holds this character.
      label += byte === 46 ? "\u0100" : String.fromCharCode(byte);
    }
    tail = tail === "" ? label : `${label}.${tail}`;
    offsets.set(tail, start);
  }
  assert(word(query.packet, 4) === 1, "a query that is answered has one question");
}

function writeOpt(size: number, subnet: Bytes | undefined): void {
  scratch.fill(0, used, used + 11);
  setWord(used + 1, recordTypes.OPT);
  setWord(used + 3, size);
  used += 11;
  if (subnet === undefined) return;
  setWord(used - 2, 4 + subnet.length);
  setWord(used, 8);
  setWord(used + 2, subnet.length);
  scratch.set(subnet, used + 4);
  used += 4 + subnet.length;
}

function setWord(at: number, value: number): void {
  scratch[at] = value >> 8;
  scratch[at + 1] = value & 255;
}
