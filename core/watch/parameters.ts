/** The parameters of a watch, taken one after the other, with the texts of Consul 1.8 where one does not fit. */
import { goNumber, goValue } from "../config/go-value.ts";
import { AgentError } from "../types/errors.ts";

export type GivenParameters = Readonly<Record<string, unknown>>;

/** Tokens never reach a log. */
const hidden = "<hidden>";

export class WatchParameters {
  readonly #left: Map<string, unknown>;

  constructor(given: GivenParameters) {
    this.#left = new Map(Object.entries(given));
  }

  has(name: string): boolean {
    return this.#left.has(name);
  }

  /** Whatever it is. Undefined: not given. */
  take(name: string): unknown {
    const value = this.#left.get(name);
    this.#left.delete(name);
    return value;
  }

  /** What `read` makes of it; left where it is when that throws. */
  takeIf<Value>(name: string, read: (value: unknown) => Value): Value {
    const value = read(this.#left.get(name));
    this.#left.delete(name);
    return value;
  }

  /** "" when it is not given. Throws: Expecting key to be a string. */
  text(name: string): string {
    return this.#typed(name, "", "a string", (value): value is string => typeof value === "string");
  }

  flag(name: string): boolean {
    return this.#typed(name, false, "a boolean", (value): value is boolean => typeof value === "boolean");
  }

  /** One string stands for a list of one. */
  texts(name: string): readonly string[] {
    const value = this.#left.get(name);
    if (value === undefined) return [];
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (!Array.isArray(value) && typeof value !== "string") throw invalid(`Expecting ${name} to be a string or []string`);
    const strange = list.findIndex((element) => typeof element !== "string");
    if (strange >= 0) throw invalid(`Index ${strange} of ${name} expected to be string`);
    this.#left.delete(name);
    return list as readonly string[];
  }

  /** Throws when parameters are left that nobody took. */
  refuseRest(): void {
    if (this.#left.size > 0) throw invalid(`Invalid parameters: [${[...this.#left.keys()].sort().join(" ")}]`);
  }

  /** What is left, as Go shows a map. */
  shown(): string {
    const left = Object.fromEntries([...this.#left].map(([name, value]) => [name, name === "token" ? hidden : value]));
    return goValue(left);
  }

  #typed<Value>(name: string, none: Value, expected: string, fits: (value: unknown) => value is Value): Value {
    const value = this.#left.get(name);
    if (value === undefined) return none;
    if (!fits(value)) throw invalid(`Expecting ${name} to be ${expected}`);
    this.#left.delete(name);
    return value;
  }
}

/** A watch is not as it should be; the message is Consul's. */
export function invalid(message: string): AgentError {
  return new AgentError("config-invalid", { message });
}

/** A value that should be a string, as Go's `%s` complains of it: %!s(int=3). */
export function goText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return `%!s(${Number.isInteger(value) ? "int" : "float64"}=${goNumber(value)})`;
  if (typeof value === "boolean") return `%!s(bool=${value})`;
  return goValue(value);
}
