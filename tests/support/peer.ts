/** The programs we are compared with: real Consul and Serf, from the folder $PEERS or ~/.peers (`scripts/peers` brings them). */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type PeerName = "consul" | "serf";

/** The program's path, or why there is none. On CI (CI=true) its absence is an error. */
export function findPeer(name: PeerName): { readonly path: string } | { readonly missing: string } {
  const folder = process.env["PEERS"] ?? join(homedir(), ".peers");
  const path = [join(folder, "bin", name), join(folder, name)].find((candidate) => existsSync(candidate));
  if (path !== undefined) return { path };
  const missing = `the real ${name === "consul" ? "Consul" : "Serf"} is not there (scripts/peers brings it)`;
  if (process.env["CI"] === "true") throw new Error(missing);
  return { missing };
}
