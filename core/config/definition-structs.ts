/**
 * The Go structs that Consul 1.8 decodes registration bodies into: names, types, and the type names that its error
 * texts show. A snake_case twin is a field of its own; definitions-parse.ts says which of the two wins.
 */
import type { GoStruct } from "./go-json.ts";

const checkTwins =
  'struct { Interval interface {}; Timeout interface {}; TTL interface {}; DeregisterCriticalServiceAfter interface {}; Args []string "json:\\"args\\""; ' +
  'ScriptArgsSnake []string "json:\\"script_args\\""; DeregisterCriticalServiceAfterSnake interface {} "json:\\"deregister_critical_service_after\\""; ' +
  'DockerContainerIDSnake string "json:\\"docker_container_id\\""; TLSSkipVerifySnake bool "json:\\"tls_skip_verify\\""; ';

const commonCheckFields = {
  Name: "string",
  Status: "string",
  Notes: "string",
  ScriptArgs: "[]string",
  args: "[]string",
  script_args: "[]string",
  HTTP: "string",
  Header: "map[string][]string",
  Method: "string",
  Body: "string",
  TCP: "string",
  Interval: "interface {}",
  AliasNode: "string",
  AliasService: "string",
  DockerContainerID: "string",
  docker_container_id: "string",
  Shell: "string",
  GRPC: "string",
  GRPCUseTLS: "bool",
  TLSSkipVerify: "bool",
  tls_skip_verify: "bool",
  Timeout: "interface {}",
  TTL: "interface {}",
  SuccessBeforePassing: "int",
  FailuresBeforeCritical: "int",
  DeregisterCriticalServiceAfter: "interface {}",
  deregister_critical_service_after: "interface {}",
  OutputMaxSize: "int",
  ServiceID: "string",
  service_id: "string",
} as const;

/** The body of /v1/agent/check/register. */
export const checkDefinitionStruct: GoStruct = {
  kind: "struct",
  goName: `${checkTwins}ServiceIDSnake string "json:\\"service_id\\""; *structs.Alias }`,
  fields: { ID: "string", Token: "string", ...commonCheckFields },
  opaque: true,
};

/** A check inside a service: its ID is called CheckID, and it has no token of its own. */
const checkTypeStruct: GoStruct = {
  kind: "struct",
  goName: `${checkTwins}ServiceID string "json:\\"ServiceID\\""; ServiceIDSnake string "json:\\"service_id\\""; *structs.Alias }`,
  fields: { CheckID: "string", ProxyHTTP: "string", ProxyGRPC: "string", ...commonCheckFields },
  opaque: true,
};

const meshGatewayStruct: GoStruct = {
  kind: "struct",
  goName: "structs.MeshGatewayConfig",
  fields: { Mode: "string" },
  opaque: false,
};

const upstreamStruct: GoStruct = {
  kind: "struct",
  goName:
    'struct { DestinationTypeSnake string "json:\\"destination_type\\""; DestinationNamespaceSnake string "json:\\"destination_namespace\\""; ' +
    'DestinationNameSnake string "json:\\"destination_name\\""; LocalBindPortSnake int "json:\\"local_bind_port\\""; ' +
    'LocalBindAddressSnake string "json:\\"local_bind_address\\""; *structs.Alias }',
  fields: {
    DestinationType: "string",
    destination_type: "string",
    DestinationNamespace: "string",
    destination_namespace: "string",
    DestinationName: "string",
    destination_name: "string",
    Datacenter: "string",
    LocalBindAddress: "string",
    local_bind_address: "string",
    LocalBindPort: "int",
    local_bind_port: "int",
    Config: "map[string]interface {}",
    MeshGateway: meshGatewayStruct,
    mesh_gateway: meshGatewayStruct,
  },
  opaque: true,
};

const exposePathStruct: GoStruct = {
  kind: "struct",
  goName: "structs.ExposePath",
  fields: {
    ListenerPort: "int",
    listener_port: "int",
    Path: "string",
    LocalPathPort: "int",
    local_path_port: "int",
    Protocol: "string",
    ParsedFromCheck: "bool",
  },
  opaque: true,
};

const proxyStruct: GoStruct = {
  kind: "struct",
  goName:
    'struct { DestinationServiceNameSnake string "json:\\"destination_service_name\\""; DestinationServiceIDSnake string "json:\\"destination_service_id\\""; ' +
    'LocalServiceAddressSnake string "json:\\"local_service_address\\""; LocalServicePortSnake int "json:\\"local_service_port\\""; *structs.Alias }',
  fields: {
    DestinationServiceName: "string",
    destination_service_name: "string",
    DestinationServiceID: "string",
    destination_service_id: "string",
    LocalServiceAddress: "string",
    local_service_address: "string",
    LocalServicePort: "int",
    local_service_port: "int",
    Config: "map[string]interface {}",
    Upstreams: { kind: "list", goName: "structs.Upstreams", of: upstreamStruct },
    MeshGateway: meshGatewayStruct,
    mesh_gateway: meshGatewayStruct,
    Expose: {
      kind: "struct",
      goName: "structs.ExposeConfig",
      fields: { Checks: "bool", Paths: { kind: "list", goName: "[]structs.ExposePath", of: exposePathStruct } },
      opaque: false,
    },
  },
  opaque: true,
};

const addressStruct: GoStruct = {
  kind: "struct",
  goName: "structs.ServiceAddress",
  fields: { Address: "string", Port: "int" },
  opaque: false,
};
const addressesType = { kind: "map", goName: "map[string]structs.ServiceAddress", of: addressStruct } as const;

/** The body of /v1/agent/service/register, and a sidecar inside one. */
export const serviceStruct: GoStruct = {
  kind: "struct",
  goName:
    'struct { EnableTagOverrideSnake bool "json:\\"enable_tag_override\\""; TaggedAddressesSnake map[string]structs.ServiceAddress "json:\\"tagged_addresses\\""; *structs.Alias }',
  fields: {
    Kind: { kind: "named string", goName: "structs.ServiceKind" },
    ID: "string",
    Name: "string",
    Tags: "[]string",
    Address: "string",
    TaggedAddresses: addressesType,
    tagged_addresses: addressesType,
    Meta: "map[string]string",
    Port: "int",
    Check: checkTypeStruct,
    Checks: { kind: "list", goName: "structs.CheckTypes", of: checkTypeStruct },
    Weights: { kind: "struct", goName: "structs.Weights", fields: { Passing: "int", Warning: "int" }, opaque: false },
    Token: "string",
    EnableTagOverride: "bool",
    enable_tag_override: "bool",
    Proxy: proxyStruct,
    Connect: {
      kind: "struct",
      goName: 'struct { SidecarServiceSnake *structs.ServiceDefinition "json:\\"sidecar_service\\""; *structs.Alias }',
      fields: { Native: "bool", SidecarService: () => serviceStruct, sidecar_service: () => serviceStruct },
      opaque: true,
      lenient: true,
    },
  },
  opaque: true,
};
