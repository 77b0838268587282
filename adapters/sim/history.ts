/**
 * What the clients of a simulation did and were told, and the models that it must fit: one register per key, one lock
 * per key. Sessions end as a whole, so the end of one is an operation on each lock that it could hold.
 */
import type { Millis } from "../../core/types/ids.ts";
import { linearizable, type Model, type Operation } from "./linearizable.ts";
import { Violation } from "./violation.ts";

export type KeyInput =
  | { readonly kind: "get" }
  | { readonly kind: "put"; readonly value: string }
  /** `expected`: the value that was read with the index; undefined: the key must not exist. `ambiguous`: it may fail besides. */
  | { readonly kind: "cas"; readonly value: string; readonly expected: string | undefined; readonly ambiguous: boolean }
  | { readonly kind: "delete" }
  | { readonly kind: "acquire"; readonly value: string; readonly session: string }
  | { readonly kind: "release"; readonly value: string; readonly session: string }
  /** `deletes`: what it held goes, instead of being released. */
  | { readonly kind: "sessionEnd"; readonly session: string; readonly delayed: boolean; readonly deletes: boolean };

export type KeyOutput =
  | { readonly kind: "value"; readonly value: string | undefined; readonly holder: string | undefined }
  | { readonly kind: "took"; readonly effect: boolean }
  /** Refused by the catalog: no effect. */
  | { readonly kind: "rejected" };

export interface KeyState {
  readonly value: string | undefined;
  readonly holder: string | undefined;
  /** A session that held it ended with a lock delay: acquiring may fail for a while. */
  readonly delayed: boolean;
}

/**
 * A key of Consul's store. Values are unique in a history, so a check-and-set by index is one by value; keys that are
 * locked are not written otherwise.
 */
export const keyModel: Model<KeyState, KeyInput, KeyOutput> = {
  initial: { value: undefined, holder: undefined, delayed: false },
  step(state, input, output) {
    if (output?.kind === "rejected") return state;
    const took = output?.kind === "took" ? output.effect : undefined;
    switch (input.kind) {
      case "get":
        if (output === undefined) return state;
        return output.kind === "value" && output.value === state.value && output.holder === state.holder ? state : undefined;
      case "put":
        return took === false ? undefined : { ...state, value: input.value };
      case "delete":
        return took === false ? undefined : { value: undefined, holder: undefined, delayed: state.delayed };
      case "cas": {
        const fits = state.value === input.expected;
        if (took === false) return !fits || input.ambiguous ? state : undefined;
        if (took === true && !fits) return undefined;
        return fits ? { ...state, value: input.value } : state;
      }
      case "acquire": {
        const free = state.holder === undefined || state.holder === input.session;
        if (took === true) return free ? { ...state, value: input.value, holder: input.session } : undefined;
        if (took === false) return !free || state.delayed ? state : undefined;
        return free ? { ...state, value: input.value, holder: input.session } : state;
      }
      case "release": {
        const held = state.holder === input.session;
        if (took !== undefined && took !== held) return undefined;
        return held ? { ...state, value: input.value, holder: undefined } : state;
      }
      case "sessionEnd":
        if (state.holder !== input.session) return state;
        return {
          value: input.deletes ? undefined : state.value,
          holder: undefined,
          delayed: state.delayed || input.delayed,
        };
    }
  },
  key: ({ value, holder, delayed }) => `${value}|${holder}|${delayed}`,
};

export type KeyOperation = Operation<KeyInput, KeyOutput>;

/** Several keys that are written and read together: one object. */
export type TogetherInput =
  | { readonly kind: "read" }
  /** Writes all of them, when the first one has the value that was read, undefined for any. */
  | { readonly kind: "write"; readonly values: readonly string[]; readonly expected: string | undefined };
export type TogetherOutput =
  | { readonly kind: "values"; readonly values: readonly (string | undefined)[] }
  | { readonly kind: "took"; readonly effect: boolean }
  | { readonly kind: "rejected" };

