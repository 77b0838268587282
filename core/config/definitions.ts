/**
 * A service or a check as a person defines it: in a configuration file or in the body of
 * /v1/agent/service/register and check/register. Parsed and with durations in
 * milliseconds; defaults that depend on the agent are not filled in.
 */
import type { JsonObject, ServiceAddress, StringMap, Weights } from "../catalog/records.ts";
import type { Millis } from "../types/ids.ts";

export interface ServiceDefinition {
  readonly kind: string;
  /** "" means: the name. */
  readonly id: string;
  readonly name: string;
  readonly tags: readonly string[];
  readonly address: string;
  readonly taggedAddresses: Readonly<Record<string, ServiceAddress>> | undefined;
  readonly meta: StringMap | undefined;
  readonly port: number;
  readonly weights: Weights | undefined;
  readonly token: string;
  readonly enableTagOverride: boolean;
  /** `check` and `checks` together. */
  readonly checks: readonly CheckDefinition[];
  /** Consul's Proxy object under its CamelCase keys, as given. */
  readonly proxy: JsonObject | undefined;
  readonly connectNative: boolean;
  readonly sidecar: ServiceDefinition | undefined;
}

export interface CheckDefinition {
  /** "" means: derived by the agent (the name, or `service:ID[:N]`). */
  readonly id: string;
  readonly name: string;
  readonly notes: string;
  readonly serviceId: string;
  readonly token: string;
  /** "" means critical. */
  readonly status: string;
  readonly args: readonly string[];
  readonly http: string;
  readonly header: Readonly<Record<string, readonly string[]>>;
  readonly method: string;
  readonly body: string;
  readonly tcp: string;
  readonly grpc: string;
  readonly grpcUseTls: boolean;
  readonly dockerContainerId: string;
  readonly shell: string;
  readonly aliasNode: string;
  readonly aliasService: string;
  readonly ttl: Millis;
  readonly interval: Millis;
  readonly timeout: Millis;
  readonly tlsSkipVerify: boolean;
  readonly successBeforePassing: number;
  readonly failuresBeforeCritical: number;
  readonly deregisterCriticalServiceAfter: Millis;
  /** 0: the agent's `check_output_max_size`. */
  readonly outputMaxSize: number;
}
