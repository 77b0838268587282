/** Serf's messages as bytes: a type byte and a MessagePack map with Go's field names (serf 0.9.4). The only file here that knows them. */
import type { Coordinate } from "../catalog/records.ts";
import { Fields, textMapOf } from "../codec/fields.ts";
import { decode, decodeFirst, type Encodable, encode, Float, Malformed, shortText, type Value } from "../codec/msgpack.ts";
import { type Bytes, concat, emptyBytes } from "../types/bytes.ts";
import { unreachable } from "../types/errors.ts";
import { isValid } from "./coordinates.ts";
import type { Member } from "../plugin/agent-api.ts";
import { lamportMax } from "./lamport.ts";
import type { EventSlot, Query, QueryFilter, SerfMessage, SerfState } from "./messages.ts";

export const serfType = {
  leave: 0,
  join: 1,
  pushPull: 2,
  userEvent: 3,
  query: 4,
  queryResponse: 5,
  conflictResponse: 6,
  keyRequest: 7,
  keyResponse: 8,
  relay: 9,
} as const;

const uint16Max = 0xffff;
const uint32Max = 0xffffffff;
const nameBytesMax = 1024;
/** Marks meta that holds tags; what begins otherwise is the value of the tag "role" alone. */
const tagsMagic = 255;
const coordinateVersion = 1;

export function encodeSerf(message: SerfMessage): Bytes {
  switch (message.kind) {
    case "leave":
      return typed(serfType.leave, { LTime: message.time, Node: message.node, Prune: message.prune });
    case "join":
      return typed(serfType.join, { LTime: message.time, Node: message.node });
    case "userEvent":
      return typed(serfType.userEvent, {
        CC: message.coalesce,
        LTime: message.time,
        Name: message.name,
        Payload: message.payload ?? null,
      });
    case "query":
      return typed(serfType.query, queryFields(message));
    case "queryResponse":
      return typed(serfType.queryResponse, {
        Flags: message.flags,
        From: message.from,
        ID: message.id,
        LTime: message.time,
        Payload: message.payload ?? null,
      });
    case "relay": {
      const header = { DestAddr: { IP: message.address, Port: message.port, Zone: "" }, DestName: message.node };
      return concat([Uint8Array.of(serfType.relay), encode(header), message.inner]);
    }
    default:
      return unreachable(message);
  }
}

/** Throws `Malformed`. Byte fields are views of `bytes`. */
export function decodeSerf(bytes: Bytes): SerfMessage {
  const body = bytes.subarray(1);
  if (bytes[0] === serfType.relay) return relayOf(body);
  const fields = new Fields(decode(body));
  switch (bytes[0]) {
    case serfType.leave:
      return { kind: "leave", time: timeOf(fields, "LTime"), node: nameOf(fields, "Node"), prune: fields.flag("Prune") };
    case serfType.join:
      return { kind: "join", time: timeOf(fields, "LTime"), node: nameOf(fields, "Node") };
    case serfType.userEvent:
      return {
        kind: "userEvent",
        time: timeOf(fields, "LTime"),
        name: fields.text("Name"),
        payload: fields.bytes("Payload"),
        coalesce: fields.flag("CC"),
      };
    case serfType.query:
      return queryOf(fields);
    case serfType.queryResponse:
      return {
        kind: "queryResponse",
        time: timeOf(fields, "LTime"),
        id: fields.unsigned("ID", uint32Max),
        from: nameOf(fields, "From"),
        flags: fields.unsigned("Flags", uint32Max),
        payload: fields.bytes("Payload"),
      };
    default:
      throw new Malformed(`serf message type ${bytes[0]} is not known`);
  }
}

export function encodeState(state: SerfState): Bytes {
  return typed(serfType.pushPull, {
    EventLTime: state.eventTime,
    Events: state.events.map((slot) => (slot === undefined ? null : slotFields(slot))),
    LTime: state.time,
    LeftMembers: state.leftMembers,
    QueryLTime: state.queryTime,
    StatusLTimes: state.statusTimes as ReadonlyMap<string, Encodable>,
  });
}

/** Throws `Malformed`. */
export function decodeState(bytes: Bytes): SerfState {
  if (bytes[0] !== serfType.pushPull) throw new Malformed(`remote state begins with type ${bytes[0]}`);
  const fields = new Fields(decode(bytes.subarray(1)));
  const times = fields.fields("StatusLTimes");
  const statusTimes = new Map<string, number>();
  for (const name of times.names()) if (isName(name)) statusTimes.set(name, timeOf(times, name));
  return {
    time: timeOf(fields, "LTime"),
    statusTimes,
    leftMembers: fields.texts("LeftMembers").filter(isName),
    eventTime: timeOf(fields, "EventLTime"),
    events: fields.list("Events").map(slotOf),
    queryTime: timeOf(fields, "QueryLTime"),
  };
}

/** A member's meta. Keys keep their order: others compare these bytes, so encode once and keep the result. */
export function encodeTags(tags: Readonly<Record<string, string>>): Bytes {
  return concat([Uint8Array.of(tagsMagic), encode(tags)]);
}

/** Never throws: broken tags read as none. */
export function decodeTags(meta: Bytes | undefined): Readonly<Record<string, string>> {
  if (meta === undefined || meta[0] !== tagsMagic) return { role: shortText(meta ?? emptyBytes) };
  try {
    return textMapOf(decode(meta.subarray(1)), "tags");
  } catch (error) {
    if (error instanceof Malformed) return {};
    throw error;
  }
}

