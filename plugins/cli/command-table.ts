/**
 * Every command Consul 1.8 has. Those that are built name the file they are in, loaded when they are called: start-up
 * time is what `consul members` is made of. Those that are not say so, instead of looking like a typing mistake.
 */
import type { LoadedCommand } from "./command.ts";

export interface Entry {
  /** "kv put". */
  readonly path: string;
  readonly synopsis: string;
  /** A group only holds other commands; `help` is answered by the dispatcher. */
  readonly does: "group" | "help" | "not-built" | (() => Promise<LoadedCommand>);
}

/** Headings of `consul help`, and what stands below each, in order. */
export const sections: readonly { readonly title: string; readonly commands: readonly string[] }[] = [
  { title: "Run an agent", commands: ["agent", "validate", "reload", "leave", "info", "maint", "monitor", "debug"] },
  { title: "Look after the cluster", commands: ["members", "join", "force-leave", "operator", "snapshot", "rtt"] },
  { title: "Services and data", commands: ["catalog", "services", "kv", "lock", "watch", "event", "exec"] },
  { title: "Connect", commands: ["connect", "intention", "config"] },
  { title: "Security", commands: ["acl", "login", "logout", "keygen", "keyring", "tls"] },
  { title: "Other", commands: ["version", "help"] },
];

const load = (module: Promise<{ readonly command: LoadedCommand }>): Promise<LoadedCommand> =>
  module.then(({ command }) => command);

