/** Reading a decoded map as Go reads one into a struct: missing and nil mean zero, unknown names are ignored. */
import type { Bytes } from "../types/bytes.ts";
import { Malformed, shortText, type Value, type ValueMap } from "./msgpack.ts";

const nothing: ValueMap = new Map();

/** Every method throws `Malformed` when the field holds another type than the one asked for. */
export class Fields {
  readonly #map: ValueMap;

  constructor(value: Value) {
    if (value === null) this.#map = nothing;
    else if (value instanceof Map) this.#map = value;
    else throw new Malformed("expected a map");
  }

  has(name: string): boolean {
    return this.#map.has(name);
  }

  value(name: string): Value {
    return this.#map.get(name) ?? null;
  }

  /** The map itself, for passing it on. */
  get map(): ValueMap {
    return this.#map;
  }

  names(): IterableIterator<string> {
    return this.#map.keys() as IterableIterator<string>;
  }

  /** "" when missing. */
  text(name: string): string {
    const value = this.value(name);
    if (value === null) return "";
    return textOf(value, name);
  }

  /** Undefined when missing or nil, which is not the same as empty. */
  bytes(name: string): Bytes | undefined {
    const value = this.value(name);
    if (value === null) return undefined;
    if (value instanceof Uint8Array) return value;
    if (Array.isArray(value)) return bytesOfArray(value as readonly Value[], name);
    throw new Malformed(`${name} is not bytes`);
  }

  /** A whole number in [0, `max`]; 0 when missing. */
  unsigned(name: string, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.value(name);
    if (value === null) return 0;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max) {
      throw new Malformed(`${name} is not a whole number in range`);
    }
    return value;
  }

  /** A whole number that JavaScript holds exactly; 0 when missing. */
  signed(name: string): number {
    const value = this.value(name);
    if (value === null) return 0;
    if (typeof value !== "number" || !Number.isSafeInteger(value)) throw new Malformed(`${name} is not a whole number`);
    return value;
  }

  /** Any 64-bit whole number; 0 when missing. */
  wide(name: string): number | bigint {
    const value = this.value(name);
    if (value === null) return 0;
    if (typeof value === "bigint") return value;
    if (typeof value !== "number" || !Number.isInteger(value)) throw new Malformed(`${name} is not a whole number`);
    return value;
  }

  /** 0 when missing. Integers are floats too. */
  float(name: string): number {
    const value = this.value(name);
    if (value === null) return 0;
    if (typeof value !== "number") throw new Malformed(`${name} is not a number`);
    return value;
  }

  /** False when missing. */
  flag(name: string): boolean {
    const value = this.value(name);
    if (value === null || value === 0) return false;
    if (value === 1) return true;
    if (typeof value !== "boolean") throw new Malformed(`${name} is not a truth value`);
    return value;
  }

  /** Empty when missing. */
  list(name: string): readonly Value[] {
    const value = this.value(name);
    if (value === null) return [];
    if (!Array.isArray(value)) throw new Malformed(`${name} is not a list`);
    return value as readonly Value[];
  }

  texts(name: string): readonly string[] {
    return this.list(name).map((item) => (item === null ? "" : textOf(item, name)));
  }

  /** An empty one when missing: `has` and `value` tell the difference. */
  fields(name: string): Fields {
    return new Fields(this.value(name));
  }

  /** A map of text to text. */
  textMap(name: string): Record<string, string> {
    return textMapOf(this.value(name), name);
  }
}

export function textMapOf(value: Value, name: string): Record<string, string> {
  if (value === null) return {};
  if (!(value instanceof Map)) throw new Malformed(`${name} is not a map`);
  const entries: [string, string][] = [];
  for (const [key, item] of value as ValueMap) entries.push([key, item === null ? "" : textOf(item, name)]);
  // fromEntries defines its properties, so that "__proto__" is a key like any other.
  return Object.fromEntries(entries);
}

export function textOf(value: Value, name: string): string {
  if (value instanceof Uint8Array) return shortText(value);
  throw new Malformed(`${name} is not text`);
}

function bytesOfArray(items: readonly Value[], name: string): Bytes {
  const bytes = new Uint8Array(items.length);
  for (let at = 0; at < items.length; at++) {
    const item = items[at] as Value;
    if (typeof item !== "number" || !Number.isInteger(item) || item < 0 || item > 255)
      throw new Malformed(`${name} is not bytes`);
    bytes[at] = item;
  }
  return bytes;
}
