import { fc } from "../../support/property.ts";
import { encode, Malformed, type Value } from "../../../core/codec/msgpack.ts";
import { sourceOf, ValueReader } from "../../../core/codec/value-stream.ts";
import type { Logger } from "../../../core/ports/telemetry.ts";
import { RpcClient } from "../../../core/rpc/client.ts";
import { encodeResponse, readRequest, readResponse } from "../../../core/rpc/codec.ts";
import { firstByte } from "../../../core/rpc/first-byte.ts";
import { createRpcServer, type RpcHandler, type RpcServerOptions } from "../../../core/rpc/server.ts";
import { type Bytes, concat, text, toHex } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualWorld } from "../../support/virtual.ts";
import { bytesOf, vectors } from "../swim/support.ts";

const at = { host: "127.0.0.1", port: 8300 };

async function serving(handlers: Record<string, RpcHandler>, options: Partial<RpcServerOptions> = {}) {
  const world = new VirtualWorld();
  const lines: string[] = [];
  const logger: Logger = {
    log: (level, message) => void lines.push(`${level}: ${message}`),
    enabled: () => true,
    child: () => logger,
  };
  const server = createRpcServer({
    streams: world.streams(at.host),
    clock: world.clock,
    logger,
    at,
    handlers: new Map(Object.entries(handlers)),
    limits: { connectionsPerClientMax: 4, handshakeTimeout: 5000 },
    ...options,
  });
  await server.start();
  const client = new RpcClient({ streams: world.streams("127.0.0.9"), clock: world.clock });
  return { world, server, client, lines };
}

describe("msgpack-rpc", () => {
  const recorded = vectors(/-rpc-[A-Z]/).filter((vector) => vector.response_hex !== undefined);

  it("the recorded calls are all here", () => assert.ok(recorded.length >= 30, `${recorded.length}`));

  for (const vector of recorded) {
    it(`reads ${vector.file} and writes the same bytes`, async () => {
      const reader = new ValueReader(sourceOf(bytesOf(vector.hex)));
      const request = await readRequest(reader);
      assert.equal(`-rpc-${request?.method.replace(".", "-")}.json`, vector.file.slice(3));
      assert.equal(await reader.byte(), undefined);
      assert.equal(
        toHex(encode({ Seq: request?.sequence as number, ServiceMethod: request?.method as string })),
        vector.hex.slice(0, vector.hex.length - toHex(encode(request?.args as never)).length),
      );
      const response = await readResponse(new ValueReader(sourceOf(bytesOf(vector.response_hex as string))));
      assert.ok(response);
      assert.equal(
        toHex(
          encodeResponse(
            { sequence: response.sequence, method: request?.method as string },
            response.error,
            response.body as never,
          ),
        ),
        vector.response_hex,
      );
    });
  }

  it("random bytes are malformed, or requests", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (noise) => {
        try {
          await readRequest(new ValueReader(sourceOf(noise)));
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }),
    );
  });
});

