import { World } from "../../adapters/sim/world.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe, it } from "../support/harness.ts";
import { rejection } from "../contract/subject.ts";

/** Two hosts that chat by datagram for a while; what each heard, and when. */
function chat(seed: number, faults: { loss: number; duplication: number }): Promise<string[]> {
  const world = new World(seed);
  Object.assign(world.network.faults, faults);
  const heard: string[] = [];
  const [a, b] = [world.host("a"), world.host("b", { clockRate: 1.1 })];
  const at = (host: { address: string }) => ({ host: host.address, port: 7 });
  const log = (who: string) => (packet: { payload: Uint8Array; receivedAt: number }) =>
    heard.push(`${who} ${packet.receivedAt} ${text(packet.payload)}`);
  void a.runtime.datagrams.bind(at(a), log("a")).then((socket) => {
    for (let number = 0; number < 100; number++)
      a.runtime.clock.after(number, () => socket.send(at(b), utf8(`${number} ${a.runtime.random.uint32()}`)));
  });
  void b.runtime.datagrams.bind(at(b), log("b"));
  return world.run(new Promise<void>((resolve) => world.at(1000, resolve))).then(() => heard);
}

describe("the simulated world", () => {
  it("the same seed gives the same history, another seed another", async () => {
    const faults = { loss: 100, duplication: 100 };
    const first = await chat(1, faults);
    assert.ok(first.length > 50);
    assert.deepEqual(await chat(1, faults), first);
    assert.notDeepEqual(await chat(2, faults), first);
  });

  it("loss loses, duplication doubles", async () => {
    assert.equal((await chat(3, { loss: 1000, duplication: 0 })).length, 0);
    assert.equal((await chat(3, { loss: 0, duplication: 1000 })).length, 200);
  });

  it("a power failure loses what is not durable, keeps what is, and stops the host's timers", async () => {
    const world = new World(4);
    const host = world.host("a");
    host.disk.faults.latencyMin = host.disk.faults.latencyMax = 10;
    const storage = await world.run(host.runtime.openStorage(undefined));
    await world.run(storage.files.put("kept", utf8("1")));
    let settled = false;
    const late = (): void => {
      settled = true;
    };
    storage.files.put("lost", utf8("2")).then(late, late);
    host.runtime.clock.after(1, late);
    host.crash("power");
    await world.run(new Promise<void>((resolve) => world.at(100, resolve)));
    assert.equal(settled, false);
    const again = await world.run(host.restart().openStorage(undefined));
    assert.equal(text((await world.run(again.files.get("kept"))) ?? utf8("-")), "1");
    const lost = await world.run(again.files.get("lost"));
    assert.ok(lost === undefined || text(lost) === "2", "all or nothing");
  });

  it("a process that dies resets its connections; a machine without power leaves the other side waiting until it is back", async () => {
    for (const how of ["process", "power"] as const) {
      const world = new World(5);
      const [a, b] = [world.host("a"), world.host("b")];
      await b.runtime.streams.listen({ host: b.address, port: 7 }, () => {});
      const stream = await world.run(a.runtime.streams.connect({ host: b.address, port: 7 }, { timeout: 1000 }));
      let told = false;
      const reading = rejection(stream.read()).then((error) => {
        told = true;
        return error;
      });
      b.crash(how);
      await world.run(new Promise<void>((resolve) => world.at(1000, resolve)));
      assert.equal(told, how === "process");
      b.restart();
      stream.write(utf8("still there?"));
      assert.match((await world.run(reading)).message, /reset by peer/);
    }
  });

  it("bytes sent into a partition arrive, in order, when it heals", async () => {
    const world = new World(6);
    const [a, b] = [world.host("a"), world.host("b")];
    let heard = "";
    await b.runtime.streams.listen({ host: b.address, port: 7 }, (stream) => {
      const listen = async (): Promise<void> => {
        for (let part = await stream.read(); part !== undefined; part = await stream.read()) heard += text(part);
      };
      void listen();
    });
    const stream = await world.run(a.runtime.streams.connect({ host: b.address, port: 7 }, { timeout: 1000 }));
    world.network.faults.cut = () => true;
    stream.write(utf8("one "));
    stream.write(utf8("two"));
    await world.run(new Promise<void>((resolve) => world.at(5000, resolve)));
    assert.equal(heard, "");
    assert.equal(
      (await rejection(world.run(a.runtime.streams.connect({ host: b.address, port: 7 }, { timeout: 1000 })))).code,
      "timeout",
    );
    world.network.faults.cut = () => false;
    await world.run(new Promise<void>((resolve) => world.at(1000, resolve)));
    assert.equal(heard, "one two");
  });
});

describe("a bad simulated network", () => {
  it("turns one bit of a datagram", async () => {
    const world = new World(8);
    world.network.faults.corruption = 1000;
    const [a, b] = [world.host("a"), world.host("b")];
    const sent = new Uint8Array(100);
    const heard = await world.run(
      new Promise<Uint8Array>((resolve) => {
        void b.runtime.datagrams.bind({ host: b.address, port: 7 }, ({ payload }) => resolve(payload.slice()));
        void a.runtime.datagrams
          .bind({ host: a.address, port: 7 }, () => {})
          .then((socket) => socket.send({ host: b.address, port: 7 }, sent));
      }),
    );
    const ones = heard.reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
    assert.deepEqual([heard.length, ones], [100, 1]);
  });

  it("cuts a connection in the middle of what it carries", async () => {
    const world = new World(9);
    const [a, b] = [world.host("a"), world.host("b")];
    const arrived = new Promise<string>((resolve) => {
      void b.runtime.streams.listen({ host: b.address, port: 7 }, (stream) => {
        void stream.read().then((bytes) => resolve(text(bytes ?? utf8(""))));
      });
    });
    const stream = await world.run(a.runtime.streams.connect({ host: b.address, port: 7 }, { timeout: 1000 }));
    world.network.faults.streamCuts = 1000;
    stream.write(utf8("whole sentence"));
    assert.equal(await world.run(arrived), "whole s");
    assert.match((await world.run(rejection(stream.read()))).message, /reset by peer/);
  });
});
