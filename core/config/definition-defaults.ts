/** A whole definition from the few fields that differ from the defaults, for those who write definitions in code. */
import type { CheckDefinition, ServiceDefinition } from "./definitions.ts";

const emptyCheck: CheckDefinition = {
  id: "",
  name: "",
  notes: "",
  serviceId: "",
  token: "",
  status: "",
  args: [],
  http: "",
  header: {},
  method: "",
  body: "",
  tcp: "",
  grpc: "",
  grpcUseTls: false,
  dockerContainerId: "",
  shell: "",
  aliasNode: "",
  aliasService: "",
  ttl: 0,
  interval: 0,
  timeout: 0,
  tlsSkipVerify: false,
  successBeforePassing: 0,
  failuresBeforeCritical: 0,
  deregisterCriticalServiceAfter: 0,
  outputMaxSize: 0,
};

const emptyService: ServiceDefinition = {
  kind: "",
  id: "",
  name: "",
  tags: [],
  address: "",
  taggedAddresses: undefined,
  meta: undefined,
  port: 0,
  weights: undefined,
  token: "",
  enableTagOverride: false,
  checks: [],
  proxy: undefined,
  connectNative: false,
  sidecar: undefined,
};

export function checkDefinition(fields: Partial<CheckDefinition>): CheckDefinition {
  return { ...emptyCheck, ...fields };
}

export function serviceDefinition(fields: Partial<ServiceDefinition>): ServiceDefinition {
  return { ...emptyService, ...fields };
}
