/** Answers that are given again: when, to whom, in which order, and how many are kept. */
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { Draws } from "../../../plugins/dns/draws.ts";
import { Replies } from "../../../plugins/dns/replies.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { nodeRecord, serviceRecord } from "./fake-agent.ts";
import { type Bench, bench, encodeQuery, printReply } from "./script.ts";

/** Node and service are asked about until what they stand for is shared. */
async function warm(): Promise<Bench> {
  const on = bench(createRandom(seedOf("replies")));
  on.agent.store.nodes.push(nodeRecord({ node: "node-a", address: "127.0.0.1" }));
  on.agent.store.services.push(serviceRecord({ node: "node-a", service: "web", id: "web1", address: "10.0.0.1", port: 80 }));
  for (const name of ["node-a.node.consul", "web.service.consul"]) {
    for (let round = 0; round < 3; round++) {
      await on.answer(encodeQuery(name, "A"), "udp");
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return on;
}

async function answer(on: Bench, packet: Uint8Array, transport: "udp" | "tcp" = "udp"): Promise<Uint8Array> {
  const reply = await on.answer(packet, transport);
  assert.ok(reply !== undefined);
  return reply;
}

describe("a question that was answered before", () => {
  it("gets the same answer, with its own ID, without a search", async () => {
    const on = await warm();
    for (const name of ["node-a.node.consul", "web.service.consul"]) {
      const packet = encodeQuery(name, "A");
      const first = await answer(on, packet);
      const searched = on.agent.store.evaluations;
      packet[0] = 0xab;
      packet[1] = 0xcd;
      const second = await answer(on, packet);
      assert.equal(on.agent.store.evaluations, searched);
      assert.deepEqual([...second.subarray(0, 2)], [0xab, 0xcd]);
      assert.deepEqual([...second.subarray(2)], [...first.subarray(2)]);
      second.fill(0);
      assert.deepEqual([...(await answer(on, packet)).subarray(2)], [...first.subarray(2)]);
    }
  });

  it("is another question with other flags, letters, sizes or by TCP", async () => {
    const on = await warm();
    const packet = encodeQuery("web.service.consul", "A");
    await answer(on, packet);
    const desired = new Uint8Array(packet);
    desired[2] = (desired[2] as number) ^ 1;
    assert.equal((await answer(on, desired))[2], ((await answer(on, packet))[2] as number) ^ 1);
    const capital = new Uint8Array(packet);
    capital[13] = (capital[13] as number) ^ 0x20;
    assert.equal((await answer(on, capital))[13], capital[13]);
    const sized = await answer(on, encodeQuery("web.service.consul", "A", { edns: 1232 }));
    assert.equal(sized[11], 1);
    assert.deepEqual(printReply(await answer(on, packet, "tcp")), printReply(await answer(on, packet)));
  });

  it("is answered anew after a change of what it asks about", async () => {
    const on = await warm();
    const [service, node] = [encodeQuery("web.service.consul", "A"), encodeQuery("node-a.node.consul", "A")];
    await answer(on, service);
    await answer(on, node);
    const { services, nodes } = on.agent.store;
    services.splice(0, 1, serviceRecord({ node: "node-a", service: "web", id: "web1", address: "10.9.9.9", port: 80 }));
    nodes.splice(0, 1, nodeRecord({ node: "node-a", address: "127.9.9.9" }));
    on.agent.store.changed();
    for (let round = 0; round < 3; round++) {
      assert.match(printReply(await answer(on, service)).join("\n"), /10\.9\.9\.9/);
      assert.match(printReply(await answer(on, node)).join("\n"), /127\.9\.9\.9/);
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  it("is answered anew under a new configuration", async () => {
    const on = await warm();
    const packet = encodeQuery("web.service.consul", "A");
    await answer(on, packet);
    on.agent.configure({ dns: { ...on.agent.agent.config.dns, serviceTtl: { web: 7000 } } });
    assert.match(printReply(await answer(on, packet)).join("\n"), /\b7\b.*10\.0\.0\.1/);
  });
});

describe("kept replies", () => {
  it("are bounded in number and bytes, and the oldest go first", () => {
    const replies = new Replies();
    const share = { key: "one" };
    const packet = (number: number): Uint8Array =>
      new Uint8Array(40).fill(1).map((_, at) => (at < 6 && at > 1 ? number >> (at * 4 - 8) : at));
    for (let number = 0; number < 5000; number++) replies.keep(packet(number), "udp", share, 0, 1, new Uint8Array(100));
    assert.ok(replies.counts.questions <= 4096);
    assert.equal(replies.find(packet(0), "udp"), undefined);
    assert.ok(replies.find(packet(4999), "udp") !== undefined);
    for (let number = 0; number < 5000; number++) replies.keep(packet(number), "tcp", share, 0, 1, new Uint8Array(60_000));
    assert.ok(replies.counts.bytes <= 8 * 1024 * 1024);
    replies.clear();
    assert.deepEqual(replies.counts, { questions: 0, bytes: 0 });
  });

  it("of an older view give way to those of a newer one", () => {
    const replies = new Replies();
    const packet = new Uint8Array(40);
    replies.keep(packet, "udp", { key: "one" }, 0, 2, new Uint8Array(10));
    const newer = { key: "one" };
    replies.keep(packet, "udp", newer, 1, 2, new Uint8Array(20));
    const known = replies.find(packet, "udp");
    assert.equal(known?.share, newer);
    assert.equal(known?.replies[0], undefined);
    assert.equal(known?.replies[1]?.length, 20);
  });

  it("are not kept where there are too many orders", () => {
    const replies = new Replies();
    replies.keep(new Uint8Array(40), "udp", { key: "one" }, 0, 121, new Uint8Array(10));
    assert.equal(replies.counts.questions, 0);
  });
});

describe("draws", () => {
  it("made again from their number are the same", () => {
    const draws = new Draws(createRandom(seedOf("draws")));
    const bounds = [5, 1, 4, 3];
    const seen = new Set<string>();
    for (let order = 0; order < 60; order++) {
      draws.begin(order);
      seen.add(bounds.map((bound) => draws.below(bound)).join());
      assert.equal(draws.order, order);
      assert.equal(draws.orders, 60);
    }
    assert.equal(seen.size, 60);
    draws.begin();
    const drawn = bounds.map((bound) => draws.below(bound)).join();
    draws.begin(draws.order);
    assert.equal(bounds.map((bound) => draws.below(bound)).join(), drawn);
  });
});
