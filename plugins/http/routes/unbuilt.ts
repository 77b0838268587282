/** Consul's endpoints that this agent does not have: known, refused clearly, with Consul's methods. */
import { AgentError } from "../../../core/types/errors.ts";
import type { HttpRequest, Method, Route } from "../extension.ts";
import { textReply } from "../reply.ts";

export function notSupported(what: string): AgentError {
  return new AgentError("not-supported", { message: `${what} is not supported yet by this agent` });
}

/** Access control is off, which Consul answers with 401 on every endpoint that needs it. */
const aclRoutes: readonly (readonly [string, ...Method[]])[] = [
  ["/v1/acl/bootstrap", "PUT"],
  ["/v1/acl/create", "PUT"],
  ["/v1/acl/update", "PUT"],
  ["/v1/acl/destroy/", "PUT"],
  ["/v1/acl/info/", "GET"],
  ["/v1/acl/clone/", "PUT"],
  ["/v1/acl/list", "GET"],
  ["/v1/acl/login", "POST"],
  ["/v1/acl/logout", "POST"],
  ["/v1/acl/replication", "GET"],
  ["/v1/acl/policies", "GET"],
  ["/v1/acl/policy", "PUT"],
  ["/v1/acl/policy/", "GET", "PUT", "DELETE"],
  ["/v1/acl/policy/name/", "GET"],
  ["/v1/acl/roles", "GET"],
  ["/v1/acl/role", "PUT"],
  ["/v1/acl/role/", "GET", "PUT", "DELETE"],
  ["/v1/acl/role/name/", "GET"],
  ["/v1/acl/binding-rules", "GET"],
  ["/v1/acl/binding-rule", "PUT"],
  ["/v1/acl/binding-rule/", "GET", "PUT", "DELETE"],
  ["/v1/acl/auth-methods", "GET"],
  ["/v1/acl/auth-method", "PUT"],
  ["/v1/acl/auth-method/", "GET", "PUT", "DELETE"],
  ["/v1/acl/rules/translate", "POST"],
  ["/v1/acl/rules/translate/", "GET"],
  ["/v1/acl/tokens", "GET"],
  ["/v1/acl/token", "PUT"],
  ["/v1/acl/token/self", "GET"],
  ["/v1/acl/token/", "GET", "PUT", "DELETE"],
  ["/v1/agent/token/", "PUT"],
  ["/v1/internal/acl/authorize", "POST"],
];

const refusedRoutes: readonly (readonly [string, ...Method[]])[] = [
  ["/v1/agent/connect/authorize", "POST"],
  ["/v1/agent/connect/ca/roots", "GET"],
  ["/v1/agent/connect/ca/leaf/", "GET"],
  ["/v1/catalog/gateway-services/", "GET"],
  ["/v1/config", "PUT"],
  ["/v1/config/", "GET", "DELETE"],
  ["/v1/connect/ca/configuration", "GET", "PUT"],
  ["/v1/connect/ca/roots", "GET"],
  ["/v1/connect/intentions", "GET", "POST"],
  ["/v1/connect/intentions/match", "GET"],
  ["/v1/connect/intentions/check", "GET"],
  ["/v1/connect/intentions/", "GET", "PUT", "DELETE"],
  ["/v1/discovery-chain/", "GET", "POST"],
  ["/v1/internal/federation-states", "GET"],
  ["/v1/internal/federation-states/mesh-gateways", "GET"],
  ["/v1/internal/federation-state/", "GET"],
  ["/v1/internal/ui/gateway-services-nodes/", "GET"],
  ["/v1/query", "GET", "POST"],
  ["/v1/query/", "GET", "PUT", "DELETE"],
];

export function unbuiltRoutes(): readonly Route[] {
  return [
    ...aclRoutes.map(([path, ...methods]): Route => ({ path, methods, handle: () => textReply(401, "ACL support disabled") })),
    ...refusedRoutes.map(([path, ...methods]): Route => ({ path, methods, handle: refuse })),
  ];
}

function refuse(request: HttpRequest): never {
  throw notSupported(request.path);
}
