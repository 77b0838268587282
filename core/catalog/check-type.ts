import type { JsonObject } from "./records.ts";

/**
 * The kind of check that a definition describes, which Consul fills in where a registration does not say. "" for none.
 * Consul 1.8, `CheckType.Type`: its order, and a check that needs an interval is none without.
 */
export function checkTypeOf(definition: JsonObject): string {
  const has = (name: string): boolean => {
    const value = definition[name];
    return value !== undefined && value !== null && value !== "" && value !== 0 && value !== false;
  };
  const runs = has("Interval");
  const script = Array.isArray(definition["ScriptArgs"]) && definition["ScriptArgs"].length > 0;
  if (runs && has("GRPC")) return "grpc";
  if (runs && has("HTTP")) return "http";
  if (has("TTL")) return "ttl";
  if (runs && has("TCP")) return "tcp";
  if (has("AliasNode") || has("AliasService")) return "alias";
  if (runs && script && has("DockerContainerID")) return "docker";
  return script ? "script" : "";
}
