/** Methods of Consul 1.8 that are not built: answered as by a server that has the feature switched off, or refused by name. */
import type { RpcHandler } from "../rpc/server.ts";
import { AgentError } from "../types/errors.ts";

function refusing(message: string): RpcHandler {
  return () => Promise.reject(new AgentError("rejected", { message }));
}

/** Measured: what a Consul 1.8.7 without ACLs and without Connect answers. */
const aclDisabled = refusing("ACL support disabled");
const connectDisabled = refusing("Connect must be enabled in order to use this endpoint");
/** Nobody can have made one here. */
const queryNotFound = refusing("Query not found");

const aclMethods = [
  "Apply",
  "AuthMethodDelete",
  "AuthMethodList",
  "AuthMethodRead",
  "AuthMethodSet",
  "Authorize",
  "BindingRuleDelete",
  "BindingRuleList",
  "BindingRuleRead",
  "BindingRuleSet",
  "Bootstrap",
  "BootstrapTokens",
  "Get",
  "GetPolicy",
  "List",
  "Login",
  "Logout",
  "PolicyBatchRead",
  "PolicyDelete",
  "PolicyList",
  "PolicyRead",
  "PolicyResolve",
  "PolicySet",
  "ReplicationStatus",
  "RoleBatchRead",
  "RoleDelete",
  "RoleList",
  "RoleRead",
  "RoleResolve",
  "RoleSet",
  "TokenBatchRead",
  "TokenClone",
  "TokenDelete",
  "TokenList",
  "TokenRead",
  "TokenSet",
];
const connectMethods = ["ConfigurationGet", "ConfigurationSet", "Roots", "Sign", "SignIntermediate"];
const unbuilt = [
  "ConfigEntry.Apply",
  "ConfigEntry.Delete",
  "ConfigEntry.Get",
  "ConfigEntry.List",
  "ConfigEntry.ListAll",
  "ConfigEntry.ResolveServiceConfig",
  "DiscoveryChain.Get",
  "FederationState.Apply",
  "FederationState.Get",
  "FederationState.List",
  "FederationState.ListMeshGateways",
  "Intention.Apply",
  "Intention.Check",
  "Intention.Get",
  "Intention.Match",
  "Intention.Test",
  "Internal.EventFire",
  "Internal.GatewayServiceDump",
  "Internal.KeyringOperation",
  "PreparedQuery.Apply",
  "Status.RaftStats",
];

/** Consul agents ask for none of these unless they are told to by their configuration or a user. */
export const refusals: readonly (readonly [method: string, handler: RpcHandler])[] = [
  ...aclMethods.map((name) => [`ACL.${name}`, aclDisabled] as const),
  ...connectMethods.map((name) => [`ConnectCA.${name}`, connectDisabled] as const),
  ...["Execute", "ExecuteRemote", "Explain", "Get"].map((name) => [`PreparedQuery.${name}`, queryNotFound] as const),
  ...unbuilt.map((name) => [name, refusing(`${name} is not supported by this server`)] as const),
];
