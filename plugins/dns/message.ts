/**
 * DNS messages from and to bytes; the one door to `dns-packet`.
 *
 * Queries are taken apart here down to the question, because a name must come back exactly as it was sent and because
 * this is the hot path. What follows the question, and the answers of recursors, `dns-packet` decodes. Which malformed
 * messages are ignored and which are refused is as Consul 1.8 (miekg/dns) has it.
 */
import dnsPacket from "dns-packet";
import { type Bytes, utf8 } from "../../core/types/bytes.ts";
import { parseIp } from "./ip.ts";
import { addressRecord, type DnsRecord, rcodes, recordTypes } from "./records.ts";

export const headerBytes = 12;
export const messageBytesMax = 65535;
const nameBytesMax = 255;
const labelBytesMax = 63;
/** Strings within a TXT record. */
const textBytesMax = 255;

const flagResponse = 0x8000;
const flagRecursionDesired = 0x0100;
/** TC, RD, RA, AD and CD: who is refused gets them back as they came (Consul 1.8). */
const flagsKeptInRefusal = 0x03b0;
const flagCheckingDisabled = 0x0010;
export const flagTruncated = 0x0200;
const opcodeNotify = 4;
const subnetOption = 8;

/** Views into the packet: `retain` what outlives the call that received it. */
export interface DnsQuery {
  readonly packet: Bytes;
  /** The question is packet[12, questionEnd). */
  readonly questionEnd: number;
  /** In lower case, as zone files write them: a dot within a label is `\.`, a byte beyond ASCII `\195`. */
  readonly labels: readonly string[];
  readonly type: number;
  readonly edns: Edns | undefined;
}

export interface Edns {
  /** The largest UDP answer the client takes, as it said. */
  readonly size: number;
  /** The client-subnet option's content with its scope set to 0, to be sent back. */
  readonly subnet: Bytes | undefined;
}

export type Decoded =
  | { readonly kind: "query"; readonly query: DnsQuery }
  /** To be answered with these bytes. */
  | { readonly kind: "refuse"; readonly reply: Bytes }
  /** Too short to be answered, or itself an answer. */
  | { readonly kind: "ignore" };

export function decodeQuery(packet: Bytes): Decoded {
  if (packet.length < headerBytes || ((packet[2] as number) & 0x80) !== 0) return { kind: "ignore" };
  const opcode = ((packet[2] as number) >> 3) & 15;
  if (opcode !== 0 && opcode !== opcodeNotify) return refuse(packet, rcodes.notImplemented, headerBytes, opcode);
  // One question; an answer only in NOTIFY, an authority only in IXFR, OPT and TSIG at the end: nobody needs more.
  if (word(packet, 4) !== 1 || word(packet, 6) > 1 || word(packet, 8) > 1 || word(packet, 10) > 2)
    return refuse(packet, rcodes.formatError, headerBytes);
  if (packet.length === headerBytes) return refuse(packet, rcodes.refused, headerBytes);

  const labels: string[] = [];
  const nameEnd = readLabels(packet, labels);
  const questionEnd = nameEnd + 4;
  if (nameEnd < 0 || questionEnd > packet.length) return refuse(packet, rcodes.formatError, headerBytes);
  const edns = readEdns(packet, questionEnd);
  if (edns === "malformed") return refuse(packet, rcodes.formatError, questionEnd);
  return { kind: "query", query: { packet, questionEnd, labels, type: word(packet, nameEnd), edns } };
}

/** A copy that may be kept. */
export function retain(query: DnsQuery): DnsQuery {
  return { ...query, packet: copyOf(query.packet) };
}

/** Everything of the second header word that an answer repeats. */
export function replyFlags(query: DnsQuery): number {
  const flags = word(query.packet, 2);
  const opcode = flags & 0x7800;
  return flagResponse | opcode | (opcode === 0 ? flags & (flagRecursionDesired | flagCheckingDisabled) : 0);
}

/** The number of the record type a question asks for, without decoding the rest; for logs. */
export function questionText(query: DnsQuery): string {
  return `${query.labels.join(".")}. type ${query.type}`;
}

