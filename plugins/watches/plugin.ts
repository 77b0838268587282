/**
 * The `watches` of an agent's configuration: front page of this folder.
 *
 *   configuration ─ core/watch/definition.ts ─► RunningWatch ── asks the HTTP API, inside the process (core/watch/watch.ts)
 *                                                   └── each new state ──► handlers.ts: a program, or a URL
 *
 *   start: all are read first, and one that is wrong stops the start
 *   reload: one that is wrong refuses the whole reload; otherwise all end (a handler that is being called may finish), and
 *           begin anew, so that every handler is called with the present state
 *   stop: handlers get the time that plugins get, then they are killed
 *
 * Each watch has at most one query and one call of its handler under way; what it holds is the last state it saw.
 */
import type { AgentConfig } from "../../core/config/config.ts";
import type { Lifecycle, Plugin, PluginContext } from "../../core/plugin/plugin.ts";
import type { Logger } from "../../core/ports/telemetry.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { type WatchDefinition, watchDefinition } from "../../core/watch/definition.ts";
import { type InnerApi, innerApi } from "../http/extension.ts";
import { RunningWatch } from "./running-watch.ts";

export const watchesPlugin: Plugin = {
  name: "watches",
  after: ["http"],
  setup: (context) => new ConfiguredWatches(context),
};

class ConfiguredWatches implements Lifecycle {
  readonly #context: PluginContext<undefined>;
  /** Consul logs these under its own names. */
  readonly #logger: Logger;
  #running: readonly RunningWatch[] = [];
  /** Stopped by a reload while their handler was being called. */
  readonly #finishing = new Set<RunningWatch>();
  #started = false;

  constructor(context: PluginContext<undefined>) {
    this.#context = context;
    this.#logger = context.runtime.logger.child("agent");
    context.hooks.onFilter("reloadConfig", (config) => {
      try {
        definitions(config, () => {});
      } catch (error) {
        throw new AgentError("config-invalid", { message: `Failed reloading watches: ${messageOf(error)}`, cause: error });
      }
      return config;
    });
    context.hooks.onNotify("configReloaded", (config) => {
      if (this.#started) this.#begin(definitions(config, this.#warn));
    });
    // Before the store is closed: what a watch asks then would be an error in the log.
    context.hooks.onNotify("agentStopping", () => this.#end());
  }

  async start(): Promise<void> {
    const found = definitions(this.#context.agent.config, this.#warn);
    this.#started = true;
    this.#begin(found);
  }

  async stop(deadline: Millis): Promise<void> {
    this.#started = false;
    this.#end();
    const finishing = [...this.#finishing];
    const { clock } = this.#context.runtime;
    const timer = clock.after(deadline, () => {
      for (const watch of finishing) watch.kill();
    });
    await Promise.all(finishing.map((watch) => watch.ended));
    timer.cancel();
  }

  readonly #warn = (warning: string): void => this.#logger.log("warn", warning);

  #begin(found: readonly WatchDefinition[]): void {
    this.#end();
    const { runtime } = this.#context;
    const api = this.#context.extensions(innerApi)[0] as InnerApi;
    this.#running = found.map(
      (definition) =>
        new RunningWatch({
          definition,
          api,
          clock: runtime.clock,
          logger: this.#logger.child("watch").child("watch"),
          handlers: {
            logger: this.#logger,
            shell: runtime.host?.env["SHELL"] || "/bin/sh",
            ...(runtime.processes === undefined ? {} : { processes: runtime.processes }),
            ...(runtime.httpClient === undefined ? {} : { httpClient: runtime.httpClient }),
          },
        }),
    );
  }

  #end(): void {
    for (const watch of this.#running) {
      watch.stop();
      this.#finishing.add(watch);
      void watch.ended.then(() => this.#finishing.delete(watch));
    }
    this.#running = [];
  }
}

/** Throws `AgentError("config-invalid")` with Consul's text. */
function definitions(
  { watches, httpAddrs, httpsAddrs }: AgentConfig,
  warn: (warning: string) => void,
): readonly WatchDefinition[] {
  if (watches.length === 0) return [];
  if (httpAddrs.length === 0 && httpsAddrs.length === 0) {
    throw new AgentError("config-invalid", { message: "watch plans require an HTTP or HTTPS endpoint" });
  }
  return watches.map((given) => watchDefinition(given, warn));
}
