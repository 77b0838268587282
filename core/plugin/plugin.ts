/**
 * A plugin registers what it offers and, if it has a life, how to start and stop it. DNS, HTTP, the UI and auto-join
 * are plugins of ours through exactly this interface; anyone's go the same way.
 *
 *   parse all sections → check `needs` and `after` → `setup` all → `start` in order → ready → `stop` in reverse
 */
import type { Capability, Runtime } from "../ports/mod.ts";
import type { Logger } from "../ports/telemetry.ts";
import type { Millis } from "../types/ids.ts";
import type { AgentApi } from "./agent-api.ts";
import type { Hooks } from "./hooks.ts";

/** Reads the configuration section a plugin owns. Throws `AgentError("config-invalid")` that names the key. */
export interface Schema<Value> {
  parse(section: unknown): Value;
}

export interface Plugin<Config = undefined> {
  readonly name: string;
  /** Ports without which the plugin cannot work. Checked before anything starts. */
  readonly needs?: readonly Capability[];
  /** Plugins that must be set up and started first. */
  readonly after?: readonly string[];
  /** The section of the agent's configuration this plugin owns. */
  readonly config?: { readonly key: string; readonly schema: Schema<Config> };
  /** Registers; does no I/O. Returns what has a life, if anything has. */
  setup(context: PluginContext<Config>): Lifecycle | void;
}

export interface Lifecycle {
  /** After every setup, in order. */
  start?(): Promise<void>;
  /** In reverse order: stop taking work, finish what is in hand within `deadline` from now. */
  stop?(deadline: Millis): Promise<void>;
}

export interface PluginContext<Config> {
  /** Parsed and typed by the plugin's own schema. */
  readonly config: Config;
  readonly runtime: Runtime;
  /** Already a child named after the plugin. */
  readonly logger: Logger;
  readonly agent: AgentApi;
  readonly hooks: Hooks;
  extend<Extension>(point: ExtensionPoint<Extension>, extension: Extension): void;
  /** Everything plugged in so far; complete once `start` runs. */
  extensions<Extension>(point: ExtensionPoint<Extension>): readonly Extension[];
  /**
   * Publishes where a surface listens ("http", "dns"): in the log, once for each of `networks` ("udp", "tcp"; when left out
   * "tcp", or "unix" for a path), and for the handle that `createAgent` returns.
   */
  announce(
    surface: string,
    address: { readonly host: string; readonly port: number } | { readonly path: string },
    networks?: readonly string[],
  ): void;
}

/** A typed socket that one plugin owns and others plug into: HTTP routes, DNS zones, discovery providers. */
export interface ExtensionPoint<Extension> {
  readonly name: string;
  /** Throws when an extension does not fit; called when it is plugged in. */
  readonly check?: (extension: Extension) => void;
}
