/** URLs as Go's net/url writes them. They are shown in errors, and servers may compare them. */
import { utf8 } from "../types/bytes.ts";

function percentEncode(text: string, plain: RegExp): string {
  let escaped = "";
  for (const character of text) {
    if (plain.test(character)) escaped += character;
    else for (const byte of utf8(character)) escaped += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return escaped;
}

/** A path, slashes kept: "/v1/kv/a b" is "/v1/kv/a%20b". */
export function escapePath(path: string): string {
  return percentEncode(path, /^[A-Za-z0-9\-_.~$&+,/:;=@]$/);
}

/** The host part of a URL; for Unix sockets Consul puts the path there, slashes escaped. */
export function escapeHost(host: string): string {
  return percentEncode(host, /^[A-Za-z0-9\-_.~!$&'()*+,;=:[\]<>"]$/);
}

export type QueryParameters = Readonly<Record<string, string | readonly string[]>>;

/** Sorted by key, "?" in front; "" without parameters. A key without a value still gets its "=". */
export function encodeQuery(parameters: QueryParameters): string {
  const pairs: string[] = [];
  for (const key of Object.keys(parameters).sort()) {
    const value = parameters[key] as string | readonly string[];
    for (const each of typeof value === "string" ? [value] : value) pairs.push(`${escapeQuery(key)}=${escapeQuery(each)}`);
  }
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function escapeQuery(text: string): string {
  return percentEncode(text, /^[A-Za-z0-9\-_.~ ]$/).replaceAll(" ", "+");
}
