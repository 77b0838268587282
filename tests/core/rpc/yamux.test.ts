import { fc } from "../../support/property.ts";
import type { ByteStream } from "../../../core/ports/streams.ts";
import { type YamuxOptions, YamuxSession, type YamuxStream } from "../../../core/rpc/yamux.ts";
import { type Bytes, concat, text, toHex, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { type MemoryStream, streamPair, VirtualWorld } from "../../support/virtual.ts";
import { bytesOf, vectors } from "../swim/support.ts";

const left = { host: "127.0.0.1", port: 1 };
const right = { host: "127.0.0.2", port: 2 };

function sessions(options: Partial<YamuxOptions> = {}) {
  const world = new VirtualWorld();
  const [near, far] = streamPair(left, right);
  const accepted: YamuxStream[] = [];
  const client = new YamuxSession(near, { side: "client", clock: world.clock });
  const server = new YamuxSession(far, {
    side: "server",
    clock: world.clock,
    accept: (stream) => accepted.push(stream),
    ...options,
  });
  return { world, client, server, accepted, near, far };
}

async function readAll(stream: ByteStream): Promise<Bytes> {
  const chunks: Bytes[] = [];
  for (;;) {
    const chunk = await stream.read();
    if (chunk === undefined) return concat(chunks);
    chunks.push(chunk);
  }
}

/** One session of ours, and the bytes it writes. */
function bare(side: "client" | "server", accept?: (stream: YamuxStream) => void) {
  const world = new VirtualWorld();
  const [near, far] = streamPair(left, right);
  const session = new YamuxSession(far, { side, clock: world.clock, ...(accept === undefined ? {} : { accept }) });
  const written: Bytes[] = [];
  void (async () => {
    try {
      for (;;) {
        const chunk = await near.read();
        if (chunk === undefined) return;
        written.push(chunk);
      }
    } catch {
      // The session ended; what it wrote until then is kept.
    }
  })();
  return { world, session, near, written: () => toHex(concat(written)) };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("yamux", () => {
  it("reads the opening that a Consul agent sends, and accepts it as Consul does", async () => {
    const [opening] = vectors(/108-rpc-yamux-open-c/);
    const accepted: YamuxStream[] = [];
    const { near, written } = bare("server", (stream) => accepted.push(stream));
    near.write(bytesOf(opening?.hex as string).subarray(1));
    await settled();
    assert.equal(accepted.length, 1);
    assert.equal(written(), "000100020000000100000000");
    assert.match(text((await accepted[0]?.read()) as Bytes), /Catalog\.NodeServiceList/);
    assert.match(text((await accepted[0]?.read()) as Bytes), /Health\.NodeChecks/);
  });

  it("opens a stream with the bytes that a Consul agent sends", async () => {
    const { session, written } = bare("client");
    session.open().write(utf8("x"));
    await settled();
    assert.equal(written(), "00010001000000010000000000000000000000010000000178");
  });

  it("answers a ping with its value", async () => {
    const { near, written } = bare("server");
    near.write(bytesOf("000200010000000012345678"));
    await settled();
    assert.equal(written(), "000200020000000012345678");
  });

  it("many streams carry any content both ways, beyond their windows, and nothing is left afterwards", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(900_000), { minLength: 1, maxLength: 6 }), async (sizes) => {
        const { client, server, accepted } = sessions();
        const echo = async (stream: YamuxStream) => {
          for (;;) {
            const chunk = await stream.read();
            if (chunk === undefined) return stream.closeWrite();
            if (!stream.write(chunk)) await stream.drained();
          }
        };
        await Promise.all(
          sizes.map(async (size, index) => {
            const content = new Uint8Array(size).fill(index + 1);
            const stream = client.open();
            const back = readAll(stream);
            await settled();
            const other = accepted.find((candidate) => candidate === accepted[index]);
            void echo(other as YamuxStream);
            if (!stream.write(content)) await stream.drained();
            await stream.closeWrite();
            assert.deepEqual(await back, content);
          }),
        );
        await settled();
        assert.deepEqual([client.streamCount, server.streamCount], [0, 0]);
      }),
      { numRuns: 10 },
    );
  });

  it("a reader that does not read stops the writer at one window, and only on its own stream", async () => {
    const { client, accepted } = sessions();
    const slow = client.open();
    const quick = client.open();
    assert.equal(slow.write(new Uint8Array(300_000)), false);
    quick.write(utf8("hello"));
    await settled();
    assert.equal(text((await (accepted[1] as YamuxStream).read()) as Bytes), "hello");
    let received = 0;
    while (received < 262_144) received += ((await (accepted[0] as YamuxStream).read()) as Bytes).length;
    assert.equal(received, 262_144);
    await slow.drained();
  });

  it("a peer that sends beyond the window loses the connection with go-away 1", async () => {
    const accepted: YamuxStream[] = [];
    const { near, session, written } = bare("server", (stream) => accepted.push(stream));
    near.write(bytesOf("000100010000000100000000"));
    near.write(bytesOf("000000000000000100040001"));
    await settled();
    assert.ok(session.closed.aborted);
    assert.ok(accepted[0]?.cancel.aborted);
    assert.ok(written().endsWith("000300000000000000000001"), written());
  });

  it("a wrong version, an unknown type and a stream of the wrong parity end the session", async () => {
    for (const head of [
      "010000000000000100000000",
      "000400000000000100000000",
      "000100010000000200000000",
      "000100010000000000000000",
    ]) {
      const { near, session } = bare("server", () => {});
      near.write(bytesOf(head));
      await settled();
      assert.ok(session.closed.aborted, head);
    }
  });

  it("streams beyond the limit are refused with RST, and frames for streams that are gone are skipped", async () => {
    const { client, server, accepted } = sessions({ streamsMax: 1 });
    const first = client.open();
    const second = client.open();
    second.write(utf8("lost"));
    await settled();
    await assert.rejects(second.read(), /reset/);
    assert.deepEqual([server.streamCount, client.streamCount, accepted.length], [1, 1, 1]);
    first.write(utf8("kept"));
    await settled();
    assert.equal(text((await (accepted[0] as YamuxStream).read()) as Bytes), "kept");
  });

  it("RST aborts the handler that waits at the other end", async () => {
    const { client, accepted } = sessions();
    const stream = client.open();
    await settled();
    let heard = 0;
    (accepted[0] as YamuxStream).cancel.addEventListener("abort", () => heard++);
    stream.abort(new Error("changed my mind"));
    await settled();
    assert.equal(heard, 1);
  });

  it("a keepalive that is not answered within ten seconds ends the session; an answered one does not", async () => {
    const { world, client, near } = sessions();
    await world.pass(65_000);
    assert.equal(client.closed.aborted, false);
    // From now on nothing comes back.
    (near as MemoryStream).peer = undefined;
    await world.pass(41_000);
    assert.match(String(client.closed.reason), /keepalive timeout/);
  });

  it("a connection that takes no bytes for ten seconds ends the session", async () => {
    const world = new VirtualWorld();
    const [near] = streamPair(left, right);
    const session = new YamuxSession(near, { side: "client", clock: world.clock });
    session.open().write(new Uint8Array(200_000));
    await world.pass(10_001);
    assert.match(String(session.closed.reason), /write timeout/);
  });

  it("random bytes, and random frames, never do more than end the session", async () => {
    const frame = fc
      .tuple(fc.nat(4), fc.nat(15), fc.nat(4), fc.nat(300_000), fc.uint8Array({ maxLength: 64 }))
      .map(([type, flags, id, length, content]) =>
        concat([
          Uint8Array.of(0, type, 0, flags, 0, 0, 0, id, 0, (length >> 16) & 255, (length >> 8) & 255, length & 255),
          content,
        ]),
      );
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.array(frame, { maxLength: 20 }).map(concat)),
        async (noise) => {
          const { near, session } = bare("server", (stream) => void readAll(stream).catch(() => {}));
          near.write(noise.slice());
          await near.closeWrite();
          await settled();
          assert.ok(session.closed.aborted);
        },
      ),
    );
  });
});