export function word(bytes: Bytes, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/** Bytes of our own. A port may hand out a Buffer, whose `slice` shares its bytes. */
export function copyOf(bytes: Bytes): Bytes {
  return new Uint8Array(bytes);
}

function refuse(packet: Bytes, rcode: number, length: number, opcode = 0): Decoded {
  const reply = copyOf(packet.subarray(0, length));
  const flags = flagResponse | (opcode << 11) | (word(packet, 2) & flagsKeptInRefusal) | rcode;
  reply.fill(0, 4, headerBytes);
  reply[2] = flags >> 8;
  reply[3] = flags & 255;
  if (length > headerBytes) reply[5] = 1;
  return { kind: "refuse", reply };
}

/** The text each byte of a label has, in lower case. */
const labelText: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  if (byte < 33 || byte > 126) return byte === 32 ? "\\ " : `\\${String(byte).padStart(3, "0")}`;
  const character = String.fromCharCode(byte).toLowerCase();
  return "\"'().;@\\".includes(character) ? `\\${character}` : character;
});

/** Fills `labels`; gives the offset behind the name, or -1. A question has nothing before it that a pointer could name. */
function readLabels(packet: Bytes, labels: string[]): number {
  let at = headerBytes;
  for (;;) {
    const length = packet[at];
    if (length === undefined || length > labelBytesMax) return -1;
    at++;
    if (length === 0) return at;
    const end = at + length;
    if (end >= packet.length || end - headerBytes >= nameBytesMax) return -1;
    let text = "";
    for (; at < end; at++) text += labelText[packet[at] as number] as string;
    labels.push(text);
  }
}

/** What the last OPT record after the question says. */
function readEdns(packet: Bytes, from: number): Edns | undefined | "malformed" {
  if (from === packet.length) return undefined;
  const counts = word(packet, 6) + word(packet, 8) + word(packet, 10);
  if (counts === 0) return undefined;
  // The common case by hand: one OPT record and nothing else.
  if (
    counts === 1 &&
    word(packet, 10) === 1 &&
    from + 11 <= packet.length &&
    packet[from] === 0 &&
    word(packet, from + 1) === recordTypes.OPT
  ) {
    const options = from + 11;
    const end = options + word(packet, from + 9);
    return end > packet.length ? "malformed" : readOptions(packet, word(packet, from + 3), options, end);
  }
  const buffer = asBuffer(packet);
  let edns: Edns | undefined;
  let at = from;
  try {
    for (let left = counts; left > 0 && at < packet.length; left--) {
      const { udpPayloadSize } = codec.answer.decode(buffer, at);
      const end = at + codec.answer.decode.bytes;
      if (end > packet.length) return "malformed";
      if (udpPayloadSize !== undefined) {
        // A root name is one byte here: pointers to it are legal, rare, and cost no more than the subnet.
        const found =
          packet[at] === 0 ? readOptions(packet, udpPayloadSize, at + 11, end) : { size: udpPayloadSize, subnet: undefined };
        if (found === "malformed") return found;
        edns = found;
      }
      at = end;
    }
  } catch {
    return "malformed";
  }
  return edns;
}

function readOptions(packet: Bytes, size: number, from: number, end: number): Edns | "malformed" {
  let subnet: Bytes | undefined;
  let at = from;
  while (at < end) {
    if (at + 4 > end) return "malformed";
    const length = word(packet, at + 2);
    if (at + 4 + length > end) return "malformed";
    if (word(packet, at) === subnetOption) {
      subnet = copyOf(packet.subarray(at + 4, at + 4 + length));
      if (!plausibleSubnet(subnet)) return "malformed";
      subnet[3] = 0;
    }
    at += 4 + length;
  }
  return { size, subnet };
}

/** RFC 7871: family, source and scope prefix length, address. */
function plausibleSubnet(option: Bytes): boolean {
  if (option.length < 4) return false;
  const family = word(option, 0);
  const source = option[2] as number;
  if (family === 0) return source === 0;
  const addressBytes = family === 1 ? 4 : family === 2 ? 16 : 0;
  return addressBytes > 0 && source <= addressBytes * 8 && option.length - 4 <= addressBytes;
}

