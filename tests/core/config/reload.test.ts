import type { AgentConfig } from "../../../core/config/config.ts";
import { configKeys } from "../../../core/config/keys.ts";
import { emptySources, loadConfig } from "../../../core/config/load.ts";
import { planReload, reloadableFields } from "../../../core/config/reload.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { configHost } from "./host.ts";

const read = (fragment: string): Promise<AgentConfig> =>
  loadConfig({ ...emptySources, devMode: true, fragments: [fragment] }, configHost());

describe("a reload", () => {
  it("of the same sources changes nothing", async () => {
    const fragment = 'service { name="a" check { ttl="1s" } } node_meta { a="b" }';
    const plan = planReload(await read(fragment), await read(fragment));
    assert.deepEqual([plan.applied, plan.ignored], [[], []]);
  });

  it("applies definitions, DNS, metadata, recursors, the log level and one limit", async () => {
    const running = await read("");
    const next =
      await read(`service { name="a" } check { id="c" ttl="1s" } discard_check_output=true log_level="WARN" recursors=["1.1.1.1"]
      node_meta { a="b" } dns_config { node_ttl="5s" only_passing=true service_ttl { web="1s" } soa { min_ttl=5 } }
      limits { http_max_conns_per_client=7 }`);
    const plan = planReload(running, next);
    assert.deepEqual(plan.applied, [
      "checks",
      "discardCheckOutput",
      "dns.nodeTtl",
      "dns.onlyPassing",
      "dns.serviceTtl",
      "dns.soa",
      "limits.httpMaxConnsPerClient",
      "logLevel",
      "nodeMeta",
      "recursors",
      "services",
    ]);
    assert.deepEqual(plan.ignored, []);
    assert.deepEqual(plan.config, next);
  });

  it("leaves what needs a restart as it is, and names it", async () => {
    const running = await read('datacenter="dc1"');
    const next = await read(
      'datacenter="dc2" ports { http = 9500 } limits { kv_max_value_size = 1 http_max_conns_per_client = 5 } log_json = true',
    );
    const plan = planReload(running, next);
    assert.deepEqual(plan.applied, ["limits.httpMaxConnsPerClient"]);
    assert.deepEqual(plan.ignored, ["datacenter", "httpAddrs", "limits.kvMaxValueSize", "logJson", "ports.http"]);
    assert.deepEqual(plan.config, { ...running, limits: { ...running.limits, httpMaxConnsPerClient: 5 } });
  });

  it("takes the warnings of the new sources", async () => {
    const plan = planReload(await read(""), await read("non_voting_server = true"));
    assert.deepEqual(plan.config.warnings, ['"non_voting_server" is a Consul Enterprise configuration and will have no effect']);
  });

  it("applies only fields whose keys are marked so, and all of those that are built", () => {
    const marked = configKeys.filter((row) => row.reloadable && row.status === "built").map((row) => row.key);
    const singles = new Set(["check", "service", "dns_config.soa.retry", "dns_config.soa.expire", "dns_config.soa.min_ttl"]);
    assert.deepEqual([...reloadableFields.values()].sort(), marked.filter((key) => !singles.has(key)).sort());
  });
});
