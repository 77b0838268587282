/**
 * The keys of a service and of a check in a configuration file, as rows like those of keys.ts. `aliases` are the older
 * CamelCase spellings that Consul still takes, in lower case.
 */

export type DefinitionKeyType =
  | "string"
  | "bool"
  | "int"
  | "duration"
  | "strings"
  | "map"
  | "object"
  /** String to list of strings. */
  | "listMap"
  | "check"
  | "checks"
  | "service";

export interface DefinitionKeyRow {
  /** Dotted; `name[]` is a list of objects, `*` stands for any name. */
  readonly key: string;
  readonly type: DefinitionKeyType;
  readonly aliases?: readonly string[];
}

export const checkKeys: readonly DefinitionKeyRow[] = [
  { key: "id", type: "string" },
  { key: "name", type: "string" },
  { key: "notes", type: "string" },
  { key: "service_id", type: "string", aliases: ["serviceid"] },
  { key: "token", type: "string" },
  { key: "status", type: "string" },
  { key: "args", type: "strings", aliases: ["scriptargs"] },
  { key: "http", type: "string" },
  { key: "header", type: "listMap" },
  { key: "method", type: "string" },
  { key: "body", type: "string" },
  { key: "output_max_size", type: "int" },
  { key: "tcp", type: "string" },
  { key: "interval", type: "duration" },
  { key: "docker_container_id", type: "string", aliases: ["dockercontainerid"] },
  { key: "shell", type: "string" },
  { key: "grpc", type: "string" },
  { key: "grpc_use_tls", type: "bool" },
  { key: "tls_skip_verify", type: "bool", aliases: ["tlsskipverify"] },
  { key: "alias_node", type: "string" },
  { key: "alias_service", type: "string" },
  { key: "timeout", type: "duration" },
  { key: "ttl", type: "duration" },
  { key: "success_before_passing", type: "int" },
  { key: "failures_before_critical", type: "int" },
  { key: "deregister_critical_service_after", type: "duration", aliases: ["deregistercriticalserviceafter"] },
];

export const serviceKeys: readonly DefinitionKeyRow[] = [
  { key: "kind", type: "string" },
  { key: "id", type: "string" },
  { key: "name", type: "string" },
  { key: "tags", type: "strings" },
  { key: "address", type: "string" },
  { key: "tagged_addresses.*.address", type: "string" },
  { key: "tagged_addresses.*.port", type: "int" },
  { key: "meta", type: "map" },
  { key: "port", type: "int" },
  { key: "check", type: "check" },
  { key: "checks", type: "checks" },
  { key: "token", type: "string" },
  { key: "weights.passing", type: "int" },
  { key: "weights.warning", type: "int" },
  { key: "enable_tag_override", type: "bool" },
  { key: "proxy.destination_service_name", type: "string" },
  { key: "proxy.destination_service_id", type: "string" },
  { key: "proxy.local_service_address", type: "string" },
  { key: "proxy.local_service_port", type: "int" },
  { key: "proxy.config", type: "object" },
  { key: "proxy.upstreams[].destination_type", type: "string" },
  { key: "proxy.upstreams[].destination_namespace", type: "string" },
  { key: "proxy.upstreams[].destination_name", type: "string" },
  { key: "proxy.upstreams[].datacenter", type: "string" },
  { key: "proxy.upstreams[].local_bind_address", type: "string" },
  { key: "proxy.upstreams[].local_bind_port", type: "int" },
  { key: "proxy.upstreams[].config", type: "object" },
  { key: "proxy.upstreams[].mesh_gateway.mode", type: "string" },
  { key: "proxy.mesh_gateway.mode", type: "string" },
  { key: "proxy.expose.checks", type: "bool" },
  { key: "proxy.expose.paths[].path", type: "string" },
  { key: "proxy.expose.paths[].local_path_port", type: "int" },
  { key: "proxy.expose.paths[].listener_port", type: "int" },
  { key: "proxy.expose.paths[].protocol", type: "string" },
  { key: "connect.native", type: "bool" },
  { key: "connect.sidecar_service", type: "service" },
];
