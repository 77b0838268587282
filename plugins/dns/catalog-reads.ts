/** What DNS asks of the catalog: at once where this agent can answer, from a server otherwise; services' instances shared. */
import type { Answers, QueryKind, QueryOf } from "../../core/catalog/queries.ts";
import type { AgentApi, Consistency } from "../../core/plugin/agent-api.ts";
import type { Counter, Logger, Metrics } from "../../core/ports/mod.ts";
import { messageOf } from "../../core/types/errors.ts";
import { type Eventually, then } from "./eventually.ts";
import { ServiceView } from "./instances.ts";
import type { NodeView, Share, SharedView } from "./shared-view.ts";
import type { ServiceTarget } from "./names.ts";
import type { Settings } from "./settings.ts";

export interface CatalogParts {
  readonly agent: AgentApi;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Shared views that are being made at one time. */
const fillingMax = 1000;
/** Older than this counts as stale in the metrics. */
const staleAfter = 5000;

export class CatalogReads {
  readonly #parts: CatalogParts;
  readonly #staleQueries: Counter;
  readonly #filling = new Set<string>();

  constructor(parts: CatalogParts) {
    this.#parts = parts;
    this.#staleQueries = parts.metrics.counter("dns.stale_queries");
  }

  /** The instances that may be named. */
  serviceView(target: ServiceTarget, settings: Settings): Eventually<ServiceView> {
    const { onlyPassing } = settings.config.dns;
    const query: QueryOf<"checkedInstances"> = {
      kind: "checkedInstances",
      service: target.service,
      passingOnly: onlyPassing,
      ...(target.tag === "" ? {} : { tags: [target.tag] }),
      ...(target.through === undefined ? {} : { through: target.through }),
    };
    const make = (instances: Answers["checkedInstances"], share?: Share): ServiceView =>
      new ServiceView(
        instances.filter(({ checks }) => checks.every((check) => check.status !== "critical")),
        share,
      );
    if (!isOwn(target.datacenter, settings)) return then(this.read(query, target.datacenter, settings), (answer) => make(answer));
    const key = `dns:service\n${target.service}\n${target.tag}\n${target.through ?? ""}\n${onlyPassing}`;
    return this.#view(key, query, make, (view) => view.instances.length > 0, settings);
  }

  nodeView(name: string, datacenter: string, settings: Settings): Eventually<NodeView> {
    const query: QueryOf<"nodeServices"> = { kind: "nodeServices", node: name };
    const make = (found: Answers["nodeServices"], share?: Share): NodeView => ({ node: found?.node, share });
    if (!isOwn(datacenter, settings)) return then(this.read(query, datacenter, settings), (answer) => make(answer));
    return this.#view(`dns:node\n${name}`, query, make, (view) => view.node !== undefined, settings);
  }

  /** The view that the agent shares under this key, where it is fresh. */
  sharedNow<View extends SharedView>(key: string, settings: Settings): View | undefined {
    const shared = this.#parts.agent.store.sharedNow<View>(key, consistencyOf(settings));
    return shared !== undefined && shared.meta.lastContact <= settings.config.dns.maxStale ? shared.rendered : undefined;
  }

  /** From the shared views where one is fresh; else read, and shared where it `exists`: names nobody has must not fill memory. */
  #view<Kind extends QueryKind, View extends SharedView>(
    key: string,
    query: QueryOf<Kind>,
    make: (answer: Answers[Kind], share?: Share) => View,
    exists: (view: View) => boolean,
    settings: Settings,
  ): Eventually<View> {
    const shared = this.sharedNow<View>(key, settings);
    if (shared !== undefined) return shared;
    const consistency = consistencyOf(settings);
    const now = this.#parts.agent.store.readNow(query, consistency);
    // An agent that must ask a server has nothing to share: what it kept would not be known to be fresh.
    if (now === undefined || this.#tooStale(now.meta.lastContact, settings))
      return this.#readLater(query, "", consistency, settings).then((answer) => make(answer));
    const view = make(now.answer);
    if (exists(view)) this.#share(key, query, consistency, (answer) => make(answer, { key }));
    return view;
  }

  #share<Kind extends QueryKind>(
    key: string,
    query: QueryOf<Kind>,
    consistency: Consistency,
    render: (answer: Answers[Kind]) => SharedView,
  ): void {
    if (this.#filling.has(key) || this.#filling.size >= fillingMax) return;
    this.#filling.add(key);
    // The answer at hand does not wait for it, and a failure only means that the next question reads again.
    this.#parts.agent.store
      .readShared({ key, query, options: { consistency }, render })
      .catch((error: unknown) =>
        this.#parts.logger.log("debug", "could not keep what a name stands for", { error: messageOf(error) }),
      )
      .finally(() => this.#filling.delete(key));
  }

  /** Rejects with `no-datacenter`, `no-leader`; or throws them, when it need not wait. */
  read<Kind extends QueryKind>(query: QueryOf<Kind>, datacenter: string, settings: Settings): Eventually<Answers[Kind]> {
    const consistency = consistencyOf(settings);
    if (!isOwn(datacenter, settings)) return this.#readLater(query, datacenter, consistency, settings);
    const now = this.#parts.agent.store.readNow(query, consistency);
    if (now !== undefined && !this.#tooStale(now.meta.lastContact, settings)) return now.answer;
    return this.#readLater(query, "", consistency, settings);
  }

  async #readLater<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    datacenter: string,
    consistency: Consistency,
    settings: Settings,
  ): Promise<Answers[Kind]> {
    const { store } = this.#parts.agent;
    const first = await store.read(query, { consistency, datacenter });
    if (consistency !== "stale" || !this.#tooStale(first.meta.lastContact, settings)) return first.answer;
    return (await store.read(query, { consistency: "default", datacenter })).answer;
  }

  #tooStale(lastContact: number, settings: Settings): boolean {
    if (!settings.config.dns.allowStale) return false;
    if (lastContact > staleAfter) this.#staleQueries.add(1);
    return lastContact > settings.config.dns.maxStale;
  }
}

function consistencyOf(settings: Settings): Consistency {
  return settings.config.dns.allowStale ? "stale" : "default";
}

/** "" stands for it as well. */
export function isOwn(datacenter: string, settings: Settings): boolean {
  return datacenter === "" || datacenter === settings.datacenter;
}
