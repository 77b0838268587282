/**
 * Runs plugins: checks what they need, orders them, sets all up, starts them in order, stops them in reverse.
 *
 *   new PluginHost(plugins) ──► start() ──► running ──► stop()
 *                                  └─ a failing start stops what had started, in reverse, and is reported
 */
import { type Capability, formatAddress, type Logger, type Runtime } from "../ports/mod.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import type { AgentApi } from "./agent-api.ts";
import type { Hooks } from "./hooks.ts";
import type { ExtensionPoint, Lifecycle, Plugin } from "./plugin.ts";

export type SurfaceAddress = { readonly host: string; readonly port: number } | { readonly path: string };

// biome-ignore lint/suspicious/noExplicitAny: a list of plugins holds plugins of every configuration type
export type AnyPlugin = Plugin<any>;

export interface PluginHostOptions {
  readonly plugins: readonly AnyPlugin[];
  readonly runtime: Runtime;
  readonly agent: AgentApi;
  readonly hooks: Hooks;
  readonly logger: Logger;
  /** Configuration sections by key, unparsed. */
  readonly sections: Readonly<Record<string, unknown>>;
}

export class PluginHost {
  readonly #options: PluginHostOptions;
  readonly #ordered: readonly AnyPlugin[];
  readonly #extensions = new Map<string, unknown[]>();
  readonly #addresses = new Map<string, SurfaceAddress[]>();
  readonly #started: { readonly name: string; readonly life: Lifecycle }[] = [];

  /** Throws `config-invalid` when a plugin lacks a port, names an unknown or circular predecessor, or refuses its section. */
  constructor(options: PluginHostOptions) {
    this.#options = options;
    for (const plugin of options.plugins) requireCapabilities(plugin, options.runtime);
    this.#ordered = inOrder(options.plugins);
  }

  /** Where each surface listens, in the order announced. */
  addresses(surface: string): readonly SurfaceAddress[] {
    return this.#addresses.get(surface) ?? [];
  }

  async start(): Promise<void> {
    const lives = this.#ordered.map((plugin) => ({ name: plugin.name, life: this.#setUp(plugin) }));
    for (const { name, life } of lives) {
      if (life === undefined) continue;
      try {
        await life.start?.();
      } catch (error) {
        await this.stop(0);
        throw error;
      }
      this.#started.push({ name, life });
    }
  }

  /** Stops in reverse order, each within `deadline`; a failure is logged and does not keep the others alive. */
  async stop(deadline: Millis): Promise<void> {
    for (let entry = this.#started.pop(); entry !== undefined; entry = this.#started.pop()) {
      try {
        await entry.life.stop?.(deadline);
      } catch (error) {
        this.#options.logger.log("error", "plugin did not stop cleanly", { plugin: entry.name, error: messageOf(error) });
      }
    }
  }

  #setUp(plugin: AnyPlugin): Lifecycle | undefined {
    const { runtime, agent, hooks, logger, sections } = this.#options;
    const config = plugin.config?.schema.parse(sections[plugin.config.key]);
    const life = plugin.setup({
      config,
      runtime,
      logger: logger.child(plugin.name),
      agent,
      hooks,
      extend: (point, extension) => this.#extend(point, extension),
      extensions: (point) => (this.#extensions.get(point.name) ?? []) as never[],
      announce: (surface, address, networks = ["path" in address ? "unix" : "tcp"]) => {
        const shown = "path" in address ? address.path : formatAddress(address);
        for (const network of networks)
          logger.log("info", `Started ${surface.toUpperCase()} server`, { address: shown, network });
        const known = this.#addresses.get(surface);
        if (known === undefined) this.#addresses.set(surface, [address]);
        else known.push(address);
      },
    });
    return life ?? undefined;
  }

  #extend<Extension>(point: ExtensionPoint<Extension>, extension: Extension): void {
    point.check?.(extension);
    const existing = this.#extensions.get(point.name);
    if (existing === undefined) this.#extensions.set(point.name, [extension]);
    else existing.push(extension);
  }
}

function requireCapabilities(plugin: AnyPlugin, runtime: Runtime): void {
  const missing = (plugin.needs ?? []).filter((capability: Capability) => runtime[capability] === undefined);
  if (missing.length === 0) return;
  throw new AgentError("config-invalid", {
    message: `Plugin "${plugin.name}" needs ${missing.join(", ")}, which the runtime "${runtime.name}" does not have. Leave the plugin out there`,
  });
}

/** Topological order that keeps the given order where `after` leaves a choice. */
function inOrder(plugins: readonly AnyPlugin[]): readonly AnyPlugin[] {
  const byName = new Map<string, AnyPlugin>();
  for (const plugin of plugins) {
    if (byName.has(plugin.name)) throw new AgentError("config-invalid", { message: `Two plugins are named "${plugin.name}"` });
    byName.set(plugin.name, plugin);
  }
  const ordered: AnyPlugin[] = [];
  const state = new Map<string, "visiting" | "done">();
  const visit = (plugin: AnyPlugin, path: readonly string[]): void => {
    if (state.get(plugin.name) === "done") return;
    if (state.get(plugin.name) === "visiting") {
      throw new AgentError("config-invalid", {
        message: `Plugins wait for one another: ${[...path, plugin.name].join(" after ")}`,
      });
    }
    state.set(plugin.name, "visiting");
    for (const name of plugin.after ?? []) {
      const before = byName.get(name);
      if (before === undefined) {
        throw new AgentError("config-invalid", {
          message: `Plugin "${plugin.name}" must start after "${name}", which is not among the plugins`,
        });
      }
      visit(before, [...path, plugin.name]);
    }
    state.set(plugin.name, "done");
    ordered.push(plugin);
  };
  for (const plugin of plugins) visit(plugin, []);
  return ordered;
}
