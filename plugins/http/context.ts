/** What every route needs, and the one way shared reads are served. */
import type { Cancel } from "../../core/types/cancel.ts";
import type { Answers, QueryKind, QueryOf } from "../../core/catalog/queries.ts";
import type { AgentApi, Blocking, ReadMeta } from "../../core/plugin/agent-api.ts";
import type { Clock } from "../../core/ports/clock.ts";
import type { Crypto } from "../../core/ports/crypto.ts";
import type { Host } from "../../core/ports/host.ts";
import type { LogFollow, Logger, Metrics } from "../../core/ports/telemetry.ts";
import type { HttpReply, HttpRequest } from "./extension.ts";
import { type HotReads, splitBlocking } from "./hot-reads.ts";
import { logError } from "./log.ts";
import { isPretty, type ReadParameters } from "./query.ts";
import { errorReply, type SharedReply } from "./reply.ts";
import { currentHeaders, effectiveConsistency, type RenderedBody, type ReplyRead, replyRead, unknownMeta } from "./shared.ts";

export interface ApiContext {
  readonly agent: AgentApi;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly hot: HotReads;
  /** The machine, where it can be measured. */
  readonly host?: Pick<Host, "report">;
  /** Absent where the runtime does not let others read the log. */
  readonly logFollow?: LogFollow;
  /** Aborted when the agent stops: for requests made inside its process, which no connection ends. */
  readonly closing?: Cancel;
}

export interface SharedOptions<Kind extends QueryKind> {
  /** Says what is asked, apart from consistency, datacenter and layout. */
  readonly key: string;
  readonly query: QueryOf<Kind>;
  readonly parameters: ReadParameters;
  /** `consistency` is undefined unless `showConsistency`. */
  readonly render: (answer: Answers[Kind], meta: ReadMeta, pretty: boolean, consistency: string | undefined) => RenderedBody;
  /** Send X-Consul-Effective-Consistency: catalog and health reads do. */
  readonly showConsistency: boolean;
  /** Errors carry index headers too: all but the KV store's do. */
  readonly errorsCarryIndex: boolean;
  /** `?cached` is answered with X-Cache. */
  readonly cacheable?: boolean;
}

/** Serves a read whose rendering all equal requests share, and remembers its target for the direct path. */
export async function serveShared<Kind extends QueryKind>(
  context: ApiContext,
  request: HttpRequest,
  options: SharedOptions<Kind>,
): Promise<HttpReply> {
  const { parameters } = options;
  const { agent } = context;
  const showCache = options.cacheable === true && parameters.cached && agent.config.http.useCache;
  // What a cache answers may be old: then any server may fill it, also while none leads.
  const consistency = showCache ? "stale" : parameters.consistency;
  const read = sharedRead(context, request, options, consistency, parameters.consistency);
  const blocking = parameters.blocking ?? notBlocking(request);
  const hit = showCache && agent.store.sharedNow(read.key, consistency) !== undefined;
  try {
    let shared = await read.read(blocking);
    if (parameters.maxStale > 0 && shared.meta.lastContact > parameters.maxStale) {
      shared = await sharedRead(context, request, options, "default", "default").read(blocking);
    } else if (parameters.maxStale === 0 && !showCache && parameters.options.token === undefined)
      remember(context, request, read);
    const { status, body } = shared.rendered;
    const headers = currentHeaders(shared);
    const cacheHeaders = hit ? ["X-Cache", "HIT", "Age", "0"] : ["X-Cache", "MISS"];
    return {
      status,
      headers: showCache ? [...headers, ...cacheHeaders] : headers,
      body,
      rendered: shared.rendered,
    } as SharedReply;
  } catch (error) {
    if (!options.errorsCarryIndex) throw error;
    logError(context, request, error);
    return errorReply(error, unknownMeta);
  }
}

/** For a read that answers at once, and may have to wait for somebody who can. */
export function notBlocking({ cancel }: { readonly cancel: Cancel }): Blocking {
  return { minIndex: 0, wait: 0, cancel };
}

function sharedRead<Kind extends QueryKind>(
  context: ApiContext,
  request: HttpRequest,
  options: SharedOptions<Kind>,
  consistency: ReadParameters["consistency"],
  said: ReadParameters["consistency"],
): ReplyRead {
  const pretty = isPretty(request, context.agent);
  const shown = options.showConsistency ? effectiveConsistency(said) : undefined;
  const { datacenter, token } = options.parameters.options;
  const onError = (error: unknown): HttpReply => errorReply(error, options.errorsCarryIndex ? unknownMeta : []);
  return replyRead<Kind>(context.agent, onError, {
    // The prefix keeps clear of the keys of other plugins: the store has one cache.
    key: `http\n${options.key}\n${consistency}\n${said}\n${datacenter ?? ""}\n${token ?? ""}\n${pretty ? "pretty" : ""}`,
    query: options.query,
    // Not who asks now: this is kept for all who ask later.
    options: { consistency, ...(datacenter === undefined ? {} : { datacenter }), ...(token === undefined ? {} : { token }) },
    render: (answer, meta) => options.render(answer, meta, pretty, shown),
  });
}

function remember(context: ApiContext, request: HttpRequest, read: ReplyRead): void {
  const split = splitBlocking(request.target);
  if (split !== undefined) context.hot.remember(split.target, read);
}
