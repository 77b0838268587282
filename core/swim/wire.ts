/**
 * Members' messages as bytes: one type byte and a MessagePack map with Go's field names (memberlist 0.2.2).
 * The only file of this folder that knows those names. Layers around a message are in packets.ts and streams.ts.
 */
import { Fields } from "../codec/fields.ts";
import { decode, type Encodable, encode, Malformed, shortText, type Value } from "../codec/msgpack.ts";
import { type Bytes, concat } from "../types/bytes.ts";
import { unreachable } from "../types/errors.ts";
import {
  type Alive,
  type MemberClaim,
  type MemberCondition,
  metaBytesMax,
  nameBytesMax,
  type Origin,
  type SwimMessage,
} from "./messages.ts";

/** The first byte of each message and layer. */
export const messageType = {
  ping: 0,
  indirectPing: 1,
  ack: 2,
  suspect: 3,
  alive: 4,
  dead: 5,
  pushPull: 6,
  compound: 7,
  user: 8,
  compress: 9,
  encrypt: 10,
  nack: 11,
  checksum: 12,
  refusal: 13,
} as const;

const uint16Max = 0xffff;
const uint32Max = 0xffffffff;
const conditions: readonly MemberCondition[] = ["alive", "suspect", "dead", "left"];

export function encodeMessage(message: SwimMessage): Bytes {
  switch (message.kind) {
    case "ping":
      return typed(messageType.ping, { Node: message.node, SeqNo: message.sequence, ...originFields(message.origin) });
    case "indirectPing":
      return typed(messageType.indirectPing, {
        Nack: message.nack,
        Node: message.node,
        Port: message.port,
        SeqNo: message.sequence,
        Target: message.target,
        ...originFields(message.origin),
      });
    case "ack":
      return typed(messageType.ack, { Payload: message.payload ?? null, SeqNo: message.sequence });
    case "nack":
      return typed(messageType.nack, { SeqNo: message.sequence });
    case "suspect":
      return typed(messageType.suspect, { From: message.from, Incarnation: message.incarnation, Node: message.node });
    case "dead":
      return typed(messageType.dead, { From: message.from, Incarnation: message.incarnation, Node: message.node });
    case "alive":
      return typed(messageType.alive, {
        Addr: message.address,
        Incarnation: message.incarnation,
        Meta: message.meta ?? null,
        Node: message.node,
        Port: message.port,
        Vsn: message.version,
      });
    case "user":
      return concat([Uint8Array.of(messageType.user), message.payload]);
    case "refusal":
      return typed(messageType.refusal, { Error: message.reason });
    default:
      return unreachable(message);
  }
}

/** Throws `Malformed`. Byte fields of the result are views of `bytes`. */
export function decodeMessage(bytes: Bytes): SwimMessage {
  const type = bytes[0];
  const body = bytes.subarray(1);
  if (type === messageType.user) return { kind: "user", payload: body };
  return decodeBody(type, new Fields(decode(body)));
}

function decodeBody(type: number | undefined, fields: Fields): SwimMessage {
  switch (type) {
    case messageType.ping:
      return pingOf(fields);
    case messageType.indirectPing:
      return {
        kind: "indirectPing",
        sequence: fields.unsigned("SeqNo", uint32Max),
        node: nameOf(fields, "Node"),
        target: fields.bytes("Target") ?? new Uint8Array(0),
        port: fields.unsigned("Port", uint16Max),
        nack: fields.flag("Nack"),
        origin: originOf(fields),
      };
    case messageType.ack:
      return { kind: "ack", sequence: fields.unsigned("SeqNo", uint32Max), payload: fields.bytes("Payload") };
    case messageType.nack:
      return { kind: "nack", sequence: fields.unsigned("SeqNo", uint32Max) };
    case messageType.suspect:
      return { kind: "suspect", ...accusationOf(fields) };
    case messageType.dead:
      return { kind: "dead", ...accusationOf(fields) };
    case messageType.alive:
      return aliveOf(fields);
    case messageType.refusal:
      return { kind: "refusal", reason: fields.text("Error") };
    default:
      throw new Malformed(`message type ${type} is not known`);
  }
}

/** The ping of a stream, whose map has been read already. Throws `Malformed`. */
export function decodePing(value: Value): SwimMessage & { readonly kind: "ping" } {
  return pingOf(new Fields(value));
}

export function encodeClaim(claim: MemberClaim): Bytes {
  return encode({
    Addr: claim.address,
    Incarnation: claim.incarnation,
    Meta: claim.meta ?? null,
    Name: claim.name,
    Port: claim.port,
    State: conditions.indexOf(claim.condition),
    Vsn: claim.version,
  });
}

/** Throws `Malformed`. */
export function decodeClaim(value: Value): MemberClaim {
  const fields = new Fields(value);
  const condition = conditions[fields.unsigned("State")];
  if (condition === undefined) throw new Malformed("State is not known");
  return {
    name: nameOf(fields, "Name"),
    address: fields.bytes("Addr") ?? new Uint8Array(0),
    port: fields.unsigned("Port", uint16Max),
    incarnation: fields.unsigned("Incarnation", uint32Max),
    meta: metaOf(fields),
    condition,
    version: fields.bytes("Vsn") ?? new Uint8Array(0),
  };
}

function typed(type: number, body: Encodable): Bytes {
  return concat([Uint8Array.of(type), encode(body)]);
}

function pingOf(fields: Fields): SwimMessage & { readonly kind: "ping" } {
  return { kind: "ping", sequence: fields.unsigned("SeqNo", uint32Max), node: nameOf(fields, "Node"), origin: originOf(fields) };
}

function aliveOf(fields: Fields): Alive {
  return {
    kind: "alive",
    node: nameOf(fields, "Node"),
    incarnation: fields.unsigned("Incarnation", uint32Max),
    address: fields.bytes("Addr") ?? new Uint8Array(0),
    port: fields.unsigned("Port", uint16Max),
    meta: metaOf(fields),
    version: fields.bytes("Vsn") ?? new Uint8Array(0),
  };
}

function accusationOf(fields: Fields): { readonly node: string; readonly incarnation: number; readonly from: string } {
  return { node: nameOf(fields, "Node"), incarnation: fields.unsigned("Incarnation", uint32Max), from: nameOf(fields, "From") };
}

function nameOf(fields: Fields, field: string): string {
  const bytes = fields.bytes(field);
  if (bytes === undefined) return "";
  if (bytes.length > nameBytesMax) throw new Malformed(`${field} is longer than ${nameBytesMax} bytes`);
  return shortText(bytes);
}

function metaOf(fields: Fields): Bytes | undefined {
  const meta = fields.bytes("Meta");
  if (meta !== undefined && meta.length > metaBytesMax) throw new Malformed(`Meta is longer than ${metaBytesMax} bytes`);
  return meta;
}

function originFields(origin: Origin | undefined): { readonly [field: string]: Encodable | undefined } {
  if (origin === undefined) return {};
  return {
    SourceAddr: origin.address.length === 0 ? undefined : origin.address,
    SourceNode: origin.node === "" ? undefined : origin.node,
    SourcePort: origin.port === 0 ? undefined : origin.port,
  };
}

/** Undefined unless it names an address and a port: an answer without them goes to the packet's source. */
function originOf(fields: Fields): Origin | undefined {
  const address = fields.bytes("SourceAddr");
  const port = fields.unsigned("SourcePort", uint16Max);
  if (address === undefined || address.length === 0 || port === 0) return undefined;
  return { address, port, node: nameOf(fields, "SourceNode") };
}
