/**
 * A user event as it travels: the payload of a Serf user event named `consul:event:NAME`. A MessagePack map in the new
 * form, fields of no value left out (Consul 1.8, user_event.go).
 */
import { Fields } from "../codec/fields.ts";
import { decode, encode, Malformed } from "../codec/msgpack.ts";
import type { UserEvent } from "../plugin/agent-api.ts";
import type { Bytes } from "../types/bytes.ts";

/** Of the names under which user events are gossiped. */
export const userEventPrefix = "consul:event:";
/** The name of the event by which a new leader is announced to all agents; Consul's know it too. */
export const newLeaderEvent = "consul:new-leader";
/** The version of the payload that is written. One of a later version is read as if it were this. */
export const userEventVersion = 1;

/** Whose name and filters together are too long is for the pool to refuse. */
export function encodeUserEvent(event: UserEvent): Bytes {
  const orAbsent = (text: string): string | undefined => (text === "" ? undefined : text);
  return encode(
    {
      ID: event.id,
      n: event.name,
      p: event.payload === undefined || event.payload.length === 0 ? undefined : event.payload,
      nf: orAbsent(event.nodeFilter),
      sf: orAbsent(event.serviceFilter),
      tf: orAbsent(event.tagFilter),
      v: event.version,
    },
    { dialect: "new" },
  );
}

const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** `time` is the Lamport time at which it was gossiped. Throws `Malformed`, also for an ID that is none. */
export function decodeUserEvent(payload: Bytes, time: number): UserEvent {
  const fields = new Fields(decode(payload));
  const id = fields.text("ID");
  if (!uuidForm.test(id)) throw new Malformed("ID is not a UUID");
  return {
    id,
    name: fields.text("n"),
    // A copy: what was decoded is a view of a packet that others share.
    payload: fields.bytes("p")?.slice(),
    nodeFilter: fields.text("nf"),
    serviceFilter: fields.text("sf"),
    tagFilter: fields.text("tf"),
    version: fields.signed("v"),
    time,
  };
}
