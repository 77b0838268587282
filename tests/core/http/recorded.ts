/**
 * Requests with Consul's replies, as text.
 *
 *   PUT /v1/kv/foo?cas=$index        `$index`: the last ModifyIndex shown; `$2`: the second UUID shown in this file
 *   + X-Header: value
 *   > body                           one line
 *   < 200 json vary index leader     status, then headers
 *   << body                          one line; \n and \\ escaped
 *
 * Headers: `json`, `text` (content type), `vary` (Accept-Encoding), `index` (X-Consul-Index of some value, a known leader,
 * no time since contact), `noindex` (1, false, 0), `leader-known` (the last two without an index), the effective consistency,
 * and anything else as Name=value. Numbers that differ from run to run are shown as `#`.
 */
export interface Exchange {
  readonly line: number;
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly expected: string;
}

export function readExchanges(file: string): readonly Exchange[] {
  const exchanges: Exchange[] = [];
  const lines = file.split("\n");
  let current:
    | { line: number; method: string; target: string; headers: Record<string, string>; body: string; expected: string }
    | undefined;
  lines.forEach((text, at) => {
    if (text === "" || text.startsWith("#")) return;
    if (text.startsWith("<")) {
      if (current !== undefined) current.expected += `${text}\n`;
    } else if (text.startsWith("+ ") && current !== undefined) {
      const colon = text.indexOf(": ");
      current.headers[text.slice(2, colon)] = text.slice(colon + 2);
    } else if (text.startsWith("> ") && current !== undefined) current.body = text.slice(2);
    else {
      const space = text.indexOf(" ");
      current = {
        line: at + 1,
        method: text.slice(0, space),
        target: text.slice(space + 1),
        headers: {},
        body: "",
        expected: "",
      };
      exchanges.push(current);
    }
  });
  return exchanges;
}

export interface Reply {
  readonly status: number;
  /** Names as they are sent. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

const uuids = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const known: ReadonlySet<string> = new Set([
  "703d2115-9d36-b5c7-5f45-d8fb9b80a18c",
  "40e4a748-2192-161a-0510-9bf59fe950b5",
  "11111111-1111-1111-1111-111111111111",
  "11111111-1111-1111-1111-111111111112",
]);

/** What a file's replies have shown so far. */
export class Shown {
  readonly #ids: string[] = [];
  #index = "0";

  fill(text: string): string {
    return text.replace("$index", this.#index).replace(/\$(\d+)/g, (_, number) => this.#ids[Number(number) - 1] ?? "");
  }

  /** A reply in the notation above. */
  write({ status, headers, body }: Reply): string {
    for (const [, index] of body.matchAll(/"ModifyIndex": ?([1-9]\d*)/g)) this.#index = index as string;
    for (const [id] of body.matchAll(uuids)) if (!known.has(id) && !this.#ids.includes(id)) this.#ids.push(id);
    const shown = body
      .replaceAll("\\", "\\\\")
      .replaceAll("\n", "\\n")
      .replaceAll("\r", "\\r")
      .replace(uuids, (id) => (known.has(id) ? id : `$${this.#ids.indexOf(id) + 1}`))
      .replace(/"(Create|Modify)Index":( ?)[1-9]\d*/g, '"$1Index":$2#')
      .replace(/current modify index \d+/, "current modify index #")
      .replace(/"ContentHash":( ?)"[0-9a-f]+"/, '"ContentHash":$1"#"');
    return `< ${[String(status), ...headerWords(headers)].join(" ")}\n${shown === "" ? "" : `<< ${shown}\n`}`;
  }
}

function headerWords(given: Reply["headers"]): string[] {
  const headers = new Map(given.map(([name, value]) => [canonical(name), value]));
  const take = (name: string): string | undefined => {
    const value = headers.get(name);
    headers.delete(name);
    return value;
  };
  for (const name of ["Content-Length", "Date", "Connection"]) headers.delete(name);
  const words: string[] = [];
  const type = take("Content-Type");
  if (type === "application/json") words.push("json");
  else if (type === "text/plain; charset=utf-8") words.push("text");
  else if (type !== undefined) headers.set("Content-Type", type);
  if (take("Vary") === "Accept-Encoding") words.push("vary");
  const index = take("X-Consul-Index");
  const leader = take("X-Consul-Knownleader");
  const contact = take("X-Consul-Lastcontact");
  if (index !== undefined && leader === "true" && contact === "0") words.push("index");
  else if (index === "1" && leader === "false" && contact === "0") words.push("noindex");
  else if (leader !== undefined) words.push("leader-known");
  const consistency = take("X-Consul-Effective-Consistency");
  if (consistency !== undefined) words.push(consistency);
  if (headers.has("X-Consul-Contenthash")) headers.set("X-Consul-Contenthash", "#");
  return [...words, ...[...headers].map(([name, value]) => `${name}=${value}`).sort()];
}

/** Header names as Go writes them. */
function canonical(name: string): string {
  return name.toLowerCase().replace(/(^|-)[a-z]/g, (start) => start.toUpperCase());
}
