/** Connections between servers: frames out of any chunks, greetings, requests, and what a broken connection means. */
import { fc } from "../../support/property.ts";
import { encodeFrame, FrameReader, frameType, Outbox } from "../../../core/raft/frames.ts";
import { encodeHello, protocolVersion } from "../../../core/raft/greeting.ts";
import type { RaftMessage } from "../../../core/raft/messages.ts";
import { RaftTransport } from "../../../core/raft/transport.ts";
import type { Clock } from "../../../core/ports/clock.ts";
import type { Address } from "../../../core/ports/net.ts";
import type { ByteStream } from "../../../core/ports/streams.ts";
import { type Bytes, concat, text, utf8 } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { streamPair, VirtualWorld } from "../../support/virtual.ts";
import { constantRandom } from "../../support/virtual-clock.ts";

const left: Address = { host: "10.0.0.1", port: 1 };
const right: Address = { host: "10.0.0.2", port: 2 };
const silent = { log: () => {}, child: () => silent, enabled: () => false } as never;

/** A stream that gives these chunks and then ends. */
function streamOf(chunks: readonly Bytes[]): ByteStream {
  const rest = [...chunks];
  return {
    local: left,
    remote: right,
    read: async () => rest.shift(),
    write: () => true,
    drained: async () => {},
    closeWrite: async () => {},
    abort: () => {},
  };
}

async function framesOf(chunks: readonly Bytes[], bytesMax?: number): Promise<{ type: number; body: Bytes }[]> {
  const reader = new FrameReader(streamOf(chunks));
  const frames: { type: number; body: Bytes }[] = [];
  for (let frame = await reader.read(bytesMax); frame !== undefined; frame = await reader.read(bytesMax))
    frames.push({ type: frame.type, body: frame.body.slice() });
  return frames;
}

describe("frames", () => {
  it("come back as they went out, however the stream is cut", async () => {
    const frame = fc.record({ type: fc.nat(255), body: fc.uint8Array({ maxLength: 40 }) }, { noNullPrototype: true });
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(200)), async (frames, cuts) => {
        const all = concat(frames.map(({ type, body }) => encodeFrame(type, body)));
        const places = [0, ...cuts.map((cut) => cut % (all.length + 1)), all.length].sort((a, b) => a - b);
        const chunks = places.slice(1).map((place, at) => all.slice(places[at], place));
        assert.deepEqual(
          await framesOf(chunks),
          frames.map(({ type, body }) => ({ type, body: new Uint8Array(body) })),
        );
      }),
    );
  });

  it("beyond the limit are refused by their head alone, those cut short at the end", async () => {
    await assert.rejects(framesOf([encodeFrame(1, new Uint8Array(11)).subarray(0, 5)], 10), { code: "bad-request" });
    await assert.rejects(framesOf([encodeFrame(1, new Uint8Array(11)).subarray(0, 15)]), { code: "bad-request" });
    await assert.rejects(framesOf([Uint8Array.of(0, 0)]), { code: "bad-request" });
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (bytes) => {
        await framesOf([bytes]).catch((error: unknown) => assert.ok(error instanceof AgentError));
      }),
    );
  });
});

describe("an outbox", () => {
  it("writes what one turn gave it at once, and drops the oldest messages, never requests, when it overflows", async () => {
    const written: string[] = [];
    let free: (() => void) | undefined;
    const stream: ByteStream = {
      ...streamOf([]),
      write: (chunk) => {
        written.push(text(chunk));
        return false;
      },
      drained: () => new Promise((resolve) => (free = resolve)),
    };
    const outbox = new Outbox(stream, 6);
    outbox.push(utf8("a"), true);
    outbox.push(utf8("b"), false);
    await Promise.resolve();
    assert.deepEqual(written, ["ab"]);
    for (const letter of "cdefgh") outbox.push(utf8(letter), letter !== "d");
    outbox.push(utf8("i"), true);
    free?.();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(written, ["ab", "defghi"]);
  });

  it("gathers requests until all who are ready have had their say, and sends a message with what was gathered", async () => {
    const written: string[] = [];
    const waiting: (() => void)[] = [];
    const clock: Clock = {
      monotonic: () => 0,
      wall: () => 0,
      after: () => ({ cancel() {} }),
      soon: (fire) => void waiting.push(fire),
    };
    const soon = async () => {
      for (const fire of waiting.splice(0)) fire();
      await Promise.resolve();
    };
    const outbox = new Outbox({ ...streamOf([]), write: (chunk) => written.push(text(chunk)) > 0 }, 100, clock);
    for (const letter of "abc") {
      outbox.push(utf8(letter), false);
      await Promise.resolve();
    }
    assert.deepEqual(written, []);
    await soon();
    assert.deepEqual(written, ["abc"]);
    outbox.push(utf8("d"), false);
    outbox.push(utf8("e"), true);
    await Promise.resolve();
    assert.deepEqual(written, ["abc", "de"]);
    await soon();
    assert.deepEqual(written, ["abc", "de"]);
  });

  it("knows what it has not sent when the stream goes, and sends no more", async () => {
    const written: string[] = [];
    const stream: ByteStream = {
      ...streamOf([]),
      write: (chunk) => {
        written.push(text(chunk));
        return false;
      },
      drained: () => Promise.reject(new Error("gone")),
    };
    const outbox = new Outbox(stream, 100);
    outbox.push(utf8("a"), false);
    await Promise.resolve();
    outbox.push(utf8("b"), false);
    await new Promise((resolve) => setImmediate(resolve));
    outbox.push(utf8("c"), false);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(written, ["a"]);
    assert.deepEqual(outbox.unsent().map(text), ["b", "c"]);
  });

  it("gives the connection up when nobody reads and nothing may be dropped", () => {
    let reason: Error | undefined;
    const outbox = new Outbox({ ...streamOf([]), abort: (why) => (reason = why) }, 2);
    for (let at = 0; at < 3; at++) outbox.push(utf8("x"), false);
    assert.match(reason?.message ?? "", /does not read/);
  });
});

