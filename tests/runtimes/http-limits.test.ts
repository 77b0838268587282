/** The HTTP server's time limits, with a clock that is turned by hand. */
import { createClock } from "../../adapters/node-api/clock.ts";
import { createHttpServer } from "../../adapters/node-api/http-server.ts";
import { headTimeout, idleTimeout, requestTimeout, sweepInterval, writeTimeout } from "../../adapters/node-api/http-limits.ts";
import { createStreams } from "../../adapters/node-api/streams.ts";
import type { Address } from "../../core/ports/net.ts";
import type { ByteStream } from "../../core/ports/streams.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { ample } from "../contract/subject.ts";
import { assert, describe, it } from "../support/harness.ts";

/** Fires everything due, in order. */
class HandClock {
  #now = 0;
  #timers: { due: number; fire: () => void }[] = [];

  monotonic = (): number => this.#now;
  wall = (): number => Math.floor(this.#now);
  after = (delay: number, fire: () => void): { cancel(): void } => {
    const timer = { due: this.#now + delay, fire };
    this.#timers.push(timer);
    return { cancel: () => void this.#timers.splice(this.#timers.indexOf(timer), this.#timers.includes(timer) ? 1 : 0) };
  };

  /** Time passes while nothing runs, as in a process that is stopped; then what fell due is late. */
  stall(millis: number): void {
    this.#now += millis;
    for (const timer of this.#timers.filter(({ due }) => due <= this.#now)) {
      this.#timers.splice(this.#timers.indexOf(timer), 1);
      timer.fire();
    }
  }

  turn(millis: number): void {
    const end = this.#now + millis;
    for (;;) {
      const next = this.#timers.filter((timer) => timer.due <= end).sort((left, right) => left.due - right.due)[0];
      if (next === undefined) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#now = next.due;
      next.fire();
    }
    this.#now = end;
  }
}

const silent = { log() {}, enabled: () => false, child: () => silent };

async function serving(act: (dial: () => Promise<ByteStream>, clock: HandClock) => Promise<void>): Promise<void> {
  const clock = new HandClock();
  const streams = createStreams(createClock());
  const large = new Uint8Array(20_000_000);
  const listener = await createHttpServer(clock, silent, { fetchIsCheap: true }).serve({
    at: { host: "127.0.0.1", port: 0 },
    fetch: () => new Response("") as never,
    direct: (request) =>
      request.method === "PUT"
        ? request.body(1000).then((body) => ({ status: 200, headers: [], body }))
        : { status: 200, headers: [], body: request.target === "/large" ? large : utf8("ok") },
    limits: { headerBytesMax: 65_536, connectionsPerClientMax: () => 100 },
  });
  try {
    await act(() => streams.connect(listener.local as Address, { timeout: ample }), clock);
  } finally {
    const closed = listener.close(0);
    clock.turn(1);
    await closed;
  }
}

/** Sends `begin`, makes sure the server has read it (a request on another connection was answered since), and waits for the end. */
async function hangs(begin: string, limit: number): Promise<void> {
  await serving(async (dial, clock) => {
    const stream = await dial();
    stream.write(utf8(begin));
    const other = await dial();
    for (let round = 0; round < 3; round++) {
      other.write(utf8("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
      assert.match(text((await other.read()) ?? utf8("")), /200 OK/);
    }
    let ended = false;
    const end = stream.read().then(
      () => undefined,
      () => undefined,
    );
    void end.then(() => {
      ended = true;
    });
    clock.turn(limit - 2 * sweepInterval);
    other.write(utf8("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert.match(text((await other.read()) ?? utf8("")), /200 OK/);
    assert.equal(ended, false, "still within the limit");
    clock.turn(3 * sweepInterval);
    await end;
  });
}

describe("time limits of the HTTP server", () => {
  it("a head that does not come to its end", () => hangs("GET /a HTTP/1.1\r\nHo", headTimeout));
  it("a body that does not come to its end", () =>
    hangs("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345", requestTimeout));
  it("a connection without a request", () => hangs("", idleTimeout));

  it("time for which the whole server stood still does not count", () =>
    serving(async (dial, clock) => {
      const stream = await dial();
      stream.write(utf8("GET /a HTTP/1.1\r\nHo"));
      const other = await dial();
      for (let round = 0; round < 3; round++) {
        other.write(utf8("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert.match(text((await other.read()) ?? utf8("")), /200 OK/);
      }
      clock.stall(3 * headTimeout);
      stream.write(utf8("st: x\r\n\r\n"));
      assert.match(text((await stream.read()) ?? utf8("")), /200 OK/);
    }));

  it("an answer after which the connection ends has as long to be read as any other, and arrives whole", () =>
    serving(async (dial, clock) => {
      const stream = await dial();
      stream.write(utf8("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
      const first = (await stream.read()) ?? utf8("");
      const head = text(first).indexOf("\r\n\r\n") + 4;
      assert.match(text(first), /200 OK/);
      clock.turn(writeTimeout - 2 * sweepInterval);
      let length = first.length;
      for (let part = await stream.read(); part !== undefined; part = await stream.read()) length += part.length;
      assert.equal(length, head + 20_000_000);
    }));

  it("an answer after which the connection ends, and that is not read, is given up", () =>
    serving(async (dial, clock) => {
      const stream = await dial();
      stream.write(utf8("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
      let length = (await stream.read())?.length ?? 0;
      clock.turn(writeTimeout + 2 * sweepInterval);
      const rest = async (): Promise<void> => {
        for (let part = await stream.read(); part !== undefined; part = await stream.read()) length += part.length;
      };
      await rest().catch(() => {});
      assert.ok(length < 20_000_000, `${length} bytes`);
    }));

  it("an answer that is not read", () =>
    serving(async (dial, clock) => {
      const stream = await dial();
      stream.write(utf8("GET /large HTTP/1.1\r\nHost: x\r\n\r\n"));
      const first = await stream.read();
      assert.match(text(first ?? utf8("")), /200 OK/);
      clock.turn(writeTimeout + 2 * sweepInterval);
      let error: unknown;
      try {
        while ((await stream.read()) !== undefined);
      } catch (thrown) {
        error = thrown;
      }
      // The connection was cut: by a reset, or by an end before the whole length.
      assert.ok(error === undefined || error instanceof Error);
    }));
});