/** Written all or none, read as they are at one moment. */
export const togetherModel: Model<readonly (string | undefined)[], TogetherInput, TogetherOutput> = {
  initial: [],
  step(state, input, output) {
    if (output?.kind === "rejected") return state;
    if (input.kind === "read") {
      if (output === undefined) return state;
      return output.kind === "values" && output.values.join("|") === state.join("|") ? state : undefined;
    }
    const fits = input.expected === undefined || input.expected === state[0];
    if (output?.kind === "took" && output.effect !== fits) return undefined;
    return fits ? input.values : state;
  },
  key: (state) => state.join("|"),
};

type TogetherOperation = Operation<TogetherInput, TogetherOutput>;
type Writable<Record> = { -readonly [Field in keyof Record]: Record[Field] };

export class History {
  readonly #byKey = new Map<string, KeyOperation[]>();
  readonly #together: TogetherOperation[] = [];
  /** By session, then by key. */
  readonly #ends = new Map<string, Map<string, Writable<KeyOperation>>>();
  count = 0;

  /** Records it; a later call of the result says that it returned. */
  called(client: number, keys: readonly string[], input: KeyInput, now: Millis): (output: KeyOutput, now: Millis) => void {
    const records: { client: number; call: Millis; return: Millis; input: KeyInput; output: KeyOutput | undefined }[] = [];
    for (const key of keys) {
      const record = { client, call: now, return: Number.POSITIVE_INFINITY, input, output: undefined };
      records.push(record);
      this.#of(key).push(record);
    }
    this.count++;
    return (output, at) => {
      for (const record of records) {
        record.return = at;
        record.output = output;
      }
    };
  }

  /** From then on the session may end by itself, or never; a later call moves that, and adds keys. Nobody is told. */
  mayEnd(client: number, keys: readonly string[], input: Extract<KeyInput, { kind: "sessionEnd" }>, from: Millis): void {
    let ends = this.#ends.get(input.session);
    if (ends === undefined) {
      ends = new Map();
      this.#ends.set(input.session, ends);
    }
    for (const record of ends.values()) if (from > record.call) record.call = from;
    for (const key of keys) {
      if (ends.has(key)) continue;
      const record: Writable<KeyOperation> = { client, call: from, return: Number.POSITIVE_INFINITY, input, output: undefined };
      ends.set(key, record);
      this.#of(key).push(record);
    }
  }

  /** A transaction over all the keys of {@link togetherModel}. */
  calledTogether(client: number, input: TogetherInput, now: Millis): (output: TogetherOutput, now: Millis) => void {
    const record: Writable<TogetherOperation> = {
      client,
      call: now,
      return: Number.POSITIVE_INFINITY,
      input,
      output: undefined,
    };
    this.#together.push(record);
    this.count++;
    return (output, at) => {
      record.return = at;
      record.output = output;
    };
  }

  #of(key: string): KeyOperation[] {
    let operations = this.#byKey.get(key);
    if (operations === undefined) {
      operations = [];
      this.#byKey.set(key, operations);
    }
    return operations;
  }

  of(key: string): readonly KeyOperation[] {
    return this.#byKey.get(key) ?? [];
  }

  /**
   * Throws a {@link Violation} when no order of the operations explains what the clients were told. Gives the number of
   * keys whose history is too long to tell.
   */
  check(): number {
    let undecided = 0;
    for (const [key, operations] of this.#byKey) {
      const verdict = linearizable(keyModel, operations);
      if (verdict.kind === "unknown") undecided++;
      if (verdict.kind !== "impossible") continue;
      const stuck = operations[verdict.stuck];
      throw new Violation("linearizable", `no order explains ${key}: at the latest ${stuck && describeOperation(stuck)}`);
    }
    const verdict = linearizable(togetherModel, this.#together);
    if (verdict.kind === "impossible") {
      const stuck = this.#together[verdict.stuck];
      throw new Violation(
        "transactions are atomic",
        `no order explains them: at the latest ${stuck && describeOperation(stuck)}`,
      );
    }
    return undecided + (verdict.kind === "unknown" ? 1 : 0);
  }
}

export function describeOperation({ client, call, return: end, input, output }: Operation<unknown, unknown>): string {
  const told = output === undefined ? "no answer" : JSON.stringify(output);
  return `client ${client}, ${call.toFixed(3)} to ${end.toFixed(3)}: ${JSON.stringify(input)}, answered ${told}`;
}
