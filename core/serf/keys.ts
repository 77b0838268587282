/** Changing the keys of a whole pool: what each member does when asked, and what the asker makes of the answers. */
import { Fields } from "../codec/fields.ts";
import { decode, Malformed } from "../codec/msgpack.ts";
import type { Keyring } from "../swim/keyring.ts";
import { type Bytes, emptyBytes } from "../types/bytes.ts";
import { unreachable } from "../types/errors.ts";
import { serfType, typed } from "./wire.ts";

export type KeyOperation = "install" | "use" | "remove" | "list";

/** By the name of the query. */
export const keyQueries: ReadonlyMap<string, KeyOperation> = new Map([
  ["_serf_install-key", "install"],
  ["_serf_use-key", "use"],
  ["_serf_remove-key", "remove"],
  ["_serf_list-keys", "list"],
]);

export interface KeyResponse {
  readonly result: boolean;
  readonly message: string;
  /** Base64, primary first; of a list only. */
  readonly keys: readonly string[] | undefined;
  readonly primaryKey: string;
}

/** What the answers of a pool come to. */
export interface KeySummary {
  /** By member: what went wrong, or what it had to say. */
  readonly messages: Readonly<Record<string, string>>;
  /** By key in base64: how many members hold it. */
  readonly keys: Readonly<Record<string, number>>;
  readonly primaryKeys: Readonly<Record<string, number>>;
  /** Members asked. */
  readonly nodes: number;
  readonly responses: number;
  readonly errors: number;
}

/** An answer must fit into Serf's 1,024 bytes; a key takes 25 and more of them. */
const listedKeysMax = 40;

export function encodeKeyRequest(key: Bytes): Bytes {
  return typed(serfType.keyRequest, { Key: key });
}

/** Does what is asked. `changed` says that the ring may be another now, and is to be stored. */
export function applyKeyRequest(
  operation: KeyOperation,
  payload: Bytes | undefined,
  keyring: Keyring,
): { readonly response: KeyResponse; readonly changed: boolean } {
  const refused = (message: string) => ({ response: refusedKeys(message), changed: false });
  if (keyring.primary === undefined) {
    return refused(
      operation === "list" ? "Keyring is empty (encryption not enabled)" : "No keyring to modify (encryption not enabled)",
    );
  }
  if (operation === "list") {
    const keys = keyring.encoded();
    return { response: { result: true, message: "", keys, primaryKey: keys[0] as string }, changed: false };
  }
  let key: Bytes;
  try {
    // Serf does not look at the type byte either.
    key = new Fields(decode((payload ?? emptyBytes).subarray(1))).bytes("Key") ?? emptyBytes;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return refused(`Failed to decode key request: ${error.message}`);
  }
  const refusal = change(operation, key, keyring);
  if (refusal !== undefined) return refused(refusal);
  return { response: { result: true, message: "", keys: undefined, primaryKey: "" }, changed: true };
}

export function refusedKeys(message: string): KeyResponse {
  return { result: false, message, keys: undefined, primaryKey: "" };
}

/** Encoded so that `fits`: of a long list the first keys, with a word about the rest. */
export function encodeKeyResponse(response: KeyResponse, fits: (payload: Bytes) => boolean): Bytes {
  const all = response.keys;
  const whole = encodeWhole(response);
  if (all === undefined || (all.length <= listedKeysMax && fits(whole))) return whole;
  for (let count = Math.min(listedKeysMax, all.length); count > 0; count--) {
    const message = `truncated key list response, showing first ${count} of ${all.length} keys`;
    const part = encodeWhole({ ...response, message, keys: all.slice(0, count) });
    if (fits(part)) return part;
  }
  return encodeWhole({
    ...response,
    result: false,
    message: "Failed to truncate response so that it fits into message",
    keys: [],
  });
}

/** Never throws: a broken answer is an error of its member. */
export function summarise(answers: readonly { readonly from: string; readonly payload: Bytes }[], nodes: number): KeySummary {
  const messages: [string, string][] = [];
  const keys = new Map<string, number>();
  const primaryKeys = new Map<string, number>();
  let errors = 0;
  for (const { from, payload } of answers) {
    const response = decodeKeyResponse(payload);
    if (!response.result) errors++;
    if (!response.result || response.message !== "") messages.push([from, response.message]);
    for (const key of response.keys ?? []) keys.set(key, (keys.get(key) ?? 0) + 1);
    if (response.primaryKey !== "") primaryKeys.set(response.primaryKey, (primaryKeys.get(response.primaryKey) ?? 0) + 1);
  }
  return {
    messages: Object.fromEntries(messages),
    keys: Object.fromEntries(keys),
    primaryKeys: Object.fromEntries(primaryKeys),
    nodes,
    responses: answers.length,
    errors,
  };
}

function change(operation: "install" | "use" | "remove", key: Bytes, keyring: Keyring): string | undefined {
  switch (operation) {
    case "install":
      return keyring.install(key);
    case "use":
      return keyring.use(key);
    case "remove":
      return keyring.remove(key);
    default:
      return unreachable(operation);
  }
}

function encodeWhole(response: KeyResponse): Bytes {
  return typed(serfType.keyResponse, {
    Keys: response.keys ?? null,
    Message: response.message,
    PrimaryKey: response.primaryKey,
    Result: response.result,
  });
}

function decodeKeyResponse(payload: Bytes): KeyResponse {
  if (payload[0] !== serfType.keyResponse) return refusedKeys(`Invalid key query response type: ${payload[0] ?? "none"}`);
  try {
    const fields = new Fields(decode(payload.subarray(1)));
    return {
      result: fields.flag("Result"),
      message: fields.text("Message"),
      keys: fields.texts("Keys"),
      primaryKey: fields.text("PrimaryKey"),
    };
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return refusedKeys(`Failed to decode key query response: ${error.message}`);
  }
}
