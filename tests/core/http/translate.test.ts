/** translate_wan_addrs over HTTP, as Consul 1.8.7 answered for the same records. */
import type { NodeRecord, ServiceInstance, ServiceRecord } from "../../../core/catalog/records.ts";
import type { AgentApi } from "../../../core/plugin/agent-api.ts";
import type { ReadParameters } from "../../../plugins/http/query.ts";
import { translation } from "../../../plugins/http/translate.ts";
import { assert, describe, it } from "../../support/harness.ts";

function record(given: Readonly<Record<string, unknown>>): ServiceInstance {
  const { node, tagged, service, port = 80, serviceTagged } = given;
  return {
    node: { node: "n", address: node, taggedAddresses: tagged } as unknown as NodeRecord,
    service: { service: "web", address: service ?? "", port, taggedAddresses: serviceTagged } as unknown as ServiceRecord,
  };
}

function seen(instance: ServiceInstance, translate: boolean, datacenter?: string): string {
  const agent = { config: { datacenter: "dc1", translateWanAddrs: translate } } as AgentApi;
  const parameters = {
    options: { consistency: "default", ...(datacenter === undefined ? {} : { datacenter }) },
  } as ReadParameters;
  const { node, service } = translation(agent, parameters).instance(instance);
  return `${node.address} ${service.address}:${service.port}`;
}

const at = (Address: string, Port: number) => ({ address: Address, port: Port });

describe("what is read from another datacenter with translate_wan_addrs", () => {
  const cases: readonly (readonly [string, ServiceInstance, string, string])[] = [
    [
      "the WAN address and port",
      record({
        node: "10.0.0.1",
        tagged: { wan: "192.0.2.1", lan: "10.0.0.7" },
        service: "10.9.9.9",
        serviceTagged: { wan: at("192.0.2.81", 8081) },
      }),
      "192.0.2.1 192.0.2.81:8081",
      "10.0.0.1 10.9.9.9:80",
    ],
    [
      "of several the IPv6 one; the port goes with `wan` alone",
      record({
        node: "10.0.0.2",
        tagged: { wan: "192.0.2.2", wan_ipv4: "192.0.2.42", wan_ipv6: "2001:db8::2", lan_ipv4: "10.0.0.42" },
        serviceTagged: { wan: at("192.0.2.82", 8082), wan_ipv4: at("192.0.2.83", 8083), wan_ipv6: at("2001:db8::84", 8084) },
      }),
      "2001:db8::2 2001:db8::84:8082",
      "10.0.0.2 :80",
    ],
    ["the IPv4 one", record({ node: "10.0.0.3", tagged: { wan_ipv4: "192.0.2.3" } }), "192.0.2.3 :80", "10.0.0.3 :80"],
    [
      "those of the LAN where there are none of the WAN",
      record({
        node: "10.0.0.4",
        tagged: { lan_ipv6: "2001:db8::4", lan_ipv4: "10.0.0.44" },
        service: "10.9.9.4",
        serviceTagged: { lan_ipv4: at("10.9.9.44", 8044) },
      }),
      "2001:db8::4 10.9.9.44:80",
      "10.0.0.4 10.9.9.4:80",
    ],
    ["its only address", record({ node: "10.0.0.5", service: "10.9.9.5" }), "10.0.0.5 10.9.9.5:80", "10.0.0.5 10.9.9.5:80"],
  ];
  for (const [what, instance, translated, plain] of cases)
    it(`shows ${what}; what is read here, or without it, shows what was registered`, () => {
      assert.equal(seen(instance, true, "dc2"), translated);
      assert.equal(seen(instance, true), plain);
      assert.equal(seen(instance, false, "dc2"), plain);
    });
});
