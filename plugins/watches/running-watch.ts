/** One watch of the configuration at work: asks the agent's own API, calls its handler, one call at a time. */
import { encodeQuery, escapePath, type QueryParameters } from "../../core/codec/go-url.ts";
import { formatDuration } from "../../core/config/duration.ts";
import type { Clock, Logger } from "../../core/ports/mod.ts";
import { emptyBytes } from "../../core/types/bytes.ts";
import { messageOf } from "../../core/types/errors.ts";
import type { WatchDefinition } from "../../core/watch/definition.ts";
import { followState, type WatchAnswer } from "../../core/watch/watch.ts";
import type { InnerApi } from "../http/extension.ts";
import { type HandlerPorts, runHandler } from "./handlers.ts";

export interface RunningWatchOptions {
  readonly definition: WatchDefinition;
  readonly api: InnerApi;
  readonly clock: Pick<Clock, "after">;
  readonly handlers: HandlerPorts;
  /** Where failures of the watch itself are told. */
  readonly logger: Logger;
}

const here = { host: "127.0.0.1", port: 0 } as const;

export class RunningWatch {
  readonly #options: RunningWatchOptions;
  readonly #asking = new AbortController();
  readonly #calling = new AbortController();
  readonly #ended: Promise<void>;

  constructor(options: RunningWatchOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  /** Asks no more. A handler that is being called may finish. */
  stop(): void {
    this.#asking.abort();
  }

  /** Resolves when no handler is being called any more. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Ends the call of a handler, too. */
  kill(): void {
    this.stop();
    this.#calling.abort();
  }

  async #run(): Promise<void> {
    const { definition, clock, handlers, logger } = this.#options;
    const news = followState({
      watch: definition.watch,
      ask: (query) => this.#ask(query),
      clock,
      cancel: this.#asking.signal,
      onFailure: (error, retry) =>
        logger.log("error", "Watch errored", { type: definition.type, error: messageOf(error), retry: formatDuration(retry) }),
    });
    for await (const each of news) await runHandler(definition.handler, each, handlers, this.#calling.signal);
  }

  async #ask(query: QueryParameters): Promise<WatchAnswer> {
    const { watch, datacenter, token } = this.#options.definition;
    const parameters = datacenter === "" ? query : { ...query, dc: datacenter };
    const { status, headers, body } = await this.#options.api.ask({
      method: "GET",
      target: escapePath(watch.path) + encodeQuery(parameters),
      header: (name) => (name === "x-consul-token" && token !== "" ? token : undefined),
      from: here,
      body: async () => emptyBytes,
      cancel: this.#asking.signal,
    });
    const at = headers.findIndex((name, position) => position % 2 === 0 && name.toLowerCase() === "x-consul-index");
    return { status, index: at < 0 ? undefined : headers[at + 1], body };
  }
}
