/**
 * Flags as Go's flag package reads them, which is not how any JavaScript library does.
 *
 *   -name value   -name=value   --name value   --name=value      the four ways to give a value
 *   -bool         -bool=false                                    a boolean never takes the next word
 *   --            first word without "-"                         end the flags; everything after is positional
 *
 * A word after a flag that takes a value is that value, whatever it looks like: `-node -x` names the node "-x". That is
 * why the lexer must know the definitions, and why no rewriting of "-x" to "--x" in front of another parser can work.
 */
import { goQuote, setOwn } from "../../core/config/go-text.ts";
import type { Millis } from "../../core/types/ids.ts";
import { unreachable } from "../../core/types/errors.ts";
import { parseBool, parseInt64, parseUint64 } from "./number-words.ts";
import { parseDuration } from "../../core/config/duration.ts";

interface FlagText {
  /** One or more sentences for the help. */
  readonly help: string;
  /** The environment variable read when the flag is not given. */
  readonly env?: string;
  /** What stands for the value in the help: "key=value", "path". Default: the kind. */
  readonly placeholder?: string;
  /** Which part of the help it is listed in. Default: the command's own options. */
  readonly group?: "connection" | "request";
  /** Consul wraps some flags in types of its own, whose errors name the Go function that failed. */
  readonly errorStyle?: "strconv";
}

export interface BoolFlag extends FlagText {
  readonly kind: "bool";
  readonly initial: boolean;
}
export interface StringFlag extends FlagText {
  readonly kind: "string";
  readonly initial: string;
}
export interface IntFlag extends FlagText {
  readonly kind: "int";
  readonly initial: number;
}
/** 64 bits, so a bigint: KV flags use all of them. */
export interface UintFlag extends FlagText {
  readonly kind: "uint";
  readonly initial: bigint;
}
export interface DurationFlag extends FlagText {
  readonly kind: "duration";
  readonly initial: Millis;
}
/** May be repeated. */
export interface ListFlag extends FlagText {
  readonly kind: "list";
}
/** May be repeated; each is key=value, and a later one of the same key wins. */
export interface MapFlag extends FlagText {
  readonly kind: "map";
}

export type Flag = BoolFlag | StringFlag | IntFlag | UintFlag | DurationFlag | ListFlag | MapFlag;
/** By name, without the dash. */
export type Flags = Readonly<Record<string, Flag>>;

type ValueOf<F extends Flag> = F extends BoolFlag
  ? boolean
  : F extends StringFlag
    ? string
    : F extends UintFlag
      ? bigint
      : F extends ListFlag
        ? readonly string[]
        : F extends MapFlag
          ? Readonly<Record<string, string>>
          : number;

export type FlagValues<Definitions extends Flags> = { readonly [Name in keyof Definitions]: ValueOf<Definitions[Name]> };

export type ParsedFlags<Definitions extends Flags> =
  | {
      readonly kind: "parsed";
      readonly values: FlagValues<Definitions>;
      /** Names that stood on the command line, as opposed to keeping their initial value. */
      readonly given: ReadonlySet<string>;
      /** Every flag as it stood there, in order and repeated where it was repeated; a boolean without a value is "true". */
      readonly occurrences: readonly FlagOccurrence[];
      readonly positional: readonly string[];
    }
  /** In Go's words. */
  | { readonly kind: "invalid"; readonly message: string }
  /** -h or -help where no such flag is defined. */
  | { readonly kind: "help" };

export interface FlagOccurrence {
  /** Without the dash. */
  readonly name: string;
  readonly value: string;
}

type FlagValue = boolean | string | number | bigint | string[] | Record<string, string>;

