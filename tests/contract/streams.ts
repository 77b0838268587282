import type { ByteStream, StreamListener } from "../../core/ports/streams.ts";
import { type Bytes, concat, text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe } from "../support/harness.ts";
import { ample, claim, deferred, pattern, rejection, type Subject } from "./subject.ts";

export async function readAll(stream: ByteStream): Promise<Bytes> {
  const parts: Bytes[] = [];
  for (let part = await stream.read(); part !== undefined; part = await stream.read()) parts.push(part);
  return concat(parts);
}

/** Both ends of a new connection. */
export async function pair(
  subject: Subject<"streams">,
): Promise<{ near: ByteStream; far: ByteStream; listener: StreamListener }> {
  const accepted = deferred<ByteStream>();
  const at = { host: subject.address, port: await subject.port() };
  const listener = await subject.runtime.streams.listen(at, accepted.resolve);
  const near = await subject.runtime.streams.connect(listener.local, { timeout: ample });
  return { near, far: await accepted.promise, listener };
}

export function streamsContract(subject: Subject<"streams">): void {
  const { streams } = subject.runtime;
  const at = { host: subject.address, port: 0 };

  describe(`streams of ${subject.name}`, () => {
    claim(subject, "both ends know each other's address", async () => {
      const { near, far, listener } = await pair(subject);
      assert.deepEqual(near.remote, listener.local);
      assert.deepEqual(far.local, near.remote);
      assert.deepEqual(far.remote, near.local);
      await listener.close();
    });

    claim(subject, "bytes arrive in order; an end in one direction leaves the other open", async () => {
      const { near, far, listener } = await pair(subject);
      near.write(utf8("que"));
      near.write(utf8("stion"));
      await near.closeWrite();
      assert.equal(text(await readAll(far)), "question");
      far.write(utf8("answer"));
      await far.closeWrite();
      assert.equal(text(await readAll(near)), "answer");
      assert.equal(await near.read(), undefined);
      await listener.close();
    });

    claim(subject, "a writer is told to wait while the reader does not read, and goes on when it does", async () => {
      const { near, far, listener } = await pair(subject);
      const chunk = pattern(64 * 1024);
      let written = 0;
      // Far beyond every buffer between the two, system's included.
      while (near.write(chunk.slice())) {
        written += chunk.length;
        assert.ok(written < 64 * 1024 * 1024, "backpressure is felt before 64 MiB");
      }
      written += chunk.length;
      const drained = near.drained();
      let read = 0;
      while (read < written) {
        const part = await far.read();
        if (part === undefined) assert.fail("the end came early");
        assert.equal(part[0], chunk[read % chunk.length]);
        read += part.length;
      }
      await drained;
      assert.equal(near.write(utf8("more")), true);
      await listener.close();
    });

    claim(subject, "a megabyte each way at the same time arrives whole", async () => {
      const { near, far, listener } = await pair(subject);
      const send = async (stream: ByteStream): Promise<void> => {
        for (let at = 0; at < 1_048_576; at += 16_384) if (!stream.write(pattern(16_384))) await stream.drained();
        await stream.closeWrite();
      };
      const [, , fromFar, fromNear] = await Promise.all([send(near), send(far), readAll(near), readAll(far)]);
      assert.deepEqual([fromFar.length, fromNear.length], [1_048_576, 1_048_576]);
      assert.deepEqual(fromNear.slice(0, 16_384), pattern(16_384));
      await listener.close();
    });

    claim(subject, "an abort rejects the reader here and there", async () => {
      const { near, far, listener } = await pair(subject);
      const reading = rejection(near.read());
      const readingThere = far.read().catch((error: unknown) => error);
      near.abort(new Error("enough"));
      assert.equal((await reading).message, "enough");
      assert.equal((await rejection(near.read())).message, "enough");
      // A reset or an end: systems differ.
      const there = await readingThere;
      assert.ok(there === undefined || there instanceof Error);
      assert.equal(near.write(utf8("late")), false);
      await listener.close();
    });

    claim(subject, "nobody listening is connection-refused, in Go's words", async () => {
      const { listener } = await pair(subject);
      await listener.close();
      const error = await rejection(streams.connect(listener.local, { timeout: ample }));
      assert.equal(error.code, "connection-refused");
      assert.equal(error.message, `dial tcp ${listener.local.host}:${listener.local.port}: connect: connection refused`);
    });

    claim(subject, "a name is resolved to all its addresses, or refused in Go's words", async () => {
      // Simulated networks have no names.
      if (streams.resolve === undefined) return;
      const found = await streams.resolve("localhost");
      assert.ok(found.includes("127.0.0.1") || found.includes("::1"), found.join());
      assert.equal(new Set(found).size, found.length);
      assert.match((await rejection(streams.resolve("nowhere.invalid"))).message, /^lookup nowhere\.invalid: /);
    });

    claim(subject, "a cancelled connect rejects with cancelled, before and during", async () => {
      const { listener } = await pair(subject);
      const before = await rejection(streams.connect(listener.local, { timeout: ample, cancel: AbortSignal.abort() }));
      assert.equal(before.code, "cancelled");
      const controller = new AbortController();
      const during = rejection(streams.connect(listener.local, { timeout: ample, cancel: controller.signal }));
      controller.abort();
      assert.equal((await during).code, "cancelled");
      await listener.close();
    });

    claim(subject, "a taken port is refused with address-in-use", async () => {
      const listener = await streams.listen(at, () => {});
      const error = await rejection(streams.listen(listener.local, () => {}));
      assert.equal(error.code, "address-in-use");
      assert.match(error.message, /^listen tcp .*: bind: address already in use$/);
      await listener.close();
    });

    claim(subject, "closing a listener aborts what it accepted and frees its port", async () => {
      const { near, far, listener } = await pair(subject);
      const here = near.read().catch(() => undefined);
      await listener.close();
      assert.equal(await here, undefined);
      await rejection(far.read());
      await (await streams.listen(listener.local, () => {})).close();
    });
  });
}
