/**
 * Filter expressions in Consul's language, checked against a table of selectors and compiled to a predicate.
 *
 *   compileFilter('Node.Meta.rack == r1 and Checks.Status != passing', checkedInstanceFields)
 *
 * Where a selector passes through a list, one element that matches is enough, also for "not": `Checks.Status != passing`
 * is true when any check is not passing. A map's missing key is unlike everything and empty.
 */
import { goQuote } from "../config/go-text.ts";
import { compileRegex } from "../structures/linear-regex.ts";
import { AgentError, unreachable } from "../types/errors.ts";
import type { Field, FieldTable } from "./filter-fields.ts";
import { type Expression, type Operator, parseFilter } from "./filter-parser.ts";

export type Predicate<Row> = (row: Row) => boolean;
type Match = Extract<Expression, { readonly kind: "match" }>;
type Test = (value: never) => boolean;

/** What Consul's servers put before the fault. Its agents, for their own services and checks, put nothing before a bad selector. */
export const serverPrefix = "Failed to create boolean expression evaluator: ";

/** Undefined for "", which filters nothing. Throws `rejected` with Consul's text. */
export function compileFilter<Row>(
  expression: string,
  fields: FieldTable<Row>,
  prefix = serverPrefix,
): Predicate<Row> | undefined {
  if (expression === "") return undefined;
  const parsed = parseFilter(expression);
  if ("fault" in parsed) throw broken(prefix + parsed.fault);
  return compile(parsed.expression, fields, prefix);
}

function compile<Row>(expression: Expression, fields: FieldTable<Row>, prefix: string): Predicate<Row> {
  switch (expression.kind) {
    case "and": {
      const parts = expression.parts.map((part) => compile(part, fields, prefix));
      return (row) => parts.every((part) => part(row));
    }
    case "or": {
      const parts = expression.parts.map((part) => compile(part, fields, prefix));
      return (row) => parts.some((part) => part(row));
    }
    case "not": {
      const inner = compile(expression.inner, fields, prefix);
      return (row) => !inner(row);
    }
    case "match":
      return compileMatch(expression, fields as FieldTable<never>, prefix) as Predicate<Row>;
    default:
      return unreachable(expression);
  }
}

function compileMatch(match: Match, fields: FieldTable<never>, prefix: string): Test {
  const path = resolve(match, fields, prefix);
  const target = path[path.length - 1] as Field<never>;
  const selector = goQuote(match.selector.join("."));
  if (!operatorsOf(target).includes(match.operator)) {
    throw broken(`${prefix}Invalid match operator ${goQuote(match.operator)} for selector ${selector}`);
  }
  const test = compileTest(match, target, {
    coerce: (value, why) => broken(`${prefix}Failed to coerce value ${goQuote(value)} for selector ${selector}: ${why}`),
    pattern: (value, why) => broken(`${prefix}Failed to compile regular expression ${goQuote(value)}: ${why}`),
  });
  return follow(path, match, test);
}

/** The fields along the selector. */
function resolve(match: Match, fields: FieldTable<never>, prefix: string): readonly Field<never>[] {
  const path: Field<never>[] = [];
  let known: FieldTable<never> | undefined = fields;
  let element: Field<never> | undefined;
  match.selector.forEach((name, at) => {
    const field: Field<never> | undefined = known !== undefined && Object.hasOwn(known, name) ? known[name] : element;
    if (field === undefined) throw broken(`${prefix}Selector ${goQuote(match.selector.slice(0, at + 1).join("."))} is not valid`);
    path.push(field);
    known = field.kind === "record" || field.kind === "records" ? field.fields : undefined;
    element = field.kind === "map" ? field.element : undefined;
  });
  return path;
}

/** From the row to the value, and there the test. */
function follow(path: readonly Field<never>[], match: Match, test: Test): Test {
  let inner = test;
  for (let at = path.length - 1; at >= 0; at--) {
    const field = path[at] as Field<never>;
    const above = at === 0 ? undefined : path[at - 1];
    const next = inner;
    const read = (parent: never): boolean => {
      const value = field.get(parent) as never;
      if (field.kind === "records" && at < path.length - 1) return (value as readonly never[]).some((item) => next(item));
      return next(value);
    };
    inner = above?.kind === "map" ? throughKey(match.selector[at] as string, read, missing(match.operator)) : read;
  }
  return inner;
}

