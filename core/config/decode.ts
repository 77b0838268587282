/**
 * One source (a file, a fragment) to typed settings: each value is checked against its key's type, and keys that
 * do not exist are collected. Strictness and texts are Consul 1.8's: a string is not taken for a number, a list of one
 * is taken for its element, and a key matches in any letter case unless its exact spelling is there too.
 */
import { checkKeys, type DefinitionKeyRow, type DefinitionKeyType, serviceKeys } from "./definition-keys.ts";
import { setOwn } from "./go-text.ts";
import type { HclObject, HclValue } from "./hcl.ts";
import { configKeys, type KeyType } from "./keys.ts";

/** Values by dotted key; an element of a list of objects, and a named object, is Settings again. */
export type Settings = Map<string, Setting>;
export type Setting =
  | string
  | number
  | boolean
  | readonly string[]
  | Readonly<Record<string, string>>
  | Readonly<Record<string, readonly string[]>>
  | HclObject
  | readonly HclObject[]
  | Settings
  | readonly Settings[];

export interface Decoded {
  readonly settings: Settings;
  /** Wrong types, sorted. Each is one line of Consul's "N error(s) decoding:". */
  readonly problems: readonly string[];
  /** Dotted, sorted. */
  readonly unknown: readonly string[];
}

export interface DecodeOptions {
  /** The language decides what Consul calls a number. */
  readonly format: "hcl" | "json";
  /** Top-level keys that plugins own: taken as they are. */
  readonly sections?: readonly string[];
}

type Leaf = Exclude<KeyType | DefinitionKeyType, "check" | "checks" | "service" | "services">;
type KeyNode =
  | { readonly kind: "leaf"; readonly type: Leaf }
  | { readonly kind: "section"; readonly section: Section }
  | { readonly kind: "element"; readonly section: () => Section }
  | { readonly kind: "list"; readonly section: () => Section }
  | { readonly kind: "named"; readonly section: Section };

interface Section {
  readonly children: Map<string, KeyNode>;
  /** Lower case to the key's own name. */
  readonly aliases: Map<string, string>;
}

const checkSection: Section = grow(checkKeys);
const serviceSection: Section = grow(serviceKeys);
const configSection: Section = grow(configKeys);

export function decodeConfig(raw: HclObject, options: DecodeOptions): Decoded {
  return decodeWith(configSection, raw, options);
}

/** A file that holds `service`, `services`, `check`, `checks` and perhaps other keys of an agent's configuration. */
function decodeWith(section: Section, raw: HclObject, options: DecodeOptions): Decoded {
  const decoder = new Decoder(options);
  decoder.section(section, raw, "", "", decoder.settings);
  return { settings: decoder.settings, problems: decoder.problems.sort(), unknown: decoder.unknown.sort() };
}

function grow(rows: readonly (DefinitionKeyRow | { readonly key: string; readonly type: KeyType })[]): Section {
  const root: Section = { children: new Map(), aliases: new Map() };
  for (const row of rows) {
    let at = root;
    const names = row.key.split(".");
    names.forEach((part, depth) => {
      const isList = part.endsWith("[]");
      const name = isList ? part.slice(0, -2) : part;
      if (depth === names.length - 1) {
        at.children.set(name, nodeOf(row.type));
        for (const alias of "aliases" in row ? (row.aliases ?? []) : []) at.aliases.set(alias, name);
        return;
      }
      // "name.*" is a map of sections: the star's own section is what the rows below fill.
      if (part === "*") return;
      const named = names[depth + 1] === "*";
      const existing = at.children.get(name);
      const section = existing === undefined ? { children: new Map(), aliases: new Map() } : sectionOf(existing);
      if (existing === undefined) {
        if (isList) at.children.set(name, { kind: "list", section: () => section });
        else at.children.set(name, { kind: named ? "named" : "section", section });
      }
      at = section;
    });
  }
  return root;
}

function nodeOf(type: KeyType | DefinitionKeyType): KeyNode {
  switch (type) {
    case "check":
      return { kind: "element", section: () => checkSection };
    case "checks":
      return { kind: "list", section: () => checkSection };
    case "service":
      return { kind: "element", section: () => serviceSection };
    case "services":
      return { kind: "list", section: () => serviceSection };
    default:
      return { kind: "leaf", type };
  }
}

