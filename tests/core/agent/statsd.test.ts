import { StatsdSink } from "../../../core/agent/statsd.ts";
import type { Datagrams } from "../../../core/ports/mod.ts";
import { text } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualClock } from "../../support/virtual-clock.ts";

const to = { host: "192.0.2.1", port: 8125 };
const logger = { log: () => {}, enabled: () => false, child: () => logger };

function sink(bind?: Datagrams["bind"]) {
  const clock = new VirtualClock();
  const packets: string[] = [];
  let closed = false;
  const datagrams: Datagrams = {
    bind:
      bind ??
      (async (at) => ({
        local: at,
        send: (_to, payload) => packets.push(text(payload)),
        close: async () => {
          closed = true;
        },
      })),
  };
  return { clock, packets, isClosed: () => closed, statsd: new StatsdSink({ clock, datagrams, logger, to }) };
}

describe("a statsd sink", () => {
  it("sends a line for each number, gathered for 100 ms", async () => {
    const { clock, packets, statsd } = sink();
    await statsd.start();
    statsd.tap("counter", "consul.raft.apply", {}, 1);
    statsd.tap("gauge", "consul.vm.raft.last_index", {}, 12.5);
    statsd.tap("sample", "consul.fsm.kvs", { op: "set" }, 0.0123456);
    clock.advance(99);
    assert.deepEqual(packets, []);
    clock.advance(1);
    assert.deepEqual(packets, [
      "consul.raft.apply:1.000000|c\nconsul.vm.raft.last_index:12.500000|g\nconsul.fsm.kvs.set:0.012346|ms\n",
    ]);
  });

  it("fills packets of 1,400 bytes at most, and sends a full one at once", async () => {
    const { packets, statsd } = sink();
    await statsd.start();
    for (let number = 0; number < 200; number++) statsd.tap("counter", "consul.raft.apply", {}, 1);
    assert.ok(packets.length >= 3);
    for (const packet of packets) assert.ok(packet.length <= 1400 && packet.endsWith("|c\n"));
  });

  it("lets no label forge a line", async () => {
    const { clock, packets, statsd } = sink();
    await statsd.start();
    statsd.tap("counter", "consul.catalog.service.query", { service: "a:1|c\nforged b@2" }, 1);
    clock.advance(100);
    assert.deepEqual(packets, ["consul.catalog.service.query.a_1_c_forged_b_2:1.000000|c\n"]);
  });

  it("sends what is left when it stops, and nothing after", async () => {
    const { clock, packets, isClosed, statsd } = sink();
    await statsd.start();
    statsd.tap("counter", "a", {}, 1);
    await statsd.stop();
    statsd.tap("counter", "b", {}, 1);
    clock.advance(1000);
    assert.deepEqual([packets, isClosed()], [["a:1.000000|c\n"], true]);
  });

  it("keeps nothing where it has no socket", async () => {
    const { clock, packets, statsd } = sink(() => Promise.reject(new AgentError("address-in-use", { message: "taken" })));
    await statsd.start();
    statsd.tap("counter", "a", {}, 1);
    clock.advance(100);
    assert.deepEqual(packets, []);
    await statsd.stop();
  });
});