const rows: readonly (readonly [path: string, synopsis: string, does?: Entry["does"]])[] = [
  ["acl", "Tokens, policies and roles", "group"],
  ["acl auth-method", "Ways to log in with credentials of another system", "group"],
  ["acl auth-method create", "Create an auth method"],
  ["acl auth-method delete", "Delete an auth method"],
  ["acl auth-method list", "List auth methods"],
  ["acl auth-method read", "Show an auth method"],
  ["acl auth-method update", "Change an auth method"],
  ["acl binding-rule", "What a login through an auth method may do", "group"],
  ["acl binding-rule create", "Create a binding rule"],
  ["acl binding-rule delete", "Delete a binding rule"],
  ["acl binding-rule list", "List binding rules"],
  ["acl binding-rule read", "Show a binding rule"],
  ["acl binding-rule update", "Change a binding rule"],
  ["acl bootstrap", "Make the first management token"],
  ["acl policy", "Sets of rules", "group"],
  ["acl policy create", "Create a policy"],
  ["acl policy delete", "Delete a policy"],
  ["acl policy list", "List policies"],
  ["acl policy read", "Show a policy"],
  ["acl policy update", "Change a policy"],
  ["acl role", "Sets of policies", "group"],
  ["acl role create", "Create a role"],
  ["acl role delete", "Delete a role"],
  ["acl role list", "List roles"],
  ["acl role read", "Show a role"],
  ["acl role update", "Change a role"],
  ["acl set-agent-token", "Give the agent a token for its own work"],
  ["acl token", "Secrets that carry policies and roles", "group"],
  ["acl token clone", "Copy a token"],
  ["acl token create", "Create a token"],
  ["acl token delete", "Delete a token"],
  ["acl token list", "List tokens"],
  ["acl token read", "Show a token"],
  ["acl token update", "Change a token"],
  ["acl translate-rules", "Turn rules of the old syntax into the new"],
  ["agent", "Run an agent, server or client", () => load(import("./commands/agent.ts"))],
  ["catalog", "Nodes, services and datacenters the servers know", "group"],
  ["catalog datacenters", "List datacenters", () => load(import("./commands/catalog-datacenters.ts"))],
  ["catalog nodes", "List nodes", () => load(import("./commands/catalog-nodes.ts"))],
  ["catalog services", "List services", () => load(import("./commands/catalog-services.ts"))],
  ["config", "Central configuration entries", "group"],
  ["config delete", "Delete a configuration entry"],
  ["config list", "List configuration entries of a kind"],
  ["config read", "Show a configuration entry"],
  ["config write", "Create or change a configuration entry"],
  ["connect", "Service mesh", "group"],
  ["connect ca", "The mesh's certificate authority", "group"],
  ["connect ca get-config", "Show the authority's configuration"],
  ["connect ca set-config", "Change the authority's configuration"],
  ["connect envoy", "Run Envoy as a sidecar"],
  ["connect envoy pipe-bootstrap", "Internal to connect envoy"],
  ["connect expose", "Open a service to the outside through a gateway"],
  ["connect proxy", "Run the built-in sidecar"],
  ["debug", "Record what the agent does into an archive"],
  ["event", "Fire an event", () => load(import("./commands/event.ts"))],
  ["exec", "Run a command on many nodes", () => load(import("./commands/exec.ts"))],
  ["force-leave", "Declare a failed member as gone", () => load(import("./commands/force-leave.ts"))],
  ["help", "Explain a command", "help"],
  ["info", "Show the agent's counters", () => load(import("./commands/info.ts"))],
  ["intention", "Which services may talk to which", "group"],
  ["intention check", "Ask whether a connection is allowed"],
  ["intention create", "Allow or deny connections"],
  ["intention delete", "Delete an intention"],
  ["intention get", "Show an intention"],
  ["intention match", "List the intentions about a service"],
  ["join", "Make the agent join a cluster", () => load(import("./commands/join.ts"))],
  ["keygen", "Make a gossip encryption key", () => load(import("./commands/keygen.ts"))],
  ["keyring", "Manage gossip encryption keys", () => load(import("./commands/keyring.ts"))],
  ["kv", "The key-value store", "group"],
  ["kv delete", "Delete a key or a tree", () => load(import("./commands/kv-delete.ts"))],
  ["kv export", "Print a tree as JSON", () => load(import("./commands/kv-export.ts"))],
  ["kv get", "Read a value, a tree or names", () => load(import("./commands/kv-get.ts"))],
  ["kv import", "Write a tree from JSON", () => load(import("./commands/kv-import.ts"))],
  ["kv put", "Write a value", () => load(import("./commands/kv-put.ts"))],
  ["leave", "Leave the cluster and stop the agent", () => load(import("./commands/leave.ts"))],
  ["lock", "Run a command while holding a lock", () => load(import("./commands/lock.ts"))],
  ["login", "Exchange credentials for a token"],
  ["logout", "Destroy a token made by login"],
  ["maint", "Take a node or service out of discovery", () => load(import("./commands/maint.ts"))],
  ["members", "List the members of the cluster", () => load(import("./commands/members.ts"))],
  ["monitor", "Follow the agent's log", () => load(import("./commands/monitor.ts"))],
  ["operator", "Raft and autopilot", "group"],
  ["operator autopilot", "How servers are looked after", "group"],
  [
    "operator autopilot get-config",
    "Show the autopilot's configuration",
    () => load(import("./commands/operator-autopilot-get-config.ts")),
  ],
  [
    "operator autopilot set-config",
    "Change the autopilot's configuration",
    () => load(import("./commands/operator-autopilot-set-config.ts")),
  ],
  ["operator raft", "The consensus group of the servers", "group"],
  ["operator raft list-peers", "List who votes", () => load(import("./commands/operator-raft-list-peers.ts"))],
  ["operator raft remove-peer", "Remove a server for good", () => load(import("./commands/operator-raft-remove-peer.ts"))],
  ["reload", "Read the configuration files again", () => load(import("./commands/reload.ts"))],
  ["rtt", "Estimate the round-trip time between nodes", () => load(import("./commands/rtt.ts"))],
  ["services", "Services of the local agent", "group"],
  ["services deregister", "Remove a service", () => load(import("./commands/services-deregister.ts"))],
  ["services register", "Add a service", () => load(import("./commands/services-register.ts"))],
  ["snapshot", "Backups of the servers' state", "group"],
  ["snapshot inspect", "Describe a snapshot file", () => load(import("./commands/snapshot-inspect.ts"))],
  ["snapshot restore", "Replace the servers' state", () => load(import("./commands/snapshot-restore.ts"))],
  ["snapshot save", "Write the servers' state to a file", () => load(import("./commands/snapshot-save.ts"))],
  ["tls", "Certificates for agents", "group"],
  ["tls ca", "Certificate authorities", "group"],
  ["tls ca create", "Make a certificate authority"],
  ["tls cert", "Certificates", "group"],
  ["tls cert create", "Make a certificate"],
  ["validate", "Check configuration files", () => load(import("./commands/validate.ts"))],
  ["version", "Show what this program is", () => load(import("./commands/version.ts"))],
  ["watch", "Follow changes of a part of the state", () => load(import("./commands/watch.ts"))],
];

/** By path. */
export const entries: ReadonlyMap<string, Entry> = new Map(
  rows.map(([path, synopsis, does = "not-built"]): [string, Entry] => [path, { path, synopsis, does }]),
);

/** The entries directly below `path`; "" for the top. */
export function children(path: string): readonly Entry[] {
  const prefix = path === "" ? "" : `${path} `;
  return [...entries.values()].filter((entry) => entry.path.startsWith(prefix) && !entry.path.slice(prefix.length).includes(" "));
}

/** Whether it, or anything below it, can be run. */
export function isBuilt(entry: Entry): boolean {
  return entry.does === "group" ? children(entry.path).some(isBuilt) : entry.does !== "not-built";
}