function sectionOf(node: KeyNode): Section {
  if (node.kind === "leaf") throw new Error("a key cannot be both a value and a section");
  return typeof node.section === "function" ? node.section() : node.section;
}

class Decoder {
  readonly settings: Settings = new Map();
  readonly problems: string[] = [];
  readonly unknown: string[] = [];
  readonly #options: DecodeOptions;

  constructor(options: DecodeOptions) {
    this.#options = options;
  }

  /** `path` is what errors name, `prefix` what keys in `into` begin with. */
  section(section: Section, raw: HclObject, path: string, prefix: string, into: Settings): void {
    const given = this.#translate(section, raw);
    const folded = new Map<string, string>();
    for (const key of given.keys()) folded.set(key.toLowerCase(), key);
    const used = new Set<string>();
    for (const [name, node] of section.children) {
      const key = given.has(name) ? name : folded.get(name);
      if (key === undefined) continue;
      used.add(key);
      this.#node(node, given.get(key) as HclValue, join(path, name), prefix + name, into);
    }
    for (const [key, value] of given) {
      if (used.has(key)) continue;
      if (path === "" && this.#options.sections?.includes(key)) into.set(key, { value });
      else this.unknown.push(join(path, key));
    }
  }

  /** Older spellings become the key's own name; where both are given the own name wins. */
  #translate(section: Section, raw: HclObject): Map<string, HclValue> {
    const given = new Map(Object.entries(raw));
    for (const key of Object.keys(raw)) {
      const name = section.aliases.get(key.toLowerCase());
      if (name === undefined) continue;
      if (!given.has(name)) given.set(name, raw[key] as HclValue);
      given.delete(key);
    }
    return given;
  }

  #node(node: KeyNode, raw: HclValue, path: string, key: string, into: Settings): void {
    if (raw === null) return;
    switch (node.kind) {
      case "leaf": {
        const value = this.#leaf(node.type, raw, path);
        if (value !== undefined) into.set(key, value);
        return;
      }
      case "section": {
        const value = this.#map(raw, path);
        if (value !== undefined) this.section(node.section, value, path, `${key}.`, into);
        return;
      }
      case "element": {
        const value = this.#map(raw, path);
        if (value === undefined) return;
        const element: Settings = new Map();
        this.section(node.section(), value, path, "", element);
        into.set(key, element);
        return;
      }
      case "list":
        into.set(key, this.#sections(node.section(), raw, path));
        return;
      case "named": {
        const value = this.#map(raw, path);
        if (value === undefined) return;
        const named: Settings = new Map();
        for (const [name, fields] of Object.entries(value)) {
          const element: Settings = new Map();
          const map = this.#map(fields, `${path}[${name}]`);
          if (map !== undefined) this.section(node.section, map, `${path}[${name}]`, "", element);
          named.set(name, element);
        }
        into.set(key, named);
      }
    }
  }