interface Side {
  readonly transport: RaftTransport;
  readonly messages: RaftMessage[];
  readonly gone: string[];
  readonly resets: string[];
  stop(): Promise<void>;
}

/** A server of the group at `host`, listening on port 1. */
async function side(
  world: VirtualWorld,
  id: string,
  host: string,
  more: {
    readonly datacenter?: string;
    readonly life?: string;
    readonly log?: (message: string) => void;
    readonly answer?: (from: string, body: Bytes) => Promise<Bytes>;
  } = {},
): Promise<Side> {
  const messages: RaftMessage[] = [];
  const gone: string[] = [];
  const resets: string[] = [];
  const accepted = new Set<ByteStream>();
  const streams = world.streams(host);
  const transport = new RaftTransport({
    clock: world.clock,
    random: constantRandom(0.5),
    streams,
    logger: { ...(silent as object), log: (_level: string, message: string) => more.log?.(message) } as never,
    self: id,
    datacenter: more.datacenter ?? "dc1",
    life: more.life ?? `life of ${id}`,
    onMessage: (message) => void messages.push(message),
    onRequest: more.answer ?? (async (from, body) => utf8(`${from} said ${text(body)}`)),
    onGone: (peer) => void gone.push(peer),
    onUnreachable: (peer) => void resets.push(peer),
  });
  const listener = await streams.listen({ host, port: 1 }, (stream) => {
    accepted.add(stream);
    void (async () => {
      // The first byte, which the server port takes off.
      const first = await stream.read();
      assert.deepEqual([...(first ?? [])], [16]);
      await transport.accept(stream);
    })().catch(() => {});
  });
  return {
    transport,
    messages,
    gone,
    resets,
    async stop() {
      transport.stop();
      await listener.close();
      for (const stream of accepted) stream.abort(new AgentError("closed", { message: "killed" }));
    },
  };
}

const at = (host: string): Address => ({ host, port: 1 });
const beat = (from: string, to: string, round: number): RaftMessage => ({
  kind: "heartbeat",
  from,
  to,
  term: 1,
  commit: 0,
  round,
});

