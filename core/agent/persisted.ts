/**
 * Services and checks registered through the API, kept below the data directory so that a restart has them again.
 * Consul's own places: services/MD5(id), checks/MD5(id), checks/state/MD5(id).
 */
import type { CheckDefinition, ServiceDefinition } from "../config/definitions.ts";
import type { Clock, Crypto, FileStore, Logger } from "../ports/mod.ts";
import { strictText, toHex, utf8 } from "../types/bytes.ts";
import { messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";

export interface TtlState {
  readonly status: "passing" | "warning" | "critical";
  readonly output: string;
}

export interface Persisted {
  services(): Promise<readonly ServiceDefinition[]>;
  checks(): Promise<readonly CheckDefinition[]>;
  saveService(definition: ServiceDefinition, id: string): Promise<void>;
  forgetService(id: string): Promise<void>;
  saveCheck(definition: CheckDefinition): Promise<void>;
  /** Its TTL state goes too. */
  forgetCheck(id: string): Promise<void>;
  saveTtlState(checkId: string, status: string, output: string): Promise<void>;
  /** What an earlier run saved, unless it is older than the TTL. */
  ttlState(checkId: string, ttl: Millis): Promise<TtlState | undefined>;
}

export interface PersistedOptions {
  readonly files: FileStore;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly logger: Logger;
}

export function createPersisted(options: PersistedOptions): Persisted {
  const { files, crypto, clock, logger } = options;
  const nameOf = (folder: string, id: string): string => `${folder}/${toHex(crypto.md5(utf8(id)))}`;

  async function readAll<Item>(
    folder: string,
    pick: (content: Record<string, unknown>) => Item | undefined,
  ): Promise<readonly Item[]> {
    const items: Item[] = [];
    for (const name of await files.list(`${folder}/`)) {
      if (!/^[0-9a-f]{32}$/.test(name.slice(folder.length + 1))) continue;
      const item = parse(await files.get(name), pick);
      if (item === undefined)
        logger.log("error", "Failed decoding a persisted registration; it is left where it is and not loaded", { file: name });
      else items.push(item);
    }
    return items;
  }

  return {
    services: () => readAll("services", (content) => definitionOf<ServiceDefinition>(content["Service"], "name")),
    checks: () => readAll("checks", (content) => definitionOf<CheckDefinition>(content["Check"], "id")),
    saveService: (definition, id) =>
      // Checks are kept one by one beside it.
      put(nameOf("services", id), { Token: definition.token, Service: { ...definition, id, checks: [] }, Source: "remote" }),
    forgetService: (id) => files.delete(nameOf("services", id)),
    saveCheck: (definition) =>
      put(nameOf("checks", definition.id), { Check: definition, Token: definition.token, Source: "remote" }),
    async forgetCheck(id) {
      await files.delete(nameOf("checks", id));
      await files.delete(nameOf("checks/state", id));
    },
    async saveTtlState(checkId, status, output) {
      try {
        await put(nameOf("checks/state", checkId), { CheckID: checkId, Output: output, Status: status, SavedAt: clock.wall() });
      } catch (error) {
        logger.log("error", "failed persisting state for check", { check: checkId, error: messageOf(error) });
      }
    },
    async ttlState(checkId, ttl) {
      return parse(await files.get(nameOf("checks/state", checkId)), (content) => {
        const { Status: status, Output: output, SavedAt: savedAt } = content;
        if (typeof savedAt !== "number" || clock.wall() - savedAt > ttl || typeof output !== "string") return undefined;
        return status === "passing" || status === "warning" || status === "critical" ? { status, output } : undefined;
      });
    },
  };

  function put(name: string, content: unknown): Promise<void> {
    return files.put(name, utf8(JSON.stringify(content)));
  }
}

function parse<Item>(
  bytes: Uint8Array | undefined,
  pick: (content: Record<string, unknown>) => Item | undefined,
): Item | undefined {
  const json = bytes === undefined ? undefined : strictText(bytes);
  if (json === undefined) return undefined;
  try {
    const content: unknown = JSON.parse(json);
    return typeof content === "object" && content !== null ? pick(content as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Written by us in the shape of the definition; the one field everything hangs on is checked. */
function definitionOf<Definition>(content: unknown, key: keyof Definition & string): Definition | undefined {
  if (typeof content !== "object" || content === null) return undefined;
  return typeof (content as Record<string, unknown>)[key] === "string" ? (content as Definition) : undefined;
}