  #sections(section: Section, raw: HclValue, path: string): Settings[] {
    const elements: Settings[] = [];
    this.#list(raw, path).forEach((value, at) => {
      const element: Settings = new Map();
      const map = this.#map(value, `${path}[${at}]`);
      if (map !== undefined) this.section(section, map, `${path}[${at}]`, "", element);
      elements.push(element);
    });
    return elements;
  }

  #leaf(type: Leaf, raw: HclValue, path: string): Setting | undefined {
    switch (type) {
      case "string":
      case "duration":
        return this.#scalar("string", raw, path) as string | undefined;
      case "bool":
        return this.#scalar("bool", raw, path) as boolean | undefined;
      case "int":
        return this.#integer("int", raw, path);
      case "uint":
      case "uint64":
        return this.#unsigned(type, raw, path);
      case "float":
        return this.#scalar("float64", raw, path) as number | undefined;
      case "strings":
        return this.#list(raw, path).map((value, at) => String(this.#scalar("string", value, `${path}[${at}]`) ?? ""));
      case "map":
        return this.#mapOf(raw, path, (value, at) => (this.#scalar("string", value, at) as string | undefined) ?? "");
      case "listMap":
        return this.#mapOf(raw, path, (value, at) =>
          this.#list(value, at).map((element, index) => String(this.#scalar("string", element, `${at}[${index}]`) ?? "")),
        );
      case "object": {
        const value = this.#map(raw, path);
        return value === undefined ? undefined : unwrapAll(value);
      }
      case "objects":
        return this.#list(raw, path).map((value, at) => unwrapAll(this.#map(value, `${path}[${at}]`) ?? {}));
    }
  }

  #mapOf<Value>(raw: HclValue, path: string, decode: (value: HclValue, at: string) => Value): Record<string, Value> | undefined {
    const value = this.#map(raw, path);
    if (value === undefined) return undefined;
    const out: Record<string, Value> = {};
    for (const [name, element] of Object.entries(value)) setOwn(out, name, decode(element, `${path}[${name}]`));
    return out;
  }

  #scalar(goType: "string" | "bool" | "float64", raw: HclValue, path: string): HclValue | undefined {
    const value = unwrap(raw);
    if (value === null) return undefined;
    const wanted = goType === "string" ? "string" : goType === "bool" ? "boolean" : "number";
    if (typeof value === wanted) return value;
    this.problems.push(`'${path}' expected type '${goType}', got unconvertible type '${this.#typeOf(value)}'`);
    return undefined;
  }

  /** A fraction is cut off, as Consul does. */
  #integer(goType: "int" | "uint" | "uint64", raw: HclValue, path: string): number | undefined {
    const value = unwrap(raw);
    if (value === null) return undefined;
    if (typeof value === "number") return Math.trunc(value) + 0;
    this.problems.push(`'${path}' expected type '${goType}', got unconvertible type '${this.#typeOf(value)}'`);
    return undefined;
  }

  #unsigned(goType: "uint" | "uint64", raw: HclValue, path: string): number | undefined {
    const value = unwrap(raw);
    if (typeof value === "number" && value < 0) {
      const shown = this.#typeOf(value) === "int" ? String(value) : value.toFixed(6);
      this.problems.push(`cannot parse '${path}', ${shown} overflows uint`);
      return undefined;
    }
    return this.#integer(goType, raw, path);
  }

  #list(raw: HclValue, path: string): readonly HclValue[] {
    if (raw === null) return [];
    if (Array.isArray(raw)) return raw;
    this.problems.push(`'${path}': source data must be an array or slice, got ${this.#kindOf(raw)}`);
    return [];
  }

  #map(raw: HclValue, path: string): HclObject | undefined {
    const value = unwrap(raw);
    if (value === null) return undefined;
    if (typeof value === "object" && !Array.isArray(value)) return value;
    this.problems.push(`'${path}' expected a map, got '${this.#kindOf(value)}'`);
    return undefined;
  }

  #kindOf(value: HclValue): string {
    if (Array.isArray(value)) return "slice";
    if (typeof value === "object") return "map";
    return this.#typeOf(value);
  }

  #typeOf(value: HclValue): string {
    if (Array.isArray(value)) {
      const blocks =
        this.#options.format === "hcl" &&
        value.length > 0 &&
        value.every((element) => typeof element === "object" && !Array.isArray(element));
      return blocks ? "[]map[string]interface {}" : "[]interface {}";
    }
    if (typeof value === "object") return "map[string]interface {}";
    if (typeof value === "boolean") return "bool";
    if (typeof value === "string") return "string";
    return this.#options.format === "hcl" && Number.isInteger(value) ? "int" : "float64";
  }
}

/** A list of one stands for its element wherever no list is wanted: an HCL block is a list of objects. */
function unwrap(value: HclValue): HclValue {
  return Array.isArray(value) && value.length === 1 ? (value[0] as HclValue) : value;
}

/** The same for every value of a free form, and of the objects in it: blocks within blocks become plain objects. */
function unwrapAll(object: HclObject): HclObject {
  const out: HclObject = {};
  for (const [key, value] of Object.entries(object)) {
    const single = unwrap(value);
    setOwn(out, key, typeof single === "object" && single !== null && !Array.isArray(single) ? unwrapAll(single) : single);
  }
  return out;
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
