import type { ByteStream, SecureStream, TlsOptions } from "../../core/ports/streams.ts";
import { concat, text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe } from "../support/harness.ts";
import { tlsOptions } from "./certificates.ts";
import { pair, readAll } from "./streams.ts";
import { beyondTimeouts, claim, pattern, rejection, type Subject } from "./subject.ts";

/** A stream with bytes put back in front, as who looked at a connection's first byte makes it. */
function withFront(stream: ByteStream, front: Uint8Array): ByteStream {
  let unread: Uint8Array | undefined = front;
  return {
    local: stream.local,
    remote: stream.remote,
    read() {
      const first = unread;
      unread = undefined;
      return first === undefined ? stream.read() : Promise.resolve(first);
    },
    write: (chunk) => stream.write(chunk),
    drained: () => stream.drained(),
    closeWrite: () => stream.closeWrite(),
    abort: (reason) => stream.abort(reason),
  };
}

export function tlsContract(subject: Subject<"streams" | "tls">): void {
  const { tls } = subject.runtime;
  interface Secured {
    readonly near: SecureStream;
    readonly far: SecureStream;
    readonly close: () => Promise<void>;
  }
  const secured = (client: TlsOptions, server: TlsOptions): Promise<Secured> => beyondTimeouts(() => tryOnce(client, server));
  const tryOnce = async (client: TlsOptions, server: TlsOptions): Promise<Secured> => {
    const { near, far, listener } = await pair(subject);
    const wrapping = [tls.wrap(near, "client", client), tls.wrap(far, "server", server)] as const;
    for (const promise of wrapping) promise.catch(() => {});
    try {
      const [secureNear, secureFar] = await Promise.all(wrapping);
      return { near: secureNear, far: secureFar, close: () => listener.close() };
    } catch (error) {
      const ends = await Promise.allSettled(wrapping);
      await listener.close();
      // Where time was over on one side, the other sees a connection that ends.
      throw (
        ends.map((end) => (end.status === "rejected" ? end.reason : undefined)).find((reason) => reason?.code === "timeout") ??
        error
      );
    }
  };

  describe(`tls of ${subject.name}`, () => {
    claim(subject, "after an upgrade in place both sides know the other's name, and bytes pass both ways", async () => {
      const { near, far, close } = await secured(tlsOptions("client", { serverName: "server.dc1.consul" }), tlsOptions("server"));
      assert.equal(near.peerName, "server.dc1.consul");
      assert.equal(far.peerName, "client.dc1.consul");
      assert.equal(far.remote.port, near.local.port);
      near.write(pattern(200_000));
      await near.closeWrite();
      assert.deepEqual(await readAll(far), pattern(200_000));
      far.write(utf8("answer"));
      assert.equal(text((await near.read()) ?? new Uint8Array(0)), "answer");
      await close();
    });

    claim(subject, "the upgrade comes after plain bytes were exchanged, with the beginning of the handshake already read", () =>
      beyondTimeouts(async () => {
        const { near, far, listener } = await pair(subject);
        near.write(utf8("T"));
        const secureNear = tls.wrap(near, "client", tlsOptions("client"));
        secureNear.catch(() => {});
        const first = (await far.read()) ?? new Uint8Array(0);
        assert.equal(text(first.slice(0, 1)), "T");
        // However much came with the first byte, it is given back.
        const more = first.length > 1 ? first.slice(1) : ((await far.read()) ?? new Uint8Array(0));
        const secureFar = await tls.wrap(withFront(far, concat([more])), "server", tlsOptions("server"));
        (await secureNear).write(utf8("through"));
        assert.equal(text((await secureFar.read()) ?? new Uint8Array(0)), "through");
        await listener.close();
      }),
    );

    claim(
      subject,
      "a server that verifies refuses a client without a certificate, and one signed by another authority",
      async () => {
        for (const who of ["nobody", "stranger"] as const) {
          const { near, far, listener } = await pair(subject);
          const client = tls.wrap(near, "client", tlsOptions(who));
          // In TLS 1.3 the client is done before the server has looked at its certificate.
          const clientSees = client.then((stream) => stream.read()).catch((error: unknown) => error);
          const error = await rejection(tls.wrap(far, "server", tlsOptions("server")));
          assert.match(error.message, /^tls: handshake failed: /);
          const seen = await clientSees;
          assert.ok(seen === undefined || seen instanceof Error);
          await listener.close();
        }
      },
    );

    claim(subject, "a server that does not verify serves a client without a certificate", async () => {
      const { near, far, close } = await secured(tlsOptions("nobody"), tlsOptions("server", { verifyPeer: false }));
      assert.equal(far.peerName, undefined);
      far.write(utf8("welcome"));
      assert.equal(text((await near.read()) ?? new Uint8Array(0)), "welcome");
      await close();
    });

    claim(subject, "a client that verifies refuses another authority's server, and a server of another name", async () => {
      await rejection(secured(tlsOptions("client"), tlsOptions("stranger", { verifyPeer: false })));
      await rejection(
        secured(tlsOptions("client", { serverName: "server.dc2.consul" }), tlsOptions("server", { verifyPeer: false })),
      );
    });

    claim(subject, "a peer that does not speak TLS is refused, and the stream is closed", async () => {
      const { near, far, listener } = await pair(subject);
      const refused = rejection(tls.wrap(far, "server", tlsOptions("server")));
      near.write(utf8("GET / HTTP/1.1\r\n\r\n"));
      assert.match((await refused).message, /^tls: handshake failed: /);
      await readAll(near).catch(() => {});
      await listener.close();
    });
  });
}
