/** The query string, as Go's `url.ParseQuery` reads it. */
import { wellFormed } from "./go.ts";

const fieldsMax = 1000;

/** Names to values, in the order sent. */
export class QueryValues {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The first value; "" when missing. */
  get(name: string): string {
    return this.#values.get(name)?.[0] ?? "";
  }

  all(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  get size(): number {
    return this.#values.size;
  }

  /** Sorted by name, escaped: Go's `Values.Encode`. */
  encode(): string {
    const parts: string[] = [];
    for (const name of [...this.#values.keys()].sort()) {
      for (const value of this.#values.get(name) as readonly string[]) parts.push(`${queryEscape(name)}=${queryEscape(value)}`);
    }
    return parts.join("&");
  }
}

const none = new QueryValues(new Map());

/** `raw` is what follows "?". Undefined when an escape is broken, or there are more fields than anyone sends. */
export function parseQueryString(raw: string): QueryValues | undefined {
  if (raw === "") return none;
  const values = new Map<string, string[]>();
  const fields = raw.split(/[&;]/);
  if (fields.length > fieldsMax) return undefined;
  for (const field of fields) {
    if (field === "") continue;
    const equals = field.indexOf("=");
    const name = queryUnescape(equals < 0 ? field : field.slice(0, equals));
    const value = equals < 0 ? "" : queryUnescape(field.slice(equals + 1));
    if (name === undefined || value === undefined) return undefined;
    const existing = values.get(name);
    if (existing === undefined) values.set(name, [value]);
    else existing.push(value);
  }
  return new QueryValues(values);
}

const percentBytes = /%[0-9a-fA-F]{2}/g;
const lenient = new TextDecoder();
const encoder = new TextEncoder();

/** Undefined when a "%" is not followed by two hex digits. Bytes that are not UTF-8 become U+FFFD. */
export function percentDecode(escaped: string): string | undefined {
  if (!escaped.includes("%")) return escaped;
  if (escaped.replace(percentBytes, "").includes("%")) return undefined;
  try {
    return decodeURIComponent(escaped);
  } catch {
    const source = encoder.encode(escaped);
    const bytes = new Uint8Array(source.length);
    let used = 0;
    for (let at = 0; at < source.length; at++) {
      if (source[at] !== 37) bytes[used++] = source[at] as number;
      else {
        bytes[used++] = Number.parseInt(String.fromCharCode(source[at + 1] as number, source[at + 2] as number), 16);
        at += 2;
      }
    }
    return lenient.decode(bytes.subarray(0, used));
  }
}

function queryUnescape(escaped: string): string | undefined {
  return percentDecode(escaped.includes("+") ? escaped.replaceAll("+", " ") : escaped);
}

function queryEscape(plain: string): string {
  return encodeURIComponent(wellFormed(plain))
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%20", "+");
}