describe("the server port", () => {
  it("answers calls over yamux, many at once over one connection", async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { world, client } = await serving({
      "Status.Leader": async () => "127.0.0.1:8300",
      "KVS.Get": async (args) => {
        await held;
        return { Key: args.text("Key") };
      },
    });
    const waiting = client.call(at, "KVS.Get", { Key: "a" });
    assert.equal(text((await world.settle(client.call(at, "Status.Leader", {}))) as Bytes), "127.0.0.1:8300");
    release();
    const answer = (await world.settle(waiting)) as ReadonlyMap<string, Value>;
    assert.equal(text(answer.get("Key") as Bytes), "a");
  });

  it("answers plain calls on one connection in order, and one for an unknown method is the last", async () => {
    const { world } = await serving({ "Status.Ping": async () => ({}) });
    const stream = await world.settle(world.streams("127.0.0.9").connect(at, { timeout: 1000 }));
    const request = (method: string, sequence: number) => concat([encode({ Seq: sequence, ServiceMethod: method }), encode({})]);
    stream.write(concat([Uint8Array.of(0), request("Status.Ping", 1), request("Status.Pong", 2), request("Status.Ping", 3)]));
    const reader = new ValueReader(stream);
    const first = await world.settle(readResponse(reader));
    const second = await world.settle(readResponse(reader));
    assert.deepEqual(
      [first?.sequence, first?.error, second?.sequence, second?.error],
      [1, "", 2, "rpc: can't find method Status.Pong"],
    );
    assert.equal(await world.settle(readResponse(reader)), undefined);
  });

  it("unknown services, unknown methods and names without a dot get the words of Go's net/rpc", async () => {
    const { world, client } = await serving({ "Status.Ping": async () => ({}) });
    const refusal = (method: string) =>
      world.settle(
        client.call(at, method, {}).then(
          () => "",
          (error: Error) => error.message,
        ),
      );
    assert.equal(await refusal("Nope.Ping"), "rpc: can't find service Nope.Ping");
    assert.equal(await refusal("Status.Nope"), "rpc: can't find method Status.Nope");
    assert.equal(await refusal("Nope"), "rpc: service/method request ill-formed: Nope");
  });

  it("a method's error reaches the caller under the code its text stands for, and the stream is used again", async () => {
    const { world, client } = await serving({
      "KVS.Apply": async () => {
        throw new Error("No cluster leader");
      },
      "KVS.Get": async (args) => args.text("Key"),
    });
    await assert.rejects(world.settle(client.call(at, "KVS.Apply", {})), { code: "no-leader", message: "No cluster leader" });
    await assert.rejects(world.settle(client.call(at, "KVS.Get", { Key: 5 })), { code: "rejected", message: "Key is not text" });
    assert.equal(text((await world.settle(client.call(at, "KVS.Get", { Key: "k" }))) as Bytes), "k");
  });

  it("a server that is closing ends the stream without an answer, as Consul's callers expect before they ask another", async () => {
    const { world, client, lines } = await serving({
      "KVS.Get": () => Promise.reject(new AgentError("closed", { message: "The agent is shutting down" })),
    });
    await assert.rejects(world.settle(client.call(at, "KVS.Get", {})), { code: "connection-closed", message: /EOF$/ });
    const plain = await world.settle(world.streams("127.0.0.9").connect(at, { timeout: 1000 }));
    plain.write(concat([Uint8Array.of(0), encode({ Seq: 1, ServiceMethod: "KVS.Get" }), encode({})]));
    assert.equal(await world.settle(plain.read()), undefined);
    assert.deepEqual(lines, []);
  });

  it("a caller that gives up aborts the handler", async () => {
    let aborted = false;
    const { world, client } = await serving({
      "KVS.Get": (_args, { cancel }) =>
        new Promise((_resolve, reject) => {
          cancel.addEventListener("abort", () => {
            aborted = true;
            reject(new Error("nobody waits"));
          });
        }),
    });
    await assert.rejects(world.settle(client.call(at, "KVS.Get", {}, { timeout: 1000 })), { code: "timeout" });
    await world.pass(100);
    assert.ok(aborted);
  });

  it("other first bytes are refused with a line in the log", async () => {
    const { world, lines } = await serving({});
    for (const byte of [
      firstByte.raft,
      firstByte.multiplex,
      firstByte.tls,
      firstByte.snapshot,
      firstByte.tlsInsecure,
      firstByte.ownRaft,
      22,
      200,
    ]) {
      const stream = await world.settle(world.streams("127.0.0.9").connect(at, { timeout: 1000 }));
      stream.write(Uint8Array.of(byte));
      await assert.rejects(world.settle(stream.read()));
    }
    assert.equal(lines.length, 8);
    assert.equal(lines[2], "warn: TLS connection attempted, server not configured for TLS");
    assert.equal(lines[7], "error: unrecognized RPC byte");
  });

  it("a connection that says nothing is closed after the handshake timeout, and those beyond the limit at once", async () => {
    const { world, lines } = await serving({});
    const connect = () => world.settle(world.streams("127.0.0.9").connect(at, { timeout: 1000 }));
    const silent = [await connect(), await connect(), await connect(), await connect()];
    const fifth = await connect();
    await assert.rejects(world.settle(fifth.read(), 1000));
    assert.deepEqual(lines, ["error: rpc: too many connections"]);
    await assert.rejects(world.settle((silent[0] as typeof fifth).read(), 5001));
    await world.pass(5001);
    await connect();
  });

  it("what the agent plugs in takes over by first byte", async () => {
    const taken: string[] = [];
    const { world } = await serving(
      {},
      {
        upgrades: new Map([
          [
            firstByte.ownRaft,
            async (stream) => {
              taken.push(text((await stream.read()) as Bytes));
              await stream.closeWrite();
            },
          ],
        ]),
      },
    );
    const stream = await world.settle(world.streams("127.0.0.9").connect(at, { timeout: 1000 }));
    stream.write(Uint8Array.of(firstByte.ownRaft, 104, 105));
    assert.equal(await world.settle(stream.read()), undefined);
    assert.deepEqual(taken, ["hi"]);
  });

  it("a session without calls is closed after its idle time, and the next call dials anew", async () => {
    const { world, client } = await serving({ "Status.Ping": async () => ({}) });
    await world.settle(client.call(at, "Status.Ping", {}));
    await world.pass(128_000);
    await world.settle(client.call(at, "Status.Ping", {}));
    await client.close();
  });

  it("nobody listens: the error is Consul's", async () => {
    const { world, client } = await serving({});
    await assert.rejects(world.settle(client.call({ host: "127.0.0.1", port: 1 }, "Status.Ping", {})), {
      code: "connection-refused",
      message: "rpc error getting client: failed to get conn: dial tcp 127.0.0.1:1: connect: connection refused",
    });
  });
});
