/**
 * Where the keys that encrypt gossip are kept: one file for each pool below the data directory, in Consul 1.8's format,
 * so that either program can take over the directory of the other.
 *
 *   serf/local.keyring     LAN               ["PRIMARY", "another", …]   base64
 *   serf/remote.keyring    WAN, of servers
 *
 *   there is a file           its keys count, whatever `encrypt` says; a warning where it lacks that key
 *   none, but `encrypt`       the file is made, and holds that key
 *   neither                   gossip is not encrypted
 *   `disable_keyring_file`    files are neither read nor written: `encrypt` alone counts
 *
 * A file that cannot be read ends the start: to go on without it would mean plain text, or the wrong key.
 */
import type { AgentConfig } from "../config/config.ts";
import { parseJson } from "../config/json.ts";
import type { FileStore, Logger } from "../ports/mod.ts";
import { Keyring, keysMax } from "../swim/keyring.ts";
import { type Bytes, equalBytes, fromBase64, text, utf8 } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";

/** The keys of one pool, and where they go when they change. */
export interface PoolKeys {
  readonly keyring: Keyring;
  /** Resolves when `keys` (base64, primary first) are durable. Undefined: they are not kept. */
  readonly storeKeys: ((keys: readonly string[]) => Promise<void>) | undefined;
}

export interface Keyrings {
  /** Undefined: not encrypted. */
  readonly lan: PoolKeys | undefined;
  readonly wan: PoolKeys | undefined;
}

export interface KeyringFilesOptions {
  readonly config: Pick<
    AgentConfig,
    "server" | "ports" | "dataDir" | "encrypt" | "disableKeyringFile" | "encryptVerifyIncoming" | "encryptVerifyOutgoing"
  >;
  /** Undefined: nothing is kept. */
  readonly files: FileStore | undefined;
  readonly logger: Logger;
}

const fileNames = { lan: "serf/local.keyring", wan: "serf/remote.keyring" } as const;
const howToMend = "Restore the file from a backup, or remove it and start with `encrypt` set to the cluster's key";

/** Reads, or makes, the keyrings of an agent's pools. Rejects with `config-invalid` in Consul's words, and with what to do. */
export async function openKeyrings(options: KeyringFilesOptions): Promise<Keyrings> {
  const { config, files } = options;
  const hasWan = config.server && config.ports.serfWan >= 0;
  if (config.disableKeyringFile || files === undefined) {
    const open = (): PoolKeys | undefined =>
      config.encrypt === "" ? undefined : { keyring: new Keyring([givenKey(config.encrypt, "")]), storeKeys: undefined };
    // A ring of its own for each pool: they change one after the other.
    return { lan: open(), wan: hasWan ? open() : undefined };
  }
  return {
    lan: await openFile("lan", files, options),
    wan: hasWan ? await openFile("wan", files, options) : undefined,
  };
}

/** What `createPool` takes of it. */
export function poolEncryption(
  keys: PoolKeys | undefined,
  { encryptVerifyIncoming, encryptVerifyOutgoing }: KeyringFilesOptions["config"],
): Partial<PoolKeys> & { readonly verifyIncoming?: boolean; readonly verifyOutgoing?: boolean } {
  return keys === undefined ? {} : { ...keys, verifyIncoming: encryptVerifyIncoming, verifyOutgoing: encryptVerifyOutgoing };
}

async function openFile(
  pool: "lan" | "wan",
  files: FileStore,
  { config, logger }: KeyringFilesOptions,
): Promise<PoolKeys | undefined> {
  const name = fileNames[pool];
  const storeKeys = (keys: readonly string[]): Promise<void> => files.put(name, utf8(JSON.stringify(keys, null, 2)));
  const content = await files.get(name);
  if (content === undefined) {
    if (config.encrypt === "") return undefined;
    const keyring = new Keyring([givenKey(config.encrypt, "Invalid key: ")]);
    await files.put(name, utf8(JSON.stringify([config.encrypt])));
    return { keyring, storeKeys };
  }
  const path = `${config.dataDir}/${name}`;
  const keyring = new Keyring(readKeys(content, path));
  if (config.encrypt !== "" && isMissing(keyring, config.encrypt))
    logger.log("warn", "keyring doesn't include key provided with -encrypt, using keyring", {
      keyring: pool.toUpperCase(),
      path,
    });
  return { keyring, storeKeys };
}

/** `encrypt`, which is known to be base64. */
function givenKey(encoded: string, prefix: string): Bytes {
  const key = decoded(encoded);
  if (!Keyring.isKey(key))
    throw refusal(`${prefix}key size must be 16, 24 or 32 bytes`, "`encrypt` has another length; `consul keygen` makes a key");
  return key;
}

function isMissing(keyring: Keyring, encoded: string): boolean {
  const key = decoded(encoded);
  return !keyring.keys.some((held) => equalBytes(held, key));
}

function decoded(encoded: string): Bytes {
  const key = fromBase64(encoded);
  if ("badAt" in key) throw refusal(`illegal base64 data at input byte ${key.badAt}`, "`consul keygen` makes a key");
  return key.bytes;
}

/** Throws with Go's text for the same file. */
function readKeys(content: Bytes, path: string): readonly Bytes[] {
  const where = `${path} cannot be read. ${howToMend}`;
  let value: unknown;
  try {
    value = parseJson(text(content));
  } catch (error) {
    throw refusal(messageOf(error), where);
  }
  if (value !== null && !Array.isArray(value))
    throw refusal(`json: cannot unmarshal ${goKind(value)} into Go value of type []string`, where);
  const items: readonly unknown[] = value ?? [];
  if (items.length === 0) throw refusal(`no keys present in keyring: ${path}`, howToMend);
  if (items.length > keysMax)
    throw refusal(`${path} holds ${items.length} keys, and ${keysMax} are the limit`, "Remove old ones");
  const odd = items.find((item) => typeof item !== "string" && item !== null);
  if (odd !== undefined) throw refusal(`json: cannot unmarshal ${goKind(odd)} into Go value of type string`, where);
  const keys: Bytes[] = [];
  for (const item of items) {
    const key = fromBase64((item as string | null) ?? "");
    if ("badAt" in key) throw refusal(`illegal base64 data at input byte ${key.badAt}`, where);
    keys.push(key.bytes);
  }
  if (!keys.every(Keyring.isKey)) throw refusal("key size must be 16, 24 or 32 bytes", where);
  return keys;
}

function goKind(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

function refusal(problem: string, remedy: string): AgentError {
  return new AgentError("config-invalid", { message: `Failed to configure keyring: ${problem}. ${remedy}` });
}
