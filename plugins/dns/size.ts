/**
 * How much of an answer a client gets.
 *
 *   UDP             512 bytes and at most 3 answers (`dns_config.udp_answer_limit`, never above 8)
 *   UDP with EDNS   what the client says, as many answers as fit
 *   TCP             64 KiB, counted without compression; 4096 answers, 1024 for SRV
 *
 * Answers are cut from the end; the additional section then keeps one record for each SRV target that is left. Consul
 * 1.8 does so for services alone, sends a single oversized answer anyway and counts OPT outside the limit; here every
 * answer keeps to the size its reader allows: the additional section is given up first, then the rest, as "truncated".
 */
import type { Bytes } from "../../core/types/bytes.ts";
import { assert } from "../../core/types/errors.ts";
import { type DnsQuery, flagTruncated, messageBytesMax, word } from "./message.ts";
import { type DnsRecord, recordTypes } from "./records.ts";
import { optBytes, plainLength, type Sections, takeWritten, writeReply } from "./writer.ts";

export type Transport = "udp" | "tcp";

export interface SizeRules {
  readonly udpAnswerLimit: number;
  readonly compress: boolean;
  /** Tell the client that something is missing. Off by default: some resolvers then never accept the short answer. */
  readonly enableTruncate: boolean;
}

const udpBytes = 512;
/** 64 KiB without the headers of IPv6 and UDP. */
const udpBytesMax = 65467;
const udpAnswersMax = 8;
const tcpBytesMax = 65523;
const tcpAnswersMax = 4096;
const tcpSrvAnswersMax = 1024;
/** Left free at the end of a UDP answer, as Consul 1.8 does. */
const spareBytes = 7;
/** An A record whose name is a pointer: no answer is smaller. */
const answerBytesMin = 16;

/** No more answers than this can reach the client: making more is wasted. */
export function answersMax(query: DnsQuery, transport: Transport, rules: SizeRules): number {
  if (transport === "tcp") return query.type === recordTypes.SRV ? tcpSrvAnswersMax : tcpAnswersMax;
  const size = udpSize(query);
  return size === udpBytes ? Math.min(udpAnswersMax, rules.udpAnswerLimit) : Math.ceil(size / answerBytesMin);
}

export interface Reply extends Sections {
  /** Answers were left out already because of `answersMax`. */
  readonly more: boolean;
  /** Instances of a service: any few of them will do. Other answers are cut only by their size, and the client is always told. */
  readonly anyFew: boolean;
}

/** The bytes of the answer. */
export function fitReply(query: DnsQuery, flags: number, reply: Reply, transport: Transport, rules: SizeRules): Bytes {
  const countMax = reply.anyFew ? answersMax(query, transport, rules) : Number.POSITIVE_INFINITY;
  const cutByCount = reply.more || reply.answers.length > countMax;
  const whole: Sections = reply.answers.length > countMax ? cut(reply, countMax, reply.authorities) : reply;
  const truncated = rules.enableTruncate || !reply.anyFew ? flags | flagTruncated : flags;
  const wholeFlags = cutByCount ? truncated : flags;
  // A client that gave no size may sit behind software that takes the answer apart and writes it without compression.
  const plain = transport === "tcp" || (udpSize(query) === udpBytes && cutByCount);
  const bytesMax = transport === "tcp" ? tcpBytesMax : udpSize(query) - Math.max(spareBytes, optBytes(query));
  const bytes = (candidate: Sections): number =>
    plain
      ? plainLength(query, candidate)
      : (writeReply(query, wholeFlags, candidate, rules.compress) ?? messageBytesMax) - optBytes(query);

  if (bytes(whole) <= bytesMax) return plain ? write(query, wholeFlags, whole, rules) : takeWritten();
  const fewer = whole.answers.length > 1 ? mostAnswers(whole, (candidate) => bytes(candidate) <= bytesMax) : whole;
  const fewerFlags = fewer.answers.length < whole.answers.length ? truncated : wholeFlags;
  // One answer may take what is otherwise left free.
  const hardMax = transport === "tcp" ? tcpBytesMax : udpSize(query) - optBytes(query);
  const fits = (candidate: Sections): boolean => bytes(candidate) <= hardMax;
  const fitted = fits(fewer) ? fewer : mostAdditionals(fewer, fits);
  if (fits(fitted)) return write(query, fewerFlags, fitted, rules);
  return write(query, flags | flagTruncated, nothing, rules);
}

/** Another server's reply as it is, or its head alone, as "truncated", when it is longer than the client takes by UDP. */
export function fitForeign(query: DnsQuery, reply: Bytes, transport: Transport): Bytes {
  if (transport === "tcp" || reply.length <= udpSize(query)) return reply;
  const length = writeReply(query, word(reply, 2) | flagTruncated, nothing, true);
  assert(length !== undefined, "a head can be written");
  return takeWritten();
}

const nothing: Sections = { answers: [], authorities: [], additionals: [] };

function udpSize(query: DnsQuery): number {
  return Math.min(Math.max(query.edns?.size ?? 0, udpBytes), udpBytesMax);
}

function write(query: DnsQuery, flags: number, sections: Sections, rules: SizeRules): Bytes {
  const length = writeReply(query, flags, sections, rules.compress);
  assert(length !== undefined, "what fits can be written");
  return takeWritten();
}

/** As many answers as fit, one at least, found by halving: the length grows with their number. */
function mostAnswers(sections: Sections, fits: (candidate: Sections) => boolean): Sections {
  let fitting = Math.min(1, sections.answers.length);
  let tooMany = sections.answers.length + 1;
  while (tooMany - fitting > 1) {
    const middle = (fitting + tooMany) >> 1;
    if (fits(cut(sections, middle, []))) fitting = middle;
    else tooMany = middle;
  }
  return cut(sections, fitting, []);
}

function mostAdditionals(sections: Sections, fits: (candidate: Sections) => boolean): Sections {
  let fitting = 0;
  let tooMany = sections.additionals.length + 1;
  const take = (count: number): Sections => ({ ...sections, additionals: sections.additionals.slice(0, count) });
  while (tooMany - fitting > 1) {
    const middle = (fitting + tooMany) >> 1;
    if (fits(take(middle))) fitting = middle;
    else tooMany = middle;
  }
  return take(fitting);
}

/** The first `count` answers, and of the additional records the first for each SRV target, followed through aliases. */
function cut(sections: Sections, count: number, authorities: readonly DnsRecord[]): Sections {
  const answers = sections.answers.slice(0, count);
  if (sections.additionals.length === 0) return { answers, authorities, additionals: [] };
  const byOwner = new Map<string, DnsRecord>();
  for (const record of sections.additionals) {
    const owner = record.owner?.toLowerCase();
    if (owner !== undefined && !byOwner.has(owner)) byOwner.set(owner, record);
  }
  const additionals: DnsRecord[] = [];
  const resolved = new Set<string>();
  for (const answer of answers) {
    let target = answer.kind === "srv" ? answer.target.toLowerCase() : undefined;
    while (target !== undefined && !resolved.has(target)) {
      resolved.add(target);
      const record = byOwner.get(target);
      if (record !== undefined) additionals.push(record);
      target = record?.kind === "name" && record.type === recordTypes.CNAME ? record.target.toLowerCase() : undefined;
    }
  }
  return { answers, authorities, additionals };
}
