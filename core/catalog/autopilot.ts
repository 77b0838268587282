/** The settings by which the leader looks after the servers: one record, changed as a whole. */
import type { LogIndex } from "../types/ids.ts";
import type { AutopilotCommand } from "./commands.ts";
import type { Tables } from "./tables.ts";

/** False: they are of another index than the command asks for. The same settings again are a change, as in Consul 1.8. */
export function setAutopilot(tables: Tables, index: LogIndex, { settings, index: expected }: AutopilotCommand): boolean {
  const before = tables.autopilot.get("");
  if (expected !== undefined && expected !== (before?.modifyIndex ?? 0)) return false;
  tables.autopilot.put({ ...settings, createIndex: before?.createIndex ?? index, modifyIndex: index });
  return true;
}
