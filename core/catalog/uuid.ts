/** UUIDs as Consul's two libraries for them read and refuse them. */
import { utf8 } from "../types/bytes.ts";

/** A UUID as a key: hex digits without hyphens, so that order and prefixes are those of its bytes. */
export function idKey(id: string): string {
  return id.replaceAll("-", "").toLowerCase();
}

/** Why Consul's state store does not accept `id` in a look-up by UUID (go-memdb, UUIDFieldIndex); undefined when it does. */
export function idLookupFault(id: string): string | undefined {
  if (utf8(id).length !== 36) return "UUID must be 36 characters";
  return hexFault(id);
}

/**
 * `prefix` as a key prefix for {@link idKey}, as Consul looks nodes up by the beginning of their ID; undefined when it cannot be one.
 * An odd last digit is ignored.
 */
export function idPrefixKey(prefix: string): string | undefined {
  const even = prefix.length % 2 === 0 ? prefix : prefix.slice(0, -1);
  if (even.length > 36 || hexFault(even) !== undefined) return undefined;
  return idKey(even);
}

/** Why `id` is not a well-formed UUID (go-uuid, ParseUUID); undefined when it is. */
export function idFault(id: string): string | undefined {
  if (utf8(id).length !== 36) return "uuid string is wrong length";
  for (const at of [8, 13, 18, 23]) if (id[at] !== "-") return "uuid is improperly formatted";
  const digits = id.slice(0, 8) + id.slice(9, 13) + id.slice(14, 18) + id.slice(19, 23) + id.slice(24);
  return badDigit(digits);
}

function hexFault(id: string): string | undefined {
  const digits = id.replaceAll("-", "");
  const hyphens = id.length - digits.length;
  if (hyphens > 4) return `UUID should have maximum of 4 "-"; got ${hyphens}`;
  if (utf8(digits).length % 2 !== 0) return "Input (without hyphens) must be even length";
  const bad = badDigit(digits);
  return bad === undefined ? undefined : `Invalid UUID: ${bad}`;
}

function badDigit(digits: string): string | undefined {
  const bad = /[^0-9a-fA-F]/.exec(digits);
  if (bad === null) return undefined;
  // Go names the first bad byte as if it were a character of its own.
  const byte = utf8(digits.slice(bad.index))[0] as number;
  const shown = byte < 0x80 ? String.fromCharCode(byte) : String.fromCodePoint(byte);
  return `encoding/hex: invalid byte: U+${byte.toString(16).toUpperCase().padStart(4, "0")} '${shown}'`;
}
