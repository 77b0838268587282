/**
 * The case files: what is asked of both agents, as text.
 *
 *     == a title                         a group of steps; it becomes one test
 *     PUT /v1/kv/a?cas=$i                an HTTP request; `$i`: a value saved before, each agent's own
 *     dig +tcp web.service.consul SRV    a DNS query
 *     $ consul kv get a                  a command line; quotes as in a shell
 *     raw GET / HTTP/1.0\r\n\r\n         these bytes
 *     start NAME GET /v1/kv/a?index=$i   a request whose answer is compared at `finish NAME`
 *     file NAME                          a file for commands; its lines follow, each after "  | "
 *
 * Below a step, indented by two:
 *
 *     header Name: value   body TEXT (lines are joined)   fill N (a body of N bytes)   stdin TEXT   env NAME=value
 *     until PATTERN        ask again, by blocking where the answer has an index, until the body is as wanted
 *     save NAME uuid|PATTERN   the first UUID of the answer, or what the pattern's group finds in head and body
 *     ignoring A.B C       members of the JSON body (* for any), or headers, left out     unordered: the order of arrays, or lines, is no matter
 *     shape                names and types only                          counts: of DNS records only how many of a type
 *     keys                 of a command's output only the words before " = "
 *     head                 of a command only how it ends and its first line: the help is in our own words
 *     differs REASON       a deliberate difference; checked to be one
 */
import type { RequestHead } from "./wire.ts";

export interface Step {
  /** Case file and line, for messages. */
  readonly at: string;
  readonly text: string;
  readonly act: Act;
  readonly stdin: string;
  readonly env: Readonly<Record<string, string>>;
  readonly until: RegExp | undefined;
  readonly save: readonly { readonly name: string; readonly pattern: RegExp }[];
  readonly ignoring: readonly string[];
  readonly compare: "exact" | "unordered" | "shape" | "counts" | "keys" | "head";
  readonly differs: string | undefined;
}

export type Act =
  | ({ readonly kind: "http" } & RequestHead)
  | ({ readonly kind: "start"; readonly name: string } & RequestHead)
  | { readonly kind: "finish"; readonly name: string }
  | { readonly kind: "raw"; readonly bytes: string }
  | { readonly kind: "dig"; readonly words: readonly string[] }
  | { readonly kind: "command"; readonly words: readonly string[] }
  | { readonly kind: "file"; readonly name: string; readonly content: string };

export interface Group {
  readonly title: string;
  readonly steps: readonly Step[];
}

const uuid = /([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/;

/** Throws with file and line where the notation is broken. */
export function readSteps(file: string, content: string): readonly Group[] {
  const groups: { title: string; steps: Step[] }[] = [];
  const lines = content.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] as string;
    if (line.trim() === "" || line.startsWith("#")) continue;
    if (line.startsWith("== ")) {
      groups.push({ title: line.slice(3), steps: [] });
      continue;
    }
    const where = `${file}:${at + 1}`;
    const group = groups.at(-1);
    if (group === undefined || line.startsWith(" ")) throw new Error(`${where}: out of place: ${line}`);
    const below: string[] = [];
    while (lines[at + 1]?.startsWith("  ")) below.push((lines[++at] as string).slice(2));
    group.steps.push(readStep(where, line, below));
  }
  return groups;
}

function readStep(at: string, line: string, below: readonly string[]): Step {
  const headers: string[] = [];
  const body: string[] = [];
  const content: string[] = [];
  const stdin: string[] = [];
  const env: Record<string, string> = {};
  const save: { name: string; pattern: RegExp }[] = [];
  let until: RegExp | undefined;
  let ignoring: string[] = [];
  let compare: Step["compare"] = "exact";
  let differs: string | undefined;
  for (const text of below) {
    const word = /^\S+/.exec(text)?.[0] ?? "";
    const rest = text.slice(word.length + 1);
    if (word === "header") headers.push(rest);
    else if (word === "body") body.push(rest);
    else if (word === "fill") body.push("x".repeat(Number(rest)));
    else if (word === "|") content.push(rest);
    else if (word === "stdin") stdin.push(rest);
    else if (word === "env") env[rest.slice(0, rest.indexOf("="))] = rest.slice(rest.indexOf("=") + 1);
    else if (word === "until") until = new RegExp(rest);
    else if (word === "ignoring") ignoring = rest.split(" ");
    else if (word === "unordered" || word === "shape" || word === "counts" || word === "keys" || word === "head") compare = word;
    else if (word === "differs") differs = rest;
    else if (word === "save") {
      const [name, what] = [rest.slice(0, rest.indexOf(" ")), rest.slice(rest.indexOf(" ") + 1)];
      save.push({ name, pattern: what === "uuid" ? uuid : new RegExp(what) });
    } else throw new Error(`${at}: not known: ${text}`);
  }
  const request = (text: string): RequestHead => {
    const found = /^([A-Z]+) (.+)$/.exec(text);
    if (found === null) throw new Error(`${at}: not a step: ${line}`);
    return {
      method: found[1] as string,
      target: found[2] as string,
      headers,
      body: body.length === 0 ? undefined : body.join("\n"),
    };
  };
  const word = /^\S+/.exec(line)?.[0] ?? "";
  const rest = line.slice(word.length + 1);
  const act = ((): Act => {
    if (word === "$") return { kind: "command", words: shellWords(rest.replace(/^consul ?/, "")) };
    if (word === "dig") return { kind: "dig", words: rest.split(" ") };
    if (word === "raw") return { kind: "raw", bytes: rest.replaceAll("\\r", "\r").replaceAll("\\n", "\n") };
    if (word === "file") return { kind: "file", name: rest, content: content.map((text) => `${text}\n`).join("") };
    if (word === "finish") return { kind: "finish", name: rest };
    if (word === "start") {
      const space = rest.indexOf(" ");
      return { kind: "start", name: rest.slice(0, space), ...request(rest.slice(space + 1)) };
    }
    return { kind: "http", ...request(line) };
  })();
  return { at, text: line, act, stdin: stdin.join("\n"), env, until, save, ignoring, compare, differs };
}

/** Words of a command line: blanks part them, '…' and "…" keep them together. */
export function shellWords(line: string): readonly string[] {
  const words: string[] = [];
  for (const [word] of line.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g))
    words.push(word.replace(/'([^']*)'|"([^"]*)"/g, (_, single, double) => single ?? double));
  return words;
}