/** Reads `args` up to the first that is no flag. */
export function parseFlags<Definitions extends Flags>(
  definitions: Definitions,
  args: readonly string[],
): ParsedFlags<Definitions> {
  const values = new Map<string, FlagValue>();
  const occurrences: FlagOccurrence[] = [];
  for (const [name, flag] of Object.entries(definitions)) values.set(name, initialValue(flag));

  let at = 0;
  while (at < args.length) {
    const word = args[at] as string;
    if (word.length < 2 || !word.startsWith("-")) break;
    at++;
    if (word === "--") break;
    const text = word.slice(word.startsWith("--") ? 2 : 1);
    if (text === "" || text.startsWith("-") || text.startsWith("="))
      return { kind: "invalid", message: `bad flag syntax: ${word}` };
    const equals = text.indexOf("=");
    const name = equals < 0 ? text : text.slice(0, equals);
    const flag = Object.hasOwn(definitions, name) ? definitions[name] : undefined;
    if (flag === undefined) {
      return name === "h" || name === "help"
        ? { kind: "help" }
        : { kind: "invalid", message: `flag provided but not defined: -${name}` };
    }
    let value = equals < 0 ? undefined : text.slice(equals + 1);
    if (value === undefined && flag.kind === "bool") value = "true";
    if (value === undefined) {
      if (at === args.length) return { kind: "invalid", message: `flag needs an argument: -${name}` };
      value = args[at++] as string;
    }
    const problem = setValue(values, name, flag, value);
    if (problem !== undefined) {
      const what =
        flag.kind === "bool"
          ? `invalid boolean value ${goQuote(value)} for -${name}`
          : `invalid value ${goQuote(value)} for flag -${name}`;
      return { kind: "invalid", message: `${what}: ${problem}` };
    }
    occurrences.push({ name, value });
  }
  // Set from the definitions above, each by its kind: the map holds exactly what the type says.
  return {
    kind: "parsed",
    values: Object.fromEntries(values) as FlagValues<Definitions>,
    given: new Set(occurrences.map(({ name }) => name)),
    occurrences,
    positional: args.slice(at),
  };
}

function initialValue(flag: Flag): FlagValue {
  if (flag.kind === "list") return [];
  if (flag.kind === "map") return {};
  return flag.initial;
}

/** Undefined when `text` was stored, otherwise what is wrong with it. */
function setValue(values: Map<string, FlagValue>, name: string, flag: Flag, text: string): string | undefined {
  switch (flag.kind) {
    case "string":
      values.set(name, text);
      return undefined;
    case "bool": {
      const value = parseBool(text);
      if (value === undefined)
        return flag.errorStyle === "strconv" ? `strconv.ParseBool: parsing ${goQuote(text)}: invalid syntax` : "parse error";
      values.set(name, value);
      return undefined;
    }
    case "int":
    case "uint":
      return setInteger(values, name, flag, text);
    case "duration": {
      const parsed = parseDuration(text);
      if (parsed.kind === "invalid") return flag.errorStyle === "strconv" ? parsed.problem : "parse error";
      values.set(name, parsed.millis);
      return undefined;
    }
    case "list":
      (values.get(name) as string[]).push(text);
      return undefined;
    case "map": {
      const equals = text.indexOf("=");
      if (equals < 0) return `Missing "=" value in argument: ${text}`;
      setOwn(values.get(name) as Record<string, string>, text.slice(0, equals), text.slice(equals + 1));
      return undefined;
    }
    default:
      return unreachable(flag);
  }
}

function setInteger(values: Map<string, FlagValue>, name: string, flag: IntFlag | UintFlag, text: string): string | undefined {
  // Flags of Consul's own types are read by strconv: signed ones by Atoi, which knows decimal numbers only.
  const reader = flag.errorStyle !== "strconv" ? undefined : flag.kind === "uint" ? "ParseUint" : "Atoi";
  const parsed =
    flag.kind === "uint"
      ? parseUint64(text)
      : reader !== undefined && !/^[+-]?\d+$/.test(text)
        ? ({ kind: "syntax" } as const)
        : parseInt64(text);
  if (parsed.kind === "integer") {
    values.set(name, flag.kind === "int" ? Number(parsed.value) : parsed.value);
    return undefined;
  }
  const problem = parsed.kind === "range" ? "value out of range" : "invalid syntax";
  if (reader !== undefined) return `strconv.${reader}: parsing ${goQuote(text)}: ${problem}`;
  return parsed.kind === "range" ? problem : "parse error";
}
