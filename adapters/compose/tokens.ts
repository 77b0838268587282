/** Typed tokens, one per thing the container hands out. A token is a symbol that remembers its type. */
import type { Agent } from "../../core/agent/agent.ts";
import type { AgentConfig } from "../../core/config/config.ts";
import type { AnyPlugin } from "../../core/plugin/host.ts";
import type { LogLevel, Runtime, Storage } from "../../core/ports/mod.ts";

export type Token<Value> = symbol & { readonly type?: Value };

const token = <Value>(name: string): Token<Value> => Symbol(name) as Token<Value>;

export const RUNTIME = token<Runtime>("Runtime");
export const STORAGE = token<Storage>("Storage");
export const CONFIG = token<AgentConfig>("AgentConfig");
export const NODE_ID = token<string>("NodeId");
export const PLUGINS = token<readonly AnyPlugin[]>("Plugins");
export const LIFE = token<AgentLife>("AgentLife");
export const AGENT = token<Agent>("Agent");

/** How the surroundings drive an agent. */
export interface AgentLife {
  readonly sockets: boolean;
  readonly readConfig?: () => Promise<AgentConfig>;
  readonly setLogLevel?: (level: LogLevel) => void;
  readonly onEnd?: (code: number) => void;
}
