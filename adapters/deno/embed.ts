/** The library `proconsul` on Deno. */
import { dnsPlugin } from "../../plugins/dns/plugin.ts";
import { httpPlugin } from "../../plugins/http/plugin.ts";
import { watchesPlugin } from "../../plugins/watches/plugin.ts";
import { type AgentHandle, type CreateAgentOptions, createEmbeddedAgent } from "../compose/embed.ts";
import { createRuntime } from "./runtime.ts";

export type { AgentHandle, CreateAgentOptions } from "../compose/embed.ts";
export type { Plugin, PluginContext } from "../../core/plugin/plugin.ts";

/** Starts an agent in this process; it is ready when this resolves. */
export function createAgent(options?: CreateAgentOptions): Promise<AgentHandle> {
  return createEmbeddedAgent({ createRuntime, httpPlugin, dnsPlugin, watchesPlugin }, options);
}