export interface UpstreamReply {
  readonly id: number;
  readonly rcode: number;
  /** The question section, for comparing with the one that was asked. */
  readonly questionName: string;
  readonly questionType: number;
  /** Addresses, aliases and texts; other types are left out. */
  readonly answers: readonly DnsRecord[];
}

/** A recursor's answer; undefined when it is none, or malformed. */
export function decodeUpstream(packet: Bytes): UpstreamReply | undefined {
  if (packet.length < headerBytes || ((packet[2] as number) & 0x80) === 0 || word(packet, 4) !== 1) return undefined;
  try {
    const message = codec.decode(asBuffer(packet));
    const answers = message.answers.map(upstreamRecord).filter((record) => record !== undefined);
    const nameEnd = readLabels(packet, []);
    if (nameEnd < 0) return undefined;
    const questionName = message.questions[0]?.name.toLowerCase() ?? "";
    return { id: word(packet, 0), rcode: (packet[3] as number) & 15, questionName, questionType: word(packet, nameEnd), answers };
  } catch {
    return undefined;
  }
}

function upstreamRecord(record: LooseRecord): DnsRecord | undefined {
  const owner = record.name === "." ? "" : record.name;
  const ttl = record.ttl ?? 0;
  if (!nameFits(owner)) return undefined;
  if ((record.type === "A" || record.type === "AAAA") && typeof record.data === "string") {
    const address = parseIp(record.data);
    return address === undefined ? undefined : addressRecord(owner, ttl, address);
  }
  if (record.type === "CNAME" && typeof record.data === "string") {
    return nameFits(record.data) ? { kind: "name", type: recordTypes.CNAME, owner, ttl, target: record.data } : undefined;
  }
  if (record.type === "TXT" && Array.isArray(record.data))
    return { kind: "data", type: recordTypes.TXT, owner, ttl, data: encodeTxt(record.data) };
  return undefined;
}

/** The content of a TXT record; a string beyond 255 bytes becomes several, which readers join. */
export function encodeTxt(texts: readonly (string | Bytes)[]): Bytes {
  const strings: Buffer[] = [];
  for (const text of texts) {
    const bytes = typeof text === "string" ? utf8(text) : text;
    for (let at = 0; at === 0 || at < bytes.length; at += textBytesMax)
      strings.push(asBuffer(bytes.subarray(at, at + textBytesMax)));
  }
  // The first two bytes are the length, which the writer puts there itself.
  return codec.txt.encode(strings).subarray(2);
}

/** Whether every label and the whole name keep within the bounds of a message. */
export function nameFits(name: string): boolean {
  if (name === "") return true;
  let whole = 1;
  for (const label of name.split(".")) {
    const length = utf8Length(label);
    if (length === 0 || length > labelBytesMax) return false;
    whole += length + 1;
  }
  return whole <= nameBytesMax;
}

function utf8Length(text: string): number {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 127) return utf8(text).length;
  return text.length;
}

/** A label's or name's bytes as a string of one character each, which is what the writer compares and writes. */
export function byteString(name: string): string {
  for (let at = 0; at < name.length; at++) if (name.charCodeAt(at) > 127) return String.fromCharCode(...utf8(name));
  return name;
}

interface LooseRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl?: number;
  readonly data?: unknown;
  readonly udpPayloadSize?: number;
}

/** What is used of dns-packet; its published types leave these parts out. */
interface Codec {
  decode(bytes: Buffer): { readonly questions: readonly { readonly name: string }[]; readonly answers: readonly LooseRecord[] };
  readonly answer: { readonly decode: { (bytes: Buffer, at: number): LooseRecord; readonly bytes: number } };
  readonly txt: { encode(strings: readonly Buffer[]): Buffer };
}
const codec = dnsPacket as unknown as Codec;

/** dns-packet reads with Buffer's methods; the bytes are shared, not copied. */
function asBuffer(bytes: Bytes): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
