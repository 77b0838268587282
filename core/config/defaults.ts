/** The sources that nobody writes: defaults, what `-dev` changes, and the values that cannot be changed. */
import type { Setting, Settings } from "./decode.ts";
import { configKeys, type KeyRow } from "./keys.ts";

export const defaultSettings: Settings = settingsOf(configKeys);

/** Come last, so that what a file says about them has no effect; Consul accepts and overrides such keys too. */
export const fixedSettings: Settings = settingsOf(configKeys.filter((row) => row.status === "fixed"));

/** A lone server with quick timers. Consul's -dev also turns on Connect and gRPC, which are not built. */
export const devSettings: Settings = new Map<string, Setting>([
  ["bind_addr", "127.0.0.1"],
  ["disable_anonymous_signature", true],
  ["disable_keyring_file", true],
  ["enable_debug", true],
  ["log_level", "DEBUG"],
  ["performance.raft_multiplier", 1],
  ["server", true],
  ["ui", true],
  ["gossip_lan.gossip_interval", "100ms"],
  ["gossip_lan.probe_interval", "100ms"],
  ["gossip_lan.probe_timeout", "100ms"],
  ["gossip_lan.suspicion_mult", 3],
  ["gossip_wan.gossip_interval", "100ms"],
  ["gossip_wan.probe_interval", "100ms"],
  ["gossip_wan.probe_timeout", "100ms"],
  ["gossip_wan.suspicion_mult", 3],
]);

function settingsOf(rows: readonly KeyRow[]): Settings {
  return new Map(rows.filter((row) => row.default !== undefined).map((row) => [row.key, row.default as Setting]));
}
