/** `createAgent` of the runtime that the test runs on. */
import type { AgentHandle, CreateAgentOptions } from "../../adapters/compose/embed.ts";

export async function createAgent(options?: CreateAgentOptions): Promise<AgentHandle> {
  const globals = globalThis as { Bun?: unknown; Deno?: unknown };
  if (globals.Bun !== undefined) return (await import("../../adapters/bun/embed.ts")).createAgent(options);
  if (globals.Deno !== undefined) return (await import("../../adapters/deno/embed.ts")).createAgent(options);
  return (await import("../../adapters/node/embed.ts")).createAgent(options);
}
