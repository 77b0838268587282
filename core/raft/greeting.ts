/**
 * What two servers tell each other before anything else, and how failures travel.
 *
 *   dialing: first byte 16, hello ──►      ◄── hello, or a failure that says why not
 *
 * A version of ours that another cannot speak to raises `version`; fields may be added at any time and are ignored by
 * those who do not know them.
 */
import { encode, tryDecode } from "../codec/cbor.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, type ErrorCode } from "../types/errors.ts";
import { checkedInteger, type NodeId } from "../types/ids.ts";

/** The first byte on the server port: core/rpc/first-byte.ts calls it `ownRaft`. */
export const protocolByte = 16;
export const protocolVersion = 1;
export const helloBytesMax = 4096;
/** Waiting to be sent to one server. */
export const sendBytesMax = 48 * 1024 * 1024;

const textLengthMax = 256;

export interface Hello {
  readonly version: number;
  readonly datacenter: string;
  readonly from: NodeId;
  /** Whom the sender believes to reach. */
  readonly to: NodeId;
  /** Names the process: a restarted server is the same one in another life. */
  readonly life: string;
}

export function encodeHello(hello: Hello): Bytes {
  return encode(hello);
}

/** Undefined for what is none. */
export function decodeHello(bytes: Bytes): Hello | undefined {
  const value = tryDecode(bytes)?.value;
  if (typeof value !== "object" || value === null) return undefined;
  const { version, datacenter, from, to, life } = value as Readonly<Record<string, unknown>>;
  const versionNumber = checkedInteger(version);
  if (versionNumber === undefined || !isText(datacenter) || !isText(from) || !isText(to) || !isText(life)) return undefined;
  return { version: versionNumber, datacenter, from, to, life };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= textLengthMax;
}

/** Codes that another server's refusal may carry; anything else it says is `rejected`. Those of lost connections are ours alone. */
const codes: ReadonlySet<string> = new Set<ErrorCode>([
  "bad-request",
  "rejected",
  "permission-denied",
  "not-found",
  "too-large",
  "rate-limited",
  "not-supported",
  "no-leader",
  "no-datacenter",
  "timeout",
  "closed",
]);

export function encodeFailure(error: unknown): Bytes {
  const message = error instanceof Error ? error.message : String(error);
  return encode([error instanceof AgentError ? error.code : "rejected", message]);
}

export function decodeFailure(bytes: Bytes): AgentError {
  const value = tryDecode(bytes)?.value;
  const [code, message] = Array.isArray(value) ? (value as readonly unknown[]) : [];
  return new AgentError(typeof code === "string" && codes.has(code) ? (code as ErrorCode) : "rejected", {
    message: typeof message === "string" ? message : "the other server refused without a reason",
  });
}