/** What rides on an ack. */
export function encodeCoordinate(coordinate: Coordinate): Bytes {
  const fields = {
    Adjustment: new Float(coordinate.adjustment),
    Error: new Float(coordinate.error),
    Height: new Float(coordinate.height),
    Vec: coordinate.vec.map((value) => new Float(value)),
  };
  return typed(coordinateVersion, fields);
}

/** Undefined for another version, for broken bytes and for coordinates that cannot be computed with. */
export function decodeCoordinate(payload: Bytes): Coordinate | undefined {
  if (payload[0] !== coordinateVersion) return undefined;
  try {
    const fields = new Fields(decode(payload.subarray(1)));
    const vec = fields.list("Vec").map((value) => (typeof value === "number" ? value : Number.NaN));
    const coordinate = {
      vec,
      error: fields.float("Error"),
      adjustment: fields.float("Adjustment"),
      height: fields.float("Height"),
    };
    return isValid(coordinate) ? coordinate : undefined;
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

const statusNumbers: Readonly<Record<Member["status"], number>> = { none: 0, alive: 1, leaving: 2, left: 3, failed: 4 };

/** Whom we know under a disputed name: nil when nobody. `address` is the member's own bytes. */
export function encodeConflict(member: Member | undefined, address: Bytes | undefined): Bytes {
  if (member === undefined) return concat([Uint8Array.of(serfType.conflictResponse), encode(null)]);
  return typed(serfType.conflictResponse, {
    Addr: address ?? null,
    DelegateCur: member.delegateCur,
    DelegateMax: member.delegateMax,
    DelegateMin: member.delegateMin,
    Name: member.name,
    Port: member.port,
    ProtocolCur: member.protocolCur,
    ProtocolMax: member.protocolMax,
    ProtocolMin: member.protocolMin,
    Status: statusNumbers[member.status],
    Tags: member.tags,
  });
}

export function typed(type: number, body: Encodable): Bytes {
  return concat([Uint8Array.of(type), encode(body)]);
}

function queryFields(query: Query): Encodable {
  return {
    Addr: query.address,
    Filters: query.filters === undefined ? null : query.filters.map(encodeFilter),
    Flags: query.flags,
    ID: query.id,
    LTime: query.time,
    Name: query.name,
    Payload: query.payload ?? null,
    Port: query.port,
    RelayFactor: query.relayFactor,
    SourceNode: query.sourceNode,
    Timeout: query.timeout,
  };
}

function queryOf(fields: Fields): Query {
  const filters = fields.list("Filters").map(filterOf);
  return {
    kind: "query",
    time: timeOf(fields, "LTime"),
    id: fields.unsigned("ID", uint32Max),
    address: fields.bytes("Addr") ?? emptyBytes,
    port: fields.unsigned("Port", uint16Max),
    sourceNode: nameOf(fields, "SourceNode"),
    filters: fields.value("Filters") === null ? undefined : filters,
    flags: fields.unsigned("Flags", uint32Max),
    relayFactor: fields.unsigned("RelayFactor", 255),
    timeout: fields.signed("Timeout"),
    name: fields.text("Name"),
    payload: fields.bytes("Payload"),
  };
}

const filterType = { nodes: 0, tag: 1 } as const;

function encodeFilter(filter: QueryFilter): Bytes {
  switch (filter.kind) {
    case "nodes":
      return typed(filterType.nodes, filter.nodes);
    case "tag":
      return typed(filterType.tag, { Expr: filter.expression, Tag: filter.tag });
    case "unknown":
      return filter.encoded;
    default:
      return unreachable(filter);
  }
}

function filterOf(value: Value): QueryFilter {
  if (!(value instanceof Uint8Array)) throw new Malformed("Filters holds something else than bytes");
  if (value[0] === filterType.nodes) {
    const names = decode(value.subarray(1));
    const fields = new Fields(new Map([["nodes", names]]));
    return { kind: "nodes", nodes: fields.texts("nodes") };
  }
  if (value[0] === filterType.tag) {
    const fields = new Fields(decode(value.subarray(1)));
    return { kind: "tag", tag: fields.text("Tag"), expression: fields.text("Expr") };
  }
  return { kind: "unknown", encoded: value };
}

function relayOf(body: Bytes): SerfMessage {
  const { value, end } = decodeFirst(body, 0);
  const fields = new Fields(value);
  const destination = fields.fields("DestAddr");
  return {
    kind: "relay",
    address: destination.bytes("IP") ?? emptyBytes,
    port: destination.unsigned("Port", uint16Max),
    node: nameOf(fields, "DestName"),
    inner: body.subarray(end),
  };
}

function slotFields(slot: EventSlot): Encodable {
  return { Events: slot.events.map(({ name, payload }) => ({ Name: name, Payload: payload ?? null })), LTime: slot.time };
}

function slotOf(value: Value): EventSlot | undefined {
  if (value === null) return undefined;
  const fields = new Fields(value);
  const events = fields.list("Events").map((item) => {
    const event = new Fields(item);
    return { name: event.text("Name"), payload: event.bytes("Payload") };
  });
  return { time: timeOf(fields, "LTime"), events };
}

function timeOf(fields: Fields, name: string): number {
  return fields.unsigned(name, lamportMax);
}

/** No member can have a longer name. */
function isName(name: string): boolean {
  return name.length <= nameBytesMax;
}

function nameOf(fields: Fields, field: string): string {
  const bytes = fields.bytes(field);
  if (bytes === undefined) return "";
  if (bytes.length > nameBytesMax) throw new Malformed(`${field} is longer than ${nameBytesMax} bytes`);
  return shortText(bytes);
}
