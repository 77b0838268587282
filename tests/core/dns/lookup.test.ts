/** What scripts cannot show: chance, waiting, failure, reloads. */
import dnsPacket from "dns-packet";
import { AgentError } from "../../../core/types/errors.ts";
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { settle } from "../../support/virtual-clock.ts";
import { nodeRecord, serviceRecord } from "./fake-agent.ts";
import { type Bench, bench, encodeQuery, printReply } from "./script.ts";

function withInstances(
  count: number,
  addressOf = (at: number): string => `10.0.0.${at}`,
  random = createRandom(seedOf("dns")),
): Bench {
  const on = bench(random);
  on.agent.store.nodes.push(nodeRecord({ node: "node-a", address: "127.0.0.1" }));
  for (let at = 1; at <= count; at++) {
    on.agent.store.services.push(
      serviceRecord({ node: "node-a", service: "web", id: `web${at}`, address: addressOf(at), port: 80 }),
    );
  }
  return on;
}

async function ask(on: Bench, name: string, type = "A", edns?: number): Promise<dnsPacket.Packet> {
  const reply = await on.answer(encodeQuery(name, type, { edns }), "udp");
  assert.ok(reply !== undefined);
  return dnsPacket.decode(Buffer.from(reply));
}

function addresses(message: dnsPacket.Packet): string {
  return (message.answers ?? []).map((answer) => (answer as { data: unknown }).data).join(" ");
}

describe("instances of a service", () => {
  it("come in every order, each about as often", async () => {
    const on = withInstances(3);
    const seen = new Map<string, number>();
    for (let round = 0; round < 6000; round++) {
      const order = addresses(await ask(on, "web.service.consul"));
      seen.set(order, (seen.get(order) ?? 0) + 1);
    }
    assert.equal(seen.size, 6);
    for (const count of seen.values()) assert.ok(count > 800 && count < 1200, `${count} of 6000`);
  });

  it("are all reached in time when only three are named", async () => {
    const on = withInstances(20);
    const seen = new Set<string>();
    for (let round = 0; round < 200; round++)
      for (const address of addresses(await ask(on, "web.service.consul")).split(" ")) seen.add(address);
    assert.equal(seen.size, 20);
  });

  it("that share an address are one answer, and come first as often as they are many", async () => {
    const on = withInstances(10, (at) => (at === 1 ? "10.0.0.1" : "10.0.0.2"));
    let first = 0;
    for (let round = 0; round < 1000; round++) {
      const order = addresses(await ask(on, "web.service.consul"));
      assert.equal(order.split(" ").length, 2);
      if (order.startsWith("10.0.0.2")) first++;
    }
    assert.ok(first > 850 && first < 950, `${first} of 1000`);
  });

  it("are searched for once, and again after a change", async () => {
    const on = withInstances(2);
    await ask(on, "web.service.consul");
    await settle();
    const searched = on.agent.store.evaluations;
    for (let round = 0; round < 10; round++) await ask(on, "web.service.consul", round % 2 === 0 ? "A" : "SRV");
    assert.equal(on.agent.store.evaluations, searched);
    on.agent.store.services.pop();
    on.agent.store.changed();
    assert.equal((await ask(on, "web.service.consul")).answers?.length, 1);
  });

  it("that do not exist are not remembered", async () => {
    const on = withInstances(1);
    let shared = 0;
    const { store } = on.agent;
    const readShared = store.readShared.bind(store);
    store.readShared = (request) => {
      shared++;
      return readShared(request);
    };
    for (let at = 0; at < 50; at++) await ask(on, `random${at}.service.consul`);
    assert.equal(shared, 0);
  });

  it("get what a reload configured", async () => {
    const on = withInstances(1);
    await ask(on, "web.service.consul");
    await settle();
    const { dns } = on.agent.agent.config;
    on.agent.configure({ domain: "example.", dns: { ...dns, serviceTtl: { web: 9000 } } });
    const message = await ask(on, "web.service.example");
    assert.equal((message.answers?.[0] as { ttl?: number } | undefined)?.ttl, 9);
    assert.equal(((await ask(on, "web.service.consul")) as unknown as { rcode: string }).rcode, "REFUSED");
  });
});

describe("an agent that asks a server", () => {
  it("answers when the server did", async () => {
    const on = withInstances(1);
    on.agent.store.local = false;
    assert.equal(addresses(await ask(on, "web.service.consul")), "10.0.0.1");
    assert.equal(addresses(await ask(on, "node-a.node.consul")), "127.0.0.1");
  });

  it("does not need the packet's bytes any more", async () => {
    const on = withInstances(1);
    on.agent.store.local = false;
    const packet = encodeQuery("web.service.consul", "A");
    const reply = on.answer(packet, "udp");
    packet.fill(0xff);
    assert.deepEqual(printReply((await reply) as Uint8Array), [
      "NOERROR aa rd 52 bytes",
      "answer: web.service.consul 0 A 10.0.0.1",
    ]);
  });

  it("says SERVFAIL when nobody leads, NXDOMAIN for a datacenter nobody knows", async () => {
    const on = withInstances(1);
    on.agent.store.failure = new AgentError("no-leader", { message: "No cluster leader" });
    for (const local of [true, false]) {
      on.agent.store.local = local;
      for (const name of ["web.service.consul", "node-a.node.consul", "consul"]) {
        const reply = (await on.answer(encodeQuery(name, name === "consul" ? "NS" : "A"), "udp")) as Uint8Array;
        assert.match(printReply(reply)[0] as string, /^SERVFAIL aa rd/);
      }
    }
    on.agent.store.failure = new AgentError("no-datacenter", { message: "No path to datacenter" });
    const reply = (await on.answer(encodeQuery("web.service.dc9.consul", "A"), "udp")) as Uint8Array;
    assert.match(printReply(reply)[0] as string, /^NXDOMAIN aa rd/);
  });
});
