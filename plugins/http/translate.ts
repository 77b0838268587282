/**
 * `translate_wan_addrs`: what is read from another datacenter is shown with the addresses by which it is reached from here.
 * As Consul 1.8 does it: an IPv6 address before an IPv4 one before the plain one, of the WAN before those of the LAN.
 */
import type { NodeRecord, ServiceInstance, ServiceRecord } from "../../core/catalog/records.ts";
import type { AgentApi } from "../../core/plugin/agent-api.ts";
import type { ReadParameters } from "./query.ts";

export interface Translation {
  node(record: NodeRecord): NodeRecord;
  service(record: ServiceRecord): ServiceRecord;
  instance<Instance extends ServiceInstance>(instance: Instance): Instance;
}

const asTheyAre: Translation = {
  node: (record) => record,
  service: (record) => record,
  instance: (instance) => instance,
};

const asReached: Translation = {
  node(record) {
    const { address, taggedAddresses: tagged } = record;
    return tagged === undefined ? record : { ...record, address: best(address, (tag) => tagged[tag]) };
  },
  service(record) {
    const { address, port, taggedAddresses: tagged } = record;
    if (tagged === undefined) return record;
    return { ...record, address: best(address, (tag) => tagged[tag]?.address), port: tagged["wan"]?.port || port };
  },
  instance: (instance) => ({ ...instance, node: asReached.node(instance.node), service: asReached.service(instance.service) }),
};

/** What becomes of the addresses in an answer to a request with these parameters. */
export function translation(agent: AgentApi, { options }: ReadParameters): Translation {
  return agent.config.translateWanAddrs && options.datacenter !== undefined ? asReached : asTheyAre;
}

function best(plain: string, tagged: (tag: string) => string | undefined): string {
  const v4 = tagged("wan_ipv4") || tagged("lan_ipv4");
  const v6 = tagged("wan_ipv6") || tagged("lan_ipv6");
  return v6 || v4 || tagged("wan") || plain;
}
