/** What agents write below a job's prefix, as it comes: acknowledgements, output, heartbeats, exit codes. */
import { type Bytes, text } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import type { Millis } from "../../core/types/ids.ts";
import { type Api, ApiError, readBody } from "./api.ts";
import type { Json } from "./json.ts";
import { readPairs } from "./kv-api.ts";

export type ExecResult =
  | { readonly kind: "acknowledged" | "heartbeat"; readonly node: string }
  | { readonly kind: "output"; readonly node: string; readonly output: Bytes }
  | { readonly kind: "exit"; readonly node: string; readonly code: number }
  /** What was found there makes no sense. */
  | { readonly kind: "odd"; readonly complaint: string };

/** Each result once, in the order of their keys as they appear. Rejects with `ApiError`; ends when cancelled. */
export async function* execResults(api: Api, folder: string, wait: Millis, cancel: Cancel): AsyncGenerator<ExecResult> {
  const seen = new Set<string>();
  let index = "0";
  while (!cancel.aborted) {
    const query = { keys: "", wait: `${Math.max(1, Math.trunc(wait))}ms`, ...(index !== "0" && { index }) };
    const response = await api.send({ method: "GET", path: `/v1/kv/${folder}/`, query, cancel });
    if (response.status !== 200 && response.status !== 404)
      throw new ApiError(`Unexpected response code: ${response.status}`, response.status);
    index = response.headers["x-consul-index"] ?? "0";
    const body = response.status === 404 ? [] : readBody(response);
    const keys = Array.isArray(body) ? body.filter((key: Json) => typeof key === "string") : [];
    for (const key of keys) {
      if (seen.has(key)) continue;
      seen.add(key);
      const result = await resultAt(api, key, key.slice(folder.length + 1));
      if (result !== undefined) yield result;
    }
  }
}

const ack = "/ack";
const exit = "/exit";
const out = "/out/";

/** Undefined for the job itself. `name` is the key without the folder. */
async function resultAt(api: Api, key: string, name: string): Promise<ExecResult | undefined> {
  if (name === "job") return undefined;
  if (name.endsWith(ack)) return { kind: "acknowledged", node: name.slice(0, -ack.length) };
  const divider = name.lastIndexOf(out);
  if (!name.endsWith(exit) && divider < 0) return { kind: "odd", complaint: `Unknown key '${name}', ignoring.` };
  const [pair] = await readPairs(api, key, {});
  if (pair === undefined) return { kind: "odd", complaint: `Failed to read key '${key}': <nil>` };
  if (name.endsWith(exit)) {
    const word = text(pair.value);
    if (!/^[+-]?\d{1,10}$/.test(word)) return { kind: "odd", complaint: `Failed to parse exit code '${word}': invalid syntax` };
    return { kind: "exit", node: name.slice(0, -exit.length), code: Number(word) };
  }
  const node = name.slice(0, divider);
  return pair.value.length === 0 ? { kind: "heartbeat", node } : { kind: "output", node, output: pair.value };
}
