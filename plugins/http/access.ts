/** Who may reach what: `http_config.block_endpoints` and `http_config.allow_write_http_from`. */
import type { AgentConfig } from "../../core/config/config.ts";
import { inNetworks, parseIp } from "../../core/config/ip.ts";

/** Whether a configured prefix covers the path. */
export function isBlocked(config: AgentConfig, path: string): boolean {
  for (const prefix of config.http.blockEndpoints) if (path.startsWith(prefix)) return true;
  return false;
}

/** Writes are limited to the configured networks; reads never are. `address` is the client's IP, "" on a Unix socket. */
export function mayWrite(config: AgentConfig, method: string, address: string): boolean {
  const allowed = config.http.allowWriteHttpFrom;
  if (allowed.length === 0 || method === "GET" || method === "HEAD" || method === "OPTIONS") return true;
  const ip = parseIp(address.replace(/^::ffff:(?=\d+\.)/i, ""));
  return ip !== undefined && inNetworks(ip, allowed);
}