function throughKey(key: string, read: Test, otherwise: boolean): Test {
  return (map: Readonly<Record<string, unknown>> | undefined) =>
    map !== undefined && Object.hasOwn(map, key) ? read(map[key] as never) : otherwise;
}

/** What a match says about a key that is not in the map. */
function missing(operator: Operator): boolean {
  return operator !== "Equal" && operator !== "Is Not Empty" && operator !== "In";
}

function operatorsOf(field: Field<never>): readonly Operator[] {
  switch (field.kind) {
    case "text":
      return ["Equal", "Not Equal", "In", "Not In", "Matches", "Not Matches"];
    case "integer":
    case "flag":
      return ["Equal", "Not Equal"];
    case "texts":
    case "map":
      return ["In", "Not In", "Is Empty", "Is Not Empty"];
    case "records":
      return ["Is Empty", "Is Not Empty"];
    case "record":
      return [];
    default:
      return unreachable(field);
  }
}

/** A value that does not fit its selector. */
interface Faults {
  readonly coerce: (value: string, why: string) => AgentError;
  readonly pattern: (value: string, why: string) => AgentError;
}

function compileTest(match: Match, field: Field<never>, faults: Faults): Test {
  const wanted = match.value ?? "";
  const positive = positiveTest(match.operator, wanted, field, faults);
  return match.operator.includes("Not") ? (value: never) => !positive(value) : positive;
}

function positiveTest(operator: Operator, wanted: string, field: Field<never>, faults: Faults): Test {
  switch (operator) {
    case "Equal":
    case "Not Equal": {
      const expected =
        field.kind === "integer" ? toInteger(wanted, faults) : field.kind === "flag" ? toFlag(wanted, faults) : wanted;
      return (value: unknown) => value === expected;
    }
    case "In":
    case "Not In":
      if (field.kind === "map") return (value: object | undefined) => value !== undefined && Object.hasOwn(value, wanted);
      return (value: string | readonly string[]) => value.includes(wanted);
    case "Is Empty":
    case "Is Not Empty":
      return (value: object | undefined) => value === undefined || Object.keys(value).length === 0;
    case "Matches":
    case "Not Matches": {
      const compiled = compileRegex(wanted);
      if ("fault" in compiled) throw faults.pattern(wanted, compiled.fault);
      return (value: string) => compiled.regex.test(value);
    }
    default:
      return unreachable(operator);
  }
}

const flags: Readonly<Record<string, boolean>> = {
  "1": true,
  t: true,
  T: true,
  TRUE: true,
  true: true,
  True: true,
  "0": false,
  f: false,
  F: false,
  FALSE: false,
  false: false,
  False: false,
};

function toFlag(value: string, faults: Faults): boolean {
  const flag = Object.hasOwn(flags, value) ? flags[value] : undefined;
  if (flag === undefined) throw faults.coerce(value, `strconv.ParseBool: parsing ${goQuote(value)}: invalid syntax`);
  return flag;
}

/** As Go's ParseInt with base 0: decimal, or by its prefix; digits may be grouped by underscores only after a prefix. */
function toInteger(value: string, faults: Faults): number {
  const parts =
    /^([+-]?)(?:(0[xX](?:_?[0-9a-fA-F])+)|(0[bB](?:_?[01])+)|(0[oO](?:_?[0-7])+)|(0(?:_?[0-7])*)|([1-9](?:_?[0-9])*))$/.exec(
      value,
    );
  if (parts === null) throw faults.coerce(value, `strconv.ParseInt: parsing ${goQuote(value)}: invalid syntax`);
  const digits = value.slice((parts[1] as string).length).replaceAll("_", "");
  const octal = parts[5] !== undefined && digits.length > 1 ? `0o${digits}` : digits;
  const magnitude = BigInt(octal);
  const negative = parts[1] === "-";
  if (magnitude > 2n ** 63n - (negative ? 0n : 1n)) {
    throw faults.coerce(value, `strconv.ParseInt: parsing ${goQuote(value)}: value out of range`);
  }
  return Number(negative ? -magnitude : magnitude);
}

function broken(message: string): AgentError {
  return new AgentError("rejected", { message });
}
