/** The plugin on a network in memory: listening, TCP connections, recursors. */
import dnsPacket from "dns-packet";
import type { Lifecycle, PluginContext } from "../../../core/plugin/plugin.ts";
import type { Crypto } from "../../../core/ports/mod.ts";
import type { Bytes } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { dnsPlugin } from "../../../plugins/dns/plugin.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { constantRandom, settle, VirtualClock } from "../../support/virtual-clock.ts";
import { fakeAgent, nodeRecord, serviceRecord } from "./fake-agent.ts";
import { FakeDatagrams, FakeStream, FakeStreams } from "./fake-network.ts";
import { encodeQuery, noMetrics, printReply, silentLogger } from "./script.ts";

const client = { host: "127.0.0.1", port: 5000 };
const recursor = { host: "9.9.9.9", port: 53 };

class Bench {
  readonly clock = new VirtualClock();
  readonly datagrams = new FakeDatagrams();
  readonly streams = new FakeStreams();
  readonly fake = fakeAgent();
  readonly announced: unknown[] = [];
  #lastId = 0;
  readonly life: Lifecycle;

  constructor() {
    this.fake.store.nodes.push(nodeRecord({ node: "node-a", address: "127.0.0.1" }));
    this.fake.store.services.push(serviceRecord({ node: "node-a", service: "web", address: "10.0.0.1", port: 80 }));
    const crypto = { randomBytes: () => Uint8Array.of(0xab, ++this.#lastId) } as unknown as Crypto;
    const runtime = {
      name: "fake",
      clock: this.clock,
      random: constantRandom(),
      crypto,
      logger: silentLogger,
      metrics: noMetrics,
      datagrams: this.datagrams,
      streams: this.streams,
    };
    const context = {
      runtime,
      agent: this.fake.agent,
      logger: silentLogger,
      announce: (_surface: string, address: unknown) => this.announced.push(address),
    };
    this.life = dnsPlugin.setup(context as unknown as PluginContext<undefined>) as Lifecycle;
  }

  async start(port = 0): Promise<number> {
    this.fake.configure({ dnsAddrs: [{ host: "127.0.0.1", port }] });
    await this.life.start?.();
    return (this.announced[0] as { port: number }).port;
  }

  connection(port: number): FakeStream {
    const stream = new FakeStream();
    this.streams.listening.get(port)?.(stream);
    return stream;
  }
}

function framed(message: Bytes): Bytes {
  return Uint8Array.of(message.length >> 8, message.length & 255, ...message);
}

function unframed(frame: Bytes | undefined): string[] {
  assert.ok(frame !== undefined);
  assert.equal(frame.length - 2, ((frame[0] as number) << 8) | (frame[1] as number));
  return printReply(frame.subarray(2));
}

/** What a recursor sends back to a question. */
function recursorReply(question: Bytes, rcode = 0): Bytes {
  const { id, questions } = dnsPacket.decode(Buffer.from(question));
  const name = questions?.[0]?.name ?? "";
  const answers = rcode === 0 ? [{ type: "A" as const, name, ttl: 60, data: "8.8.8.8" }] : [];
  return dnsPacket.encode({
    ...(id === undefined ? {} : { id }),
    type: "response",
    flags: 0x180 | rcode,
    ...(questions === undefined ? {} : { questions }),
    answers,
  });
}

const webAnswer = ["NOERROR aa rd 52 bytes", "answer: web.service.consul 0 A 10.0.0.1"];

describe("the DNS plugin", () => {
  it("listens by UDP and TCP on one port, and says which", async () => {
    const bench = new Bench();
    const port = await bench.start(8600);
    assert.equal(port, 8600);
    assert.ok(bench.datagrams.sockets.has(8600) && bench.streams.listening.has(8600));
    bench.datagrams.deliver(port, client, encodeQuery("web.service.consul", "A"));
    const [sent] = bench.datagrams.sent;
    assert.deepEqual(sent?.to, client);
    assert.deepEqual(printReply(sent?.payload as Bytes), webAnswer);
    await bench.life.stop?.(0);
    assert.equal(bench.datagrams.sockets.size + bench.streams.listening.size, 0);
  });

  it("with port 0 takes one that is free for both", async () => {
    const bench = new Bench();
    bench.streams.taken.add(40_001).add(40_002);
    assert.equal(await bench.start(0), 40_003);
    assert.deepEqual([...bench.datagrams.sockets.keys()], [40_003]);
  });

  it("gives up after some ports, and at once when the port was chosen", async () => {
    for (const port of [0, 8600]) {
      const bench = new Bench();
      for (let taken = 40_001; taken < 40_100; taken++) bench.streams.taken.add(taken);
      bench.streams.taken.add(8600);
      await assert.rejects(bench.start(port), (error) => error instanceof AgentError && error.code === "address-in-use");
      assert.equal(bench.datagrams.sockets.size, 0);
    }
  });

  it("refuses a Unix socket", async () => {
    const bench = new Bench();
    bench.fake.configure({ dnsAddrs: [{ path: "/tmp/dns" }] });
    await assert.rejects(bench.life.start?.() ?? Promise.resolve(), /DNS address cannot be a unix socket/);
  });
});

describe("a DNS connection", () => {
  it("is answered frame by frame, however the bytes are cut", async () => {
    const bench = new Bench();
    const stream = bench.connection(await bench.start());
    const bytes = framed(encodeQuery("web.service.consul", "A"));
    for (const byte of [...bytes, ...bytes]) stream.feed(Uint8Array.of(byte));
    await settle();
    assert.deepEqual(stream.written.map(unframed), [webAnswer, webAnswer]);
  });

  it("has one question in hand at a time", async () => {
    const bench = new Bench();
    const stream = bench.connection(await bench.start());
    bench.fake.store.local = false;
    let release: () => void = () => {};
    const { store } = bench.fake;
    const read = store.read.bind(store);
    let reads = 0;
    store.read = async (query, options) => {
      reads++;
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return read(query, options);
    };
    const question = framed(encodeQuery("web.service.consul", "A"));
    stream.feed(Uint8Array.of(...question, ...question, ...question));
    await settle();
    assert.equal(reads, 1);
    release();
    await settle();
    assert.equal(reads, 2);
    assert.equal(stream.written.length, 1);
  });

  it("is closed when idle, at its end, and for a frame that is no message", async () => {
    const bench = new Bench();
    const port = await bench.start();
    const idle = bench.connection(port);
    idle.feed(Uint8Array.of(0));
    await bench.clock.advance(7999);
    assert.equal(idle.aborted, undefined);
    await bench.clock.advance(1);
    assert.ok(idle.aborted !== undefined);

    const ended = bench.connection(port);
    ended.feed(undefined);
    const short = bench.connection(port);
    short.feed(Uint8Array.of(0, 3, 1, 2, 3));
    await settle();
    assert.ok(ended.aborted !== undefined && short.aborted !== undefined);
    assert.equal(bench.clock.pending, 0);
  });

  it("beyond the thousandth is refused", async () => {
    const bench = new Bench();
    const port = await bench.start();
    const streams = Array.from({ length: 1025 }, () => bench.connection(port));
    assert.equal(streams.filter((stream) => stream.aborted !== undefined).length, 1);
    streams[0]?.abort(new Error("gone"));
    await settle();
    assert.equal(bench.connection(port).aborted, undefined);
    for (const stream of streams) stream.abort(new Error("over"));
    await settle();
  });
});

describe("a name outside our zones", () => {
  async function asking(recursors: readonly string[]): Promise<{ bench: Bench; port: number }> {
    const bench = new Bench();
    bench.fake.configure({ recursors });
    return { bench, port: await bench.start() };
  }

  it("is asked of the recursor under a number and from a port of its own, and answered under the client's", async () => {
    const { bench, port } = await asking(["9.9.9.9"]);
    const question = encodeQuery("Example.com", "A");
    bench.datagrams.deliver(port, client, question);
    question.fill(0);
    await settle();
    const asked = bench.datagrams.sent[0];
    assert.deepEqual(asked?.to, recursor);
    assert.notEqual(asked?.from, port);
    assert.deepEqual(asked?.payload.subarray(0, 2), Uint8Array.of(0xab, 1));

    bench.datagrams.deliver(asked?.from as number, recursor, recursorReply(asked?.payload as Bytes));
    await settle();
    const answered = bench.datagrams.sent[1];
    assert.deepEqual([answered?.from, answered?.to], [port, client]);
    assert.deepEqual([...(answered?.payload.subarray(0, 2) ?? [])], [0x12, 0x34]);
    assert.deepEqual(printReply(answered?.payload as Bytes).slice(1), ["answer: Example.com 60 A 8.8.8.8"]);
    assert.deepEqual([...bench.datagrams.sockets.keys()], [port]);
    assert.equal(bench.clock.pending, 0);
  });

  it("believes only a reply with its number and its question", async () => {
    const { bench, port } = await asking(["9.9.9.9"]);
    bench.datagrams.deliver(port, client, encodeQuery("example.com", "A"));
    await settle();
    const asked = bench.datagrams.sent[0];
    const good = recursorReply(asked?.payload as Bytes);
    const forged = Uint8Array.from(good);
    forged[1] = 99;
    const other = recursorReply(Uint8Array.from([0xab, 1, ...encodeQuery("example.org", "A").subarray(2)]));
    for (const reply of [forged, other, new Uint8Array(3), asked?.payload as Bytes])
      bench.datagrams.deliver(asked?.from as number, recursor, reply);
    await settle();
    assert.equal(bench.datagrams.sent.length, 1);
    bench.datagrams.deliver(asked?.from as number, recursor, good);
    await settle();
    assert.equal(bench.datagrams.sent.length, 2);
  });

  it("goes to the next recursor after a failure or silence; NXDOMAIN is an answer", async () => {
    const { bench, port } = await asking(["9.9.9.9", "[2001:db8::1]:5353", "9.9.9.8:54"]);
    bench.datagrams.deliver(port, client, encodeQuery("example.com", "A"));
    await settle();
    const first = bench.datagrams.sent[0];
    bench.datagrams.deliver(first?.from as number, recursor, recursorReply(first?.payload as Bytes, 2));
    await settle();
    assert.deepEqual(bench.datagrams.sent[1]?.to, { host: "2001:db8::1", port: 5353 });
    await bench.clock.advance(2000);
    const third = bench.datagrams.sent[2];
    assert.deepEqual(third?.to, { host: "9.9.9.8", port: 54 });
    bench.datagrams.deliver(third?.from as number, third?.to ?? recursor, recursorReply(third?.payload as Bytes, 3));
    await settle();
    assert.match(printReply(bench.datagrams.sent[3]?.payload as Bytes)[0] as string, /^NXDOMAIN rd ra/);
  });

  it("is SERVFAIL when every recursor fails", async () => {
    const { bench, port } = await asking(["9.9.9.9"]);
    bench.datagrams.deliver(port, client, encodeQuery("example.com", "A", { edns: 1232 }));
    await settle();
    await bench.clock.advance(2000);
    assert.deepEqual(printReply(bench.datagrams.sent[1]?.payload as Bytes), ["SERVFAIL rd ra 40 bytes", "additional: OPT 1232"]);
  });

  it("asked by TCP is asked by TCP", async () => {
    const { bench, port } = await asking(["9.9.9.9"]);
    const stream = bench.connection(port);
    stream.feed(framed(encodeQuery("example.com", "A")));
    await settle();
    const upstream = bench.streams.connected[0];
    upstream?.feed(framed(recursorReply((upstream.written[0] as Bytes).subarray(2))));
    await settle();
    assert.deepEqual(unframed(stream.written[0]).slice(1), ["answer: example.com 60 A 8.8.8.8"]);
    assert.ok(upstream?.aborted !== undefined);
  });

  it("that fills more than the client takes comes as truncated", async () => {
    const { bench, port } = await asking(["9.9.9.9"]);
    bench.datagrams.deliver(port, client, encodeQuery("example.com", "A"));
    await settle();
    const asked = bench.datagrams.sent[0];
    const reply = recursorReply(asked?.payload as Bytes);
    bench.datagrams.deliver(asked?.from as number, recursor, Uint8Array.from([...reply, ...new Uint8Array(600)]));
    await settle();
    assert.deepEqual(printReply(bench.datagrams.sent[1]?.payload as Bytes), ["NOERROR tc rd ra 29 bytes"]);
  });

  it("beyond 256 at a time is SERVFAIL at once", async () => {
    const { bench, port } = await asking(["9.9.9.9"]);
    for (let at = 0; at < 257; at++) bench.datagrams.deliver(port, client, encodeQuery(`n${at}.example.com`, "A"));
    await settle();
    const answers = bench.datagrams.sent.filter((sent) => sent.from === port);
    assert.equal(answers.length, 1);
    assert.match(printReply(answers[0]?.payload as Bytes)[0] as string, /^SERVFAIL/);
    await bench.clock.advance(2000);
    assert.equal(bench.datagrams.sockets.size, 1);
  });
});
