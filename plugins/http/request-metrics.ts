/**
 * How long requests took, by route, and calls of the catalog one by one: Consul 1.8's `consul.http.<METHOD>.<route>` and
 * `consul.client.api.<call>`. A route that goes on below its path is counted as one, with "_" for what follows.
 */
import type { Counter, Metrics, Sample } from "../../core/ports/telemetry.ts";
import type { Millis } from "../../core/types/ids.ts";

/** What clients write there is theirs; only these are counted. */
const methods = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"] as const;

/** As Consul names its calls. */
const calls: ReadonlyMap<string, string> = new Map([
  ["/v1/catalog/register", "catalog_register"],
  ["/v1/catalog/deregister", "catalog_deregister"],
  ["/v1/catalog/datacenters", "catalog_datacenters"],
  ["/v1/catalog/nodes", "catalog_nodes"],
  ["/v1/catalog/services", "catalog_services"],
  ["/v1/catalog/service/", "catalog_service_nodes"],
  ["/v1/catalog/connect/", "catalog_connect_service_nodes"],
  ["/v1/catalog/node/", "catalog_node_services"],
]);

/** How it went is counted with another call's. */
const outcomes: ReadonlyMap<string, string> = new Map([["catalog_connect_service_nodes", "catalog_service_nodes"]]);
/** Failures are not counted. */
const uncounted = "catalog_nodes";

export class RouteMetrics {
  readonly #metrics: Metrics;
  readonly #route: string;
  readonly #samples = new Map<string, Sample>();
  readonly #call: { readonly all: Counter; readonly success: Counter; readonly error: Counter | undefined } | undefined;

  constructor(metrics: Metrics, path: string, node: string) {
    this.#metrics = metrics;
    this.#route = routeName(path);
    const call = calls.get(path);
    const outcome = outcomes.get(call ?? "") ?? call;
    this.#call =
      call === undefined
        ? undefined
        : {
            all: metrics.counter(`client.api.${call}`, { node }),
            success: metrics.counter(`client.api.success.${outcome}`, { node }),
            error: call === uncounted ? undefined : metrics.counter(`client.rpc.error.${outcome}`, { node }),
          };
  }

  /** `now`: of the monotonic clock. */
  onAnswered(method: string, status: number, begun: Millis, now: Millis): void {
    let sample = this.#samples.get(method);
    if (sample === undefined) {
      if (!(methods as readonly string[]).includes(method)) return;
      sample = this.#metrics.sample(`http.${method}.${this.#route}`);
      this.#samples.set(method, sample);
    }
    sample.observe(now - begun, now);
    if (this.#call === undefined) return;
    this.#call.all.add(1);
    if (status < 400) this.#call.success.add(1);
    else if (status >= 500) this.#call.error?.add(1);
  }
}

/** "/v1/kv/" is "v1.kv._". */
export function routeName(path: string): string {
  return path
    .slice(1)
    .split("/")
    .map((part) => (part === "" ? "_" : part))
    .join(".");
}
