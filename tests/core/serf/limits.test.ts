/** Gossip as somebody hostile sends it: whole and well formed, and more of it, or larger, or further ahead than anybody honest. */
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { encode } from "../../../core/codec/msgpack.ts";
import { Malformed } from "../../../core/codec/msgpack.ts";
import type { ByteSource } from "../../../core/codec/value-stream.ts";
import { consulVersion, serfDefaults } from "../../../core/serf/config.ts";
import { EventRing } from "../../../core/serf/events.ts";
import type { SerfEvent } from "../../../core/serf/inputs.ts";
import { LamportClock, lamportMax } from "../../../core/serf/lamport.ts";
import type { SerfMessage } from "../../../core/serf/messages.ts";
import { SerfMachine } from "../../../core/serf/serf.ts";
import { decodeSerf, decodeState, encodeSerf, encodeState } from "../../../core/serf/wire.ts";
import { lanDefaults } from "../../../core/swim/config.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import type { Alive, SwimMessage } from "../../../core/swim/messages.ts";
import { openPacket, packPacket } from "../../../core/swim/packets.ts";
import { readStream } from "../../../core/swim/streams.ts";
import { decodeMessage, encodeMessage, messageType } from "../../../core/swim/wire.ts";
import { type Bytes, concat, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { platformCrypto } from "../swim/support.ts";

const attacker = { host: "10.0.0.66", port: 7946 };
const plain = { crypto: platformCrypto, keyring: new Keyring() };

function machine(name = "self", lastByte = 1): SerfMachine {
  const made = new SerfMachine({
    random: createRandom(seedOf(name)),
    swim: {
      ...lanDefaults,
      name,
      address: Uint8Array.of(10, 0, 0, lastByte),
      port: 7946,
      version: consulVersion,
      membersMax: 64,
    },
    serf: { ...serfDefaults, name, tags: { role: "node" } },
  });
  made.step(0, { kind: "start" });
  return made;
}

function tell(to: SerfMachine, message: SwimMessage, from = attacker): void {
  to.step(0, { kind: "datagram", from, message });
}

function tellSerf(to: SerfMachine, message: SerfMessage): void {
  tell(to, { kind: "user", payload: encodeSerf(message) });
}

/** All that it would gossip now, and does when it is asked for its packets. */
function gossipOf(from: SerfMachine): readonly SwimMessage[] {
  tell(from, { kind: "ping", sequence: 1, node: "", origin: undefined });
  return from.takePackets(1400).flatMap(({ parts }) => parts.map(decodeMessage));
}

function eventsOf<Kind extends SerfEvent["kind"]>(from: SerfMachine, kind: Kind): readonly (SerfEvent & { kind: Kind })[] {
  return from.takeEvents().filter((event): event is SerfEvent & { kind: Kind } => event.kind === kind);
}

const aliveOf = (node: string, lastByte: number, incarnation = 1): Alive => ({
  kind: "alive",
  node,
  incarnation,
  address: Uint8Array.of(10, 0, 0, lastByte),
  port: 7946,
  meta: undefined,
  version: consulVersion,
});

describe("one datagram", () => {
  it("has at most eight of its pings answered: it must not become a thousand packets to whomever it names", () => {
    const ping = (sequence: number): Bytes => encodeMessage({ kind: "ping", sequence, node: "", origin: undefined });
    const parts = Array.from({ length: 200 }, (_, at) => ping(at));
    const packet = packPacket(parts, { checksum: false, compress: true, sealer: plain });
    const { messages, problems } = openPacket(packet, { sealer: plain, verifyIncoming: true });
    assert.equal(messages.length, 8);
    assert.deepEqual(problems, ["it holds more than 8 pings"]);
  });

  it("may hold any number of other messages beside its ping", () => {
    const parts = Array.from({ length: 100 }, (_, at) => encodeMessage(aliveOf(`n${at}`, at)));
    const ping = encodeMessage({ kind: "ping", sequence: 1, node: "", origin: undefined });
    const packet = packPacket([ping, ...parts], { checksum: true, compress: true, sealer: plain });
    const { messages, problems } = openPacket(packet, { sealer: plain, verifyIncoming: true });
    assert.deepEqual([messages.length, problems], [101, []]);
  });
});

describe("a claimed state", () => {
  it("that promises millions of members is given up after twenty megabytes, whatever fills them", async () => {
    const claim = encode({
      Addr: Uint8Array.of(10, 0, 0, 9),
      Name: "x",
      State: 0,
      Vsn: consulVersion,
      Junk: new Uint8Array(60_000),
    });
    let given = 0;
    const source: ByteSource = {
      read() {
        const first = given === 0;
        const chunk = first
          ? concat([Uint8Array.of(messageType.pushPull), encode({ Join: true, Nodes: 2_000_000, UserStateLen: 0 })])
          : claim;
        given += chunk.length;
        return Promise.resolve(chunk);
      },
    };
    const read = readStream(source, { sealer: plain, verifyIncoming: true, compress: false });
    await assert.rejects(read, (error: unknown) => error instanceof Malformed && /larger than limit/.test(error.message));
    assert.ok(given < 21 * 1024 * 1024, `${given}`);
  });

  it("is read without the names that nobody can have, however long they are", () => {
    const long = "x".repeat(5000);
    const state = decodeState(
      encodeState({
        time: 1,
        statusTimes: new Map([
          [long, 1],
          ["b", 2],
        ]),
        leftMembers: [long, "c"],
        eventTime: 1,
        events: [],
        queryTime: 1,
      }),
    );
    assert.deepEqual([[...state.statusTimes.keys()], state.leftMembers], [["b"], ["c"]]);
  });
});

describe("Lamport clocks at their end", () => {
  it("stand still", () => {
    const clock = new LamportClock();
    clock.witness(lamportMax);
    assert.equal(clock.time, lamportMax);
    clock.increment();
    assert.equal(clock.time, lamportMax);
  });

  it("one message that takes them there makes nothing unreadable that this member says afterwards", () => {
    const victim = machine();
    const payload = utf8("x");
    tellSerf(victim, { kind: "userEvent", time: lamportMax, name: "far", payload, coalesce: false });
    tellSerf(victim, { kind: "leave", time: lamportMax, node: "stranger", prune: false });
    tellSerf(victim, { kind: "join", time: lamportMax, node: "stranger" });
    victim.takeEvents();
    victim.step(0, { kind: "userEvent", name: "deploy", payload, coalesce: false });
    victim.step(0, { kind: "joinIntent" });
    assert.deepEqual(
      eventsOf(victim, "user").map(({ name }) => name),
      ["deploy"],
    );
    const told = gossipOf(victim).flatMap((message) => (message.kind === "user" ? [decodeSerf(message.payload)] : []));
    assert.ok(told.some((message) => message.kind === "userEvent" && message.name === "deploy"));
    assert.ok(told.some((message) => message.kind === "join" && message.node === "self"));
    assert.equal(decodeState(victim.localState(false).userState).eventTime, lamportMax);
  });
});

describe("user events", () => {
  it("larger than Serf lets anybody send are neither told nor remembered", () => {
    const ring = new EventRing();
    const event = (length: number) => ({
      kind: "userEvent" as const,
      time: 5,
      name: "",
      payload: new Uint8Array(length),
      coalesce: false,
    });
    assert.equal(ring.admit(event(9 * 1024 + 1), 6), false);
    assert.equal(ring.admit(event(9 * 1024), 6), true);
  });

  it("in masses push out the oldest, which are never told again; the state of a member stays small enough to be sent", () => {
    const victim = machine();
    const event = (time: number) => ({
      kind: "userEvent" as const,
      time,
      name: `e${time}`,
      payload: new Uint8Array(9000),
      coalesce: false,
    });
    for (let time = 1; time <= 500; time++) tellSerf(victim, event(time));
    assert.equal(eventsOf(victim, "user").length, 500);
    for (let time = 1; time <= 500; time++) tellSerf(victim, event(time));
    assert.equal(eventsOf(victim, "user").length, 0);
    for (let time = 501; time <= 4000; time++) tellSerf(victim, event(time));
    const { length } = victim.localState(false).userState;
    assert.ok(length > 3_000_000 && length < 5_000_000, `${length}`);
  });
});

describe("answers to a question", () => {
  it("in names that nobody has are believed up to a bound that follows the pool", () => {
    const asker = machine();
    asker.step(0, { kind: "query", token: 1, name: "who", payload: undefined });
    const asked = gossipOf(asker)
      .flatMap((message) => (message.kind === "user" ? [decodeSerf(message.payload)] : []))
      .find((message) => message.kind === "query");
    assert.ok(asked?.kind === "query");
    asker.takeEvents();
    const { time, id } = asked;
    for (let at = 0; at < 5000; at++)
      tellSerf(asker, { kind: "queryResponse", time, id, from: `forged ${at}`, flags: 0, payload: undefined });
    assert.equal(eventsOf(asker, "answer").length, 64 + 2);
  });

  it("that are larger than an answer may be are not passed on for others", () => {
    const helper = machine();
    const relay = (length: number) =>
      tellSerf(helper, { kind: "relay", address: Uint8Array.of(10, 0, 0, 7), port: 1, node: "x", inner: new Uint8Array(length) });
    relay(1025);
    assert.equal(helper.takePackets(1400).length, 0);
    relay(1024);
    assert.equal(helper.takePackets(1400).length, 1);
  });
});

describe("incarnations near the end of their 32 bits", () => {
  const last = 0xffff0000;

  it("an accusation of the highest that is believed can still be refuted, and that is believed", () => {
    const accused = machine("b", 2);
    const observer = machine();
    tell(observer, aliveOf("b", 2));
    for (const incarnation of [last, last + 1, last + 2]) {
      const suspect = { kind: "suspect" as const, node: "b", incarnation, from: "evil" };
      tell(observer, suspect);
      assert.equal(observer.swim.member("b")?.condition, "suspect");
      tell(accused, suspect);
      const refutation = gossipOf(accused).find((message) => message.kind === "alive" && message.incarnation > incarnation);
      assert.ok(refutation !== undefined, `${incarnation}`);
      tell(observer, refutation);
      assert.equal(observer.swim.member("b")?.condition, "alive");
      assert.equal(observer.swim.member("b")?.incarnation, incarnation + 1);
    }
  });

  it("a claim beyond it is not believed of anybody who does not stand there, nor an accusation", () => {
    const observer = machine();
    tell(observer, aliveOf("b", 2));
    tell(observer, aliveOf("b", 2, 0xffffffff));
    tell(observer, { kind: "suspect", node: "b", incarnation: 0xffffffff, from: "evil" });
    tell(observer, { kind: "dead", node: "b", incarnation: last + 1, from: "evil" });
    tell(observer, aliveOf("c", 3, last + 1000));
    assert.deepEqual([observer.swim.member("b")?.condition, observer.swim.member("b")?.incarnation], ["alive", 1]);
    assert.equal(observer.swim.member("c"), undefined);
  });

  it("who stands there is found dead as anybody is", () => {
    const observer = machine();
    tell(observer, aliveOf("b", 2, last));
    tell(observer, aliveOf("b", 2, last + 5));
    tell(observer, { kind: "dead", node: "b", incarnation: last + 5, from: "c" });
    assert.equal(observer.swim.member("b")?.condition, "dead");
  });
});

describe("packets from oneself, as a mirror or a forger sends them", () => {
  it("change nothing about oneself, and do not confirm one's own accusations", () => {
    const self = machine();
    const own = { host: "10.0.0.1", port: 7946 };
    tell(self, aliveOf("b", 2));
    for (const message of gossipOf(self)) tell(self, message, own);
    assert.equal(self.swim.member("self")?.incarnation, 1);
    const accusation = { kind: "suspect" as const, node: "b", incarnation: 1, from: "self" };
    for (let at = 0; at < 5; at++) tell(self, accusation, own);
    assert.equal(self.swim.evidence.accusations("b").at(-1)?.confirmations.length, 0);
    // Said by itself this would be a goodbye, which it has not said.
    tell(self, { kind: "dead", node: "self", incarnation: 1, from: "self" }, own);
    assert.equal(self.swim.member("self")?.condition, "alive");
    assert.equal(self.swim.member("self")?.incarnation, 2);
    self.step(0, { kind: "remoteState", state: self.localState(true) });
    assert.equal(self.swim.member("self")?.incarnation, 2);
    assert.equal(self.members.get("self")?.status, "alive");
  });
});

describe("addresses", () => {
  it("of a link (IPv6 with a zone) are answered as they came, unless the ping names where to", () => {
    const self = machine();
    const from = { host: "fe80::1%eth0", port: 7946 };
    self.takePackets(1400);
    tell(self, { kind: "ping", sequence: 1, node: "self", origin: undefined }, from);
    const address = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
    tell(self, { kind: "ping", sequence: 2, node: "self", origin: { address, port: 7000, node: "b" } }, from);
    assert.deepEqual(
      self.takePackets(1400).map(({ to }) => to),
      [from, { host: "fe80::2", port: 7000 }],
    );
  });

  it("that two members claim under one name are both named, and the first keeps it", () => {
    const self = machine();
    tell(self, aliveOf("b", 2));
    self.takeEvents();
    tell(self, aliveOf("b", 3, 9));
    const told = eventsOf(self, "log").map(({ message }) => message);
    assert.ok(told.includes("memberlist: Conflicting address for b. Mine: 10.0.0.2:7946 Theirs: 10.0.0.3:7946"), told.join("\n"));
    assert.equal(self.swim.member("b")?.host, "10.0.0.2");
  });
});

describe("keys that are rotated", () => {
  it("open packets from the moment they are installed until they are removed, while others come and go", () => {
    const key = (fill: number): Bytes => new Uint8Array(32).fill(fill);
    const sealed = (fill: number): Bytes =>
      packPacket([encodeMessage(aliveOf("b", 2))], {
        checksum: true,
        compress: true,
        sealer: { crypto: platformCrypto, keyring: new Keyring([key(fill)]) },
      });
    const keyring = new Keyring([key(1)]);
    const opens = (packet: Bytes): boolean => {
      const { messages, problems } = openPacket(packet, { sealer: { crypto: platformCrypto, keyring }, verifyIncoming: true });
      assert.equal(messages.length + problems.length, 1);
      return messages.length === 1;
    };
    const [old, young] = [sealed(1), sealed(2)];
    assert.deepEqual([opens(old), opens(young)], [true, false]);
    keyring.install(key(2));
    assert.deepEqual([opens(old), opens(young)], [true, true]);
    keyring.use(key(2));
    assert.deepEqual([opens(old), opens(young)], [true, true]);
    keyring.remove(key(1));
    assert.deepEqual([opens(old), opens(young)], [false, true]);
    assert.equal(opens(packPacket([encodeMessage(aliveOf("b", 2))], { checksum: true, compress: false, sealer: plain })), false);
  });
});
