/** Consul's struct of a check's definition: durations are nanoseconds on the wire, and text in our records, as in JSON. */
import type { Fields } from "../../codec/fields.ts";
import { type Encodable, Malformed, type Value } from "../../codec/msgpack.ts";
import type { Json, JsonObject } from "../../catalog/records.ts";
import { formatDuration, parseDuration } from "../../config/duration.ts";
import { textOf as textOfBytes } from "../../codec/fields.ts";
import { numberOf, textOf, withoutEmpty } from "./proxy.ts";
import { millisField, nanoseconds } from "./wire-values.ts";

export function encodeDefinition(definition: JsonObject): Encodable {
  return {
    AliasNode: textOf(definition["AliasNode"]),
    AliasService: textOf(definition["AliasService"]),
    Body: textOf(definition["Body"]),
    DeregisterCriticalServiceAfter: duration(definition["DeregisterCriticalServiceAfter"]),
    DockerContainerID: textOf(definition["DockerContainerID"]),
    GRPC: textOf(definition["GRPC"]),
    GRPCUseTLS: definition["GRPCUseTLS"] === true,
    HTTP: textOf(definition["HTTP"]),
    Header: encodeHeader(definition["Header"]),
    Interval: duration(definition["Interval"]),
    Method: textOf(definition["Method"]),
    OutputMaxSize: numberOf(definition["OutputMaxSize"]),
    ScriptArgs: texts(definition["ScriptArgs"]),
    Shell: textOf(definition["Shell"]),
    TCP: textOf(definition["TCP"]),
    TLSSkipVerify: definition["TLSSkipVerify"] === true,
    TTL: duration(definition["TTL"]),
    Timeout: duration(definition["Timeout"]),
  };
}

/** Throws `Malformed`. Empty fields are left out. */
export function decodeDefinition(fields: Fields): JsonObject {
  return withoutEmpty({
    Interval: durationText(fields, "Interval"),
    OutputMaxSize: fields.unsigned("OutputMaxSize"),
    Timeout: durationText(fields, "Timeout"),
    DeregisterCriticalServiceAfter: durationText(fields, "DeregisterCriticalServiceAfter"),
    HTTP: fields.text("HTTP"),
    TLSSkipVerify: fields.flag("TLSSkipVerify"),
    Header: decodeHeader(fields.value("Header")),
    Method: fields.text("Method"),
    Body: fields.text("Body"),
    TCP: fields.text("TCP"),
    ScriptArgs: fields.texts("ScriptArgs"),
    DockerContainerID: fields.text("DockerContainerID"),
    Shell: fields.text("Shell"),
    GRPC: fields.text("GRPC"),
    GRPCUseTLS: fields.flag("GRPCUseTLS"),
    AliasNode: fields.text("AliasNode"),
    AliasService: fields.text("AliasService"),
    // The one duration that Consul's JSON shows as a number.
    TTL: Math.round(millisField(fields, "TTL") * 1e6),
  });
}

function duration(value: Json | undefined): number | bigint {
  if (typeof value === "number") return Math.trunc(value);
  const parsed = typeof value === "string" && value !== "" ? parseDuration(value) : undefined;
  return parsed?.kind === "duration" ? nanoseconds(parsed.millis) : 0;
}

function durationText(fields: Fields, name: string): string {
  const millis = millisField(fields, name);
  return millis === 0 ? "" : formatDuration(millis);
}

function texts(value: Json | undefined): Encodable {
  return Array.isArray(value) && value.length > 0 ? (value as readonly Json[]).map(textOf) : null;
}

function encodeHeader(value: Json | undefined): Encodable {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  return new Map(Object.entries(value as JsonObject).map(([name, items]) => [name, texts(items)]));
}

function decodeHeader(value: Value): Json {
  if (value === null) return null;
  if (!(value instanceof Map)) throw new Malformed("Header is not a map");
  const headers: [string, readonly string[]][] = [];
  for (const [name, items] of value as ReadonlyMap<string, Value>) {
    if (items !== null && !Array.isArray(items)) throw new Malformed("Header is not a map of lists");
    headers.push([name, ((items ?? []) as readonly Value[]).map((item) => textOfBytes(item, "Header"))]);
  }
  return Object.fromEntries(headers);
}