describe("two servers", () => {
  it("pass messages and requests both ways; what is sent while dialing arrives", async () => {
    const world = new VirtualWorld();
    const a = await side(world, "a", "10.0.0.1");
    const b = await side(world, "b", "10.0.0.2");
    a.transport.connectTo(new Map([["b", at("10.0.0.2")]]));
    b.transport.connectTo(new Map([["a", at("10.0.0.1")]]));
    a.transport.send(beat("a", "b", 1));
    await world.pass(100);
    b.transport.send(beat("b", "a", 2));
    await world.pass(100);
    assert.deepEqual(b.messages, [beat("a", "b", 1)]);
    assert.deepEqual(a.messages, [beat("b", "a", 2)]);
    assert.equal(text(await world.settle(a.transport.request("b", utf8("hello"), 1000))), "a said hello");
  });

  it("hear a refusal with its code; one that is about connections cannot be faked", async () => {
    const world = new VirtualWorld();
    const a = await side(world, "a", "10.0.0.1");
    let code: "rate-limited" | "connection-refused" = "rate-limited";
    await side(world, "b", "10.0.0.2", { answer: () => Promise.reject(new AgentError(code, { message: "not now" })) });
    a.transport.connectTo(new Map([["b", at("10.0.0.2")]]));
    await world.pass(100);
    await assert.rejects(world.settle(a.transport.request("b", utf8("x"), 1000)), { code: "rate-limited", message: "not now" });
    code = "connection-refused";
    await assert.rejects(world.settle(a.transport.request("b", utf8("x"), 1000)), { code: "rejected" });
  });

  it("turn away who speaks another version, is of another datacenter, or meant somebody else", async () => {
    for (const [more, to] of [
      [{ datacenter: "dc2" }, "b"],
      [{}, "c"],
    ] as const) {
      const world = new VirtualWorld();
      const a = await side(world, "a", "10.0.0.1", more);
      const b = await side(world, "b", "10.0.0.2");
      a.transport.connectTo(new Map([[to, at("10.0.0.2")]]));
      a.transport.send(beat("a", to, 1));
      await world.pass(1000);
      assert.equal(a.transport.isConnected(to), false);
      assert.deepEqual(b.messages, []);
    }
  });

  it("say who was turned away and who does not answer, and do not go on about it", async () => {
    const world = new VirtualWorld();
    const said: string[] = [];
    const log = (message: string): void => void said.push(message);
    const a = await side(world, "a", "10.0.0.1");
    const b = await side(world, "b", "10.0.0.2", { log });
    a.transport.connectTo(new Map([["c", at("10.0.0.2")]]));
    b.transport.connectTo(new Map([["d", at("10.0.0.4")]]));
    await world.pass(30_000);
    assert.deepEqual(said.sort(), ["no connection to server", "turned away a server"]);
    await world.pass(60_000);
    assert.deepEqual(said.slice(2), ["turned away a server"]);
  });

  it("tell a request that was not sent from one whose answer was lost", async () => {
    const world = new VirtualWorld();
    const a = await side(world, "a", "10.0.0.1");
    const b = await side(world, "b", "10.0.0.2", { answer: () => new Promise(() => {}) });
    await assert.rejects(a.transport.request("b", utf8("x"), 1000), { code: "connection-refused" });
    a.transport.connectTo(new Map([["b", at("10.0.0.2")]]));
    await world.pass(100);
    const slow = assert.rejects(a.transport.request("b", utf8("x"), 500), { code: "timeout" });
    const lost = assert.rejects(a.transport.request("b", utf8("x"), 5000), { code: "connection-closed" });
    await world.pass(600);
    await slow;
    await b.stop();
    await world.pass(10);
    await lost;
  });

  it("know that a request was not sent which waited behind what the other did not read", async () => {
    const world = new VirtualWorld();
    const a = await side(world, "a", "10.0.0.1");
    const b = await side(world, "b", "10.0.0.2", { answer: () => new Promise(() => {}) });
    a.transport.connectTo(new Map([["b", at("10.0.0.2")]]));
    await world.pass(100);
    // More than the network takes at once: what comes later has to wait.
    const big = assert.rejects(a.transport.request("b", new Uint8Array(300_000), 5000), { code: "connection-closed" });
    await new Promise((resolve) => setImmediate(resolve));
    const behind = assert.rejects(a.transport.request("b", utf8("x"), 5000), { code: "connection-refused" });
    await b.stop();
    await world.pass(10);
    await Promise.all([big, behind]);
  });
});

describe("the end of a server", () => {
  it("is told at once when its connection closes and a new one is refused, and once only", async () => {
    const world = new VirtualWorld();
    const a = await side(world, "a", "10.0.0.1");
    const b = await side(world, "b", "10.0.0.2");
    a.transport.connectTo(new Map([["b", at("10.0.0.2")]]));
    await world.pass(1000);
    const before = world.now;
    await b.stop();
    await world.pass(5000, () => a.gone.length > 0);
    assert.ok(world.now - before < 20, `${world.now - before} ms`);
    await world.pass(30_000);
    assert.deepEqual(a.gone, ["b"]);
  });

  it("is not told when the network is cut, nor of a server that was never met", async () => {
    const world = new VirtualWorld();
    const a = await side(world, "a", "10.0.0.1");
    await side(world, "b", "10.0.0.2");
    a.transport.connectTo(
      new Map([
        ["b", at("10.0.0.2")],
        ["nobody", at("10.0.0.9")],
      ]),
    );
    await world.pass(1000);
    world.isolate("10.0.0.2");
    await world.pass(60_000);
    assert.deepEqual(a.gone, []);
  });

  it("is told when another process answers in its place", async () => {
    const world = new VirtualWorld();
    const a = await side(world, "a", "10.0.0.1");
    const b = await side(world, "b", "10.0.0.2");
    a.transport.connectTo(new Map([["b", at("10.0.0.2")]]));
    await world.pass(1000);
    const stopped = b.stop();
    const again = await side(world, "b", "10.0.0.2", { life: "another life" });
    await stopped;
    await world.pass(5000);
    assert.deepEqual(a.gone, ["b"]);
    a.transport.send(beat("a", "b", 7));
    await world.pass(100);
    assert.deepEqual(again.messages, [beat("a", "b", 7)]);
  });
});

describe("a connection from anybody", () => {
  it("never throws, and takes messages only from who greeted, whatever bytes come", async () => {
    const hello = encodeFrame(
      frameType.hello,
      encodeHello({ version: protocolVersion, datacenter: "dc1", from: "x", to: "a", life: "1" }),
    );
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), async (greets, parts) => {
        const world = new VirtualWorld();
        const a = await side(world, "a", "10.0.0.1");
        const [near, far] = streamPair(left, right);
        const over = a.transport.accept(far).catch((error: unknown) => assert.ok(error instanceof AgentError));
        if (greets) near.write(hello);
        for (const [index, part] of parts.entries()) near.write(index % 2 === 0 ? part : encodeFrame(part[0] ?? 1, part));
        await near.closeWrite();
        await world.pass(20_000);
        await over;
        assert.deepEqual(a.messages, []);
      }),
      { numRuns: 60 },
    );
  });
});
