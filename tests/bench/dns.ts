/**
 * Packet in, packet out, without a socket: how many DNS questions a core answers.
 * usage: bun tests/bench/dns.ts, or deno run -A tests/bench/dns.ts, or node (22.18 and later) tests/bench/dns.ts
 */
import { createRandom, seedOf } from "../../adapters/shared/random.ts";
import { nodeRecord, serviceRecord } from "../core/dns/fake-agent.ts";
import { bench, encodeQuery } from "../core/dns/script.ts";

const on = bench(createRandom(seedOf("bench")));
on.agent.store.nodes.push(nodeRecord({ node: "node-a", address: "127.0.0.1" }));
for (let at = 1; at <= 12; at++) {
  on.agent.store.services.push(
    serviceRecord({ node: "node-a", service: "many", id: `many${at}`, address: `10.0.0.${at}`, port: 80 }),
  );
}
on.agent.store.services.push(serviceRecord({ node: "node-a", service: "one", address: "10.0.1.1", port: 80 }));

const rounds = 200_000;
for (const [name, type, edns] of [
  ["one.service.consul", "A", undefined],
  ["many.service.consul", "A", undefined],
  ["many.service.consul", "A", 1232],
  ["many.service.consul", "SRV", undefined],
  ["many.service.consul", "SRV", 1232],
  ["node-a.node.consul", "A", undefined],
  ["missing.service.consul", "A", undefined],
] as const) {
  const packet = encodeQuery(name, type, { edns });
  await on.answer(packet, "udp");
  for (let round = 0; round < rounds / 10; round++) on.answer(packet, "udp");
  const began = performance.now();
  for (let round = 0; round < rounds; round++) on.answer(packet, "udp");
  const seconds = (performance.now() - began) / 1000;
  console.log(`${name} ${type}${edns === undefined ? "" : ` edns ${edns}`}: ${Math.round(rounds / seconds / 1000)} k/s`);
}
