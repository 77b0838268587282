import { fc } from "../support/property.ts";
import type { DirectRequest, DirectResponse, HttpListener, HttpServeOptions } from "../../core/ports/http.ts";
import type { Address } from "../../core/ports/net.ts";
import type { ByteStream } from "../../core/ports/streams.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe } from "../support/harness.ts";
import { tlsOptions } from "./certificates.ts";
import { readAll } from "./streams.ts";
import { ample, beyondTimeouts, claim, deferred, pattern, rejection, type Subject } from "./subject.ts";

type Ports = "streams" | "httpServer" | "httpClient" | "tls";

const json = ["Content-Type", "application/json"];

/** Answers that show what arrived, once through `direct` and once, below /fetch, through `fetch`. */
function echo(request: DirectRequest): DirectResponse | Promise<DirectResponse> | undefined {
  if (request.target.startsWith("/fetch")) return undefined;
  if (request.target === "/throw") throw new Error("a mistake");
  if (request.target === "/reject") return Promise.reject(new Error("a mistake"));
  if (request.target === "/split") return { status: 200, headers: ["X-Bad", "a\r\nX-Forged: b"], body: utf8("") };
  if (request.target === "/nothing") return { status: 204, headers: [], body: new Uint8Array(0) };
  if (request.target === "/large") return { status: 200, headers: json, body: pattern(3_000_000) };
  const line = (body: string): DirectResponse => ({
    status: 200,
    headers: json,
    body: utf8(`${request.method} ${request.target} ${request.header("x-consul-token") ?? "-"} ${body}`),
  });
  if (request.method === "GET" || request.method === "HEAD") return line("");
  return request.body(600_000).then((body) => line(body.length > 100 ? `${body.length} bytes` : text(body)));
}

async function echoFetch(request: unknown): Promise<never> {
  const web = request as Request;
  const { pathname, search } = new URL(web.url);
  if (pathname === "/fetch/stream") {
    let piece = 0;
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await new Promise((resolve) => setImmediate(resolve));
        if (piece++ < 5) controller.enqueue(utf8(`piece ${piece}\n`));
        else controller.close();
      },
    });
    return new Response(body, { headers: { "content-type": "text/plain" } }) as never;
  }
  const body = web.method === "GET" || web.method === "HEAD" ? "" : await web.text();
  const said = `${web.method} ${pathname}${search} ${web.headers.get("x-consul-token") ?? "-"} ${body.length > 100 ? `${body.length} bytes` : body}`;
  return new Response(said, { status: 201, headers: { "content-type": "application/json", "x-own": "yes" } }) as never;
}

export function httpServerContract(subject: Subject<Ports>, socketPath: string): void {
  const { httpServer, httpClient, streams, tls } = subject.runtime;

  const serve = (options: Partial<HttpServeOptions> = {}): Promise<HttpListener> =>
    httpServer.serve({
      at: { host: subject.address, port: 0 },
      fetch: echoFetch,
      direct: echo,
      limits: { headerBytesMax: 65_536, connectionsPerClientMax: () => 100 },
      ...options,
    });
  const dial = (listener: HttpListener): Promise<ByteStream> => streams.connect(listener.local as Address, { timeout: ample });

  /** Sends bytes, ends, and gives back everything the server said. */
  const say = async (listener: HttpListener, ...parts: string[]): Promise<string> => {
    const stream = await dial(listener);
    for (const part of parts) stream.write(utf8(part));
    const said = text(await readAll(stream));
    stream.abort(new Error("done"));
    return said.replace(/Date: [A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT/gi, "Date: D");
  };
  const withServer = async (
    act: (listener: HttpListener) => Promise<void>,
    options: Partial<HttpServeOptions> = {},
  ): Promise<void> => {
    const listener = await serve(options);
    try {
      await act(listener);
    } finally {
      await listener.close(0);
    }
  };
  const last = "Connection: close\r\n\r\n";

  describe(`http server of ${subject.name}`, () => {
    claim(
      subject,
      "a direct answer has its own headers, then Date, then Content-Length, and nothing about the connection it keeps",
      () =>
        withServer(async (listener) => {
          const said = await say(
            listener,
            "GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n",
            `GET /b HTTP/1.1\r\nHost: x\r\n${last}`,
          );
          assert.equal(
            said,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: D\r\nContent-Length: 19\r\n\r\nGET /v1/kv/a?raw - " +
              "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: D\r\nContent-Length: 9\r\nConnection: close\r\n\r\nGET /b - ",
          );
        }),
    );

    claim(subject, "the target reaches direct exactly as sent", () =>
      withServer(async (listener) => {
        for (const target of ["/v1/kv/a%2Fb//c/../d?x=%zz&y=a+b", "/%00", "//", "/?"]) {
          assert.match(
            await say(listener, `GET ${target} HTTP/1.1\r\nHost: x\r\n${last}`),
            new RegExp(`GET ${target.replace(/[?+.]/g, "\\$&")} - $`),
          );
        }
      }),
    );

    claim(subject, "headers are found by their names in any case", () =>
      withServer(async (listener) => {
        assert.match(
          await say(listener, `GET /a HTTP/1.1\r\nHost: x\r\nX-CONSUL-token:  secret \r\n${last}`),
          /GET \/a secret $/,
        );
      }),
    );

    claim(subject, "fetch is asked what direct declines, on the same connection before and after", () =>
      withServer(async (listener) => {
        const said = await say(
          listener,
          "GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
          "GET /fetch?q=1 HTTP/1.1\r\nHost: x\r\nX-Consul-Token: t\r\n\r\n",
          "PUT /fetch HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
          `GET /b HTTP/1.1\r\nHost: x\r\n${last}`,
        );
        assert.match(
          said,
          /GET \/a - HTTP\/1\.1 201 Created\r\n[\s\S]*GET \/fetch\?q=1 t HTTP\/1\.1 201[\s\S]*PUT \/fetch - bodyHTTP\/1\.1 200 OK[\s\S]*GET \/b - $/,
        );
        assert.match(said, /x-own: yes/i);
        assert.doesNotMatch(said, /keep-alive/i);
      }),
    );

    claim(subject, "a body is read whole, however it is cut, and by chunks", () =>
      withServer(async (listener) => {
        const body = "01234567890123456789";
        const head = "PUT /a HTTP/1.1\r\nHost: x\r\n";
        const whole = `${head}Content-Length: 20\r\n${last}${body}`;
        assert.match(await say(listener, whole), /PUT \/a - 01234567890123456789$/);
        assert.match(await say(listener, ...whole), /PUT \/a - 01234567890123456789$/);
        assert.match(
          await say(listener, `${head}Transfer-Encoding: chunked\r\n${last}5\r\n01234\r\n3;x=y\r\n567\r\n0\r\n\r\n`),
          /PUT \/a - 01234567$/,
        );
        assert.match(
          await say(listener, `${head}Content-Length: 400000\r\n${last}${"x".repeat(400_000)}`),
          /PUT \/a - 400000 bytes$/,
        );
        assert.match(
          await say(listener, `PUT /fetch HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n${last}${"x".repeat(2_000_000)}`),
          /PUT \/fetch - 2000000 bytes/,
        );
      }),
    );

    claim(subject, "a body beyond the reader's bound rejects with too-large", async () => {
      const refused = deferred<string>();
      await withServer(
        async (listener) => {
          const said = await say(listener, `PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n${last}01234567890`);
          assert.match(said, /413 Request Entity Too Large/);
          assert.equal(await refused.promise, "too-large");
        },
        {
          direct: (request) =>
            request.body(10).then(
              () => ({ status: 200, headers: [], body: new Uint8Array(0) }),
              (error: { code: string }) => {
                refused.resolve(error.code);
                return { status: 413, headers: [], body: utf8("too large") };
              },
            ),
        },
      );
    });

    claim(subject, "100-continue is answered before the body is sent", () =>
      withServer(async (listener) => {
        const stream = await dial(listener);
        stream.write(utf8(`PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n${last}`));
        assert.match(text((await stream.read()) ?? utf8("")), /^HTTP\/1\.1 100 Continue\r\n\r\n/);
        stream.write(utf8("ok"));
        assert.match(text(await readAll(stream)), /PUT \/a - ok$/);
      }),
    );

    claim(subject, "pipelined requests are answered in order, slow ones before fast ones", async () => {
      const slow = deferred<void>();
      await withServer(
        async (listener) => {
          const stream = await dial(listener);
          stream.write(
            utf8(
              "GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\nPUT /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nb",
            ),
          );
          stream.write(utf8(`GET /3 HTTP/1.1\r\nHost: x\r\n${last}`));
          slow.resolve();
          assert.match(text(await readAll(stream)), /GET \/slow - [\s\S]*GET \/1 - [\s\S]*PUT \/2 - b[\s\S]*GET \/3 - $/);
        },
        {
          direct: (request) =>
            request.target === "/slow" ? slow.promise.then(() => echo(request) as DirectResponse) : echo(request),
        },
      );
    });

    claim(subject, "HEAD has the length and no body; 204 has neither", () =>
      withServer(async (listener) => {
        assert.equal(
          await say(listener, `HEAD /a HTTP/1.1\r\nHost: x\r\n${last}`),
          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: D\r\nContent-Length: 10\r\nConnection: close\r\n\r\n",
        );
        assert.equal(
          await say(listener, `GET /nothing HTTP/1.1\r\nHost: x\r\n${last}`),
          "HTTP/1.1 204 No Content\r\nDate: D\r\nConnection: close\r\n\r\n",
        );
      }),
    );

    claim(subject, "a large answer arrives whole, also when the client reads late", () =>
      withServer(async (listener) => {
        const stream = await dial(listener);
        stream.write(utf8("GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3) + `GET /end HTTP/1.1\r\nHost: x\r\n${last}`));
        const said = await readAll(stream);
        assert.ok(said.length > 9_000_000 && said.length < 9_001_000);
        assert.match(text(said.slice(-11)), /GET \/end - $/);
      }),
    );

    claim(subject, "a body whose end is not known is sent in chunks as it comes", () =>
      withServer(async (listener) => {
        const said = await say(listener, `GET /fetch/stream HTTP/1.1\r\nHost: x\r\n${last}`);
        assert.match(said, /transfer-encoding: chunked/i);
        assert.match(said, /8\r\npiece 1\n\r\n[\s\S]*8\r\npiece 5\n\r\n0\r\n\r\n$/);
      }),
    );

    claim(subject, "the client going away cancels its request at once, here and in fetch", async () => {
      for (const path of ["/wait", "/fetch/wait"]) {
        const begun = deferred<void>();
        const cancelled = deferred<void>();
        const wait = (signal: { addEventListener(type: "abort", listener: () => void): void }): Promise<never> => {
          begun.resolve();
          return new Promise((_, reject) =>
            signal.addEventListener("abort", () => {
              cancelled.resolve();
              reject(new Error("gone"));
            }),
          );
        };
        await withServer(
          async (listener) => {
            const stream = await dial(listener);
            stream.write(utf8(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`));
            await begun.promise;
            stream.abort(new Error("enough"));
            await cancelled.promise;
          },
          {
            direct: (request) => (request.target === "/wait" ? wait(request.cancel) : undefined),
            fetch: (request) => wait((request as unknown as Request).signal),
          },
        );
      }
    });

    claim(subject, "a client that ends its side after the request still gets its answer", () =>
      withServer(async (listener) => {
        const stream = await dial(listener);
        stream.write(utf8("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
        await stream.closeWrite();
        assert.match(text(await readAll(stream)), /GET \/a - $/);
      }),
    );

    claim(subject, "a handler's mistake is a 500, and the next request is served", () =>
      withServer(async (listener) => {
        for (const path of ["/throw", "/reject", "/split"]) {
          const said = await say(listener, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`, `GET /a HTTP/1.1\r\nHost: x\r\n${last}`);
          assert.match(said, /^HTTP\/1\.1 500 Internal Server Error\r\n[\s\S]*GET \/a - $/);
          assert.doesNotMatch(said, /Forged|mistake/);
        }
      }),
    );

    claim(subject, "what is malformed is refused as Go refuses it, and the connection closed", () =>
      withServer(async (listener) => {
        const refused =
          "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request";
        for (const broken of [
          "nonsense\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
          "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
          "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ]) {
          assert.equal(await say(listener, broken), refused, JSON.stringify(broken));
        }
      }),
    );

    claim(subject, "whatever is sent, the server goes on serving", () =>
      withServer(
        async (listener) => {
          const tokens = [
            "GET ",
            "PUT ",
            "/",
            "/fetch",
            " HTTP/1.1",
            " HTTP/1.0",
            "\r\n",
            "\r\n\r\n",
            "\r",
            ":",
            "Host: x",
            "Content-Length: ",
            "7",
            "\0",
            "Transfer-Encoding: chunked",
            "Connection: close",
            "0\r\n",
            "Expect: 100-continue",
            "é",
          ];
          await fc.assert(
            fc.asyncProperty(
              fc.array(fc.array(fc.constantFrom(...tokens), { maxLength: 12 }), { maxLength: 4 }),
              async (parts) => {
                const stream = await dial(listener);
                for (const part of parts) stream.write(utf8(part.join("")));
                await stream.closeWrite().catch(() => {});
                await readAll(stream).catch(() => {});
                stream.abort(new Error("done"));
              },
            ),
            { numRuns: 150 },
          );
          assert.match(await say(listener, `GET /a HTTP/1.1\r\nHost: x\r\n${last}`), /GET \/a - $/);
        },
        { limits: { headerBytesMax: 65_536, connectionsPerClientMax: () => 1000 } },
      ),
    );

    claim(subject, "a request without a Host is refused", () =>
      withServer(async (listener) => {
        assert.match(
          await say(listener, "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
          /^HTTP\/1\.1 400 Bad Request: missing required Host header\r\n/,
        );
      }),
    );

    claim(subject, "two Hosts, a malformed one, or another version of HTTP are refused in Go's words", () =>
      withServer(async (listener) => {
        const refusal = async (request: string): Promise<string> => (await say(listener, request)).split("\r\n\r\n")[1] as string;
        const two = "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n";
        assert.equal(await refusal(two), "400 Bad Request: too many Host headers");
        assert.equal(await refusal("GET /a HTTP/1.1\r\nHost: a b\r\n\r\n"), "400 Bad Request: malformed Host header");
        assert.equal(await refusal("GET /a HTTP/2.0\r\nHost: x\r\n\r\n"), "400 Bad Request: unsupported protocol version");
      }),
    );

    claim(subject, "a target with scheme and host means its path; OPTIONS * is answered", () =>
      withServer(async (listener) => {
        assert.match(await say(listener, `GET http://x/a HTTP/1.1\r\nHost: x\r\n${last}`), /GET \/a - $/);
        assert.match(await say(listener, `OPTIONS * HTTP/1.1\r\nHost: x\r\n${last}`), /^HTTP\/1\.1 200 OK\r\n/);
      }),
    );

    claim(subject, "headers beyond the limit are refused with 431, below it they are read", () =>
      withServer(async (listener) => {
        const padded = (length: number): string => `GET /a HTTP/1.1\r\nHost: x\r\nX-Pad: ${"p".repeat(length)}\r\n${last}`;
        assert.match(await say(listener, padded(20_000)), /GET \/a - $/);
        assert.match(
          await say(listener, padded(70_000)),
          /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n[\s\S]*431 Request Header Fields Too Large$/,
        );
      }),
    );

    claim(subject, "an HTTP/1.0 client is answered and its connection closed", () =>
      withServer(async (listener) => {
        assert.match(await say(listener, "GET /a HTTP/1.0\r\n\r\n"), /^HTTP\/1\.1 200 OK\r\n[\s\S]*GET \/a - $/);
      }),
    );

    claim(subject, "connections of one address beyond the limit are closed, until one ends; the limit may change", async () => {
      let limit = 2;
      await withServer(
        async (listener) => {
          const ask = async (stream: ByteStream): Promise<string> => {
            stream.write(utf8("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
            return text((await stream.read().catch(() => undefined)) ?? utf8("closed"));
          };
          const [first, second] = [await dial(listener), await dial(listener)];
          assert.match(await ask(first), /200 OK/);
          assert.match(await ask(second), /200 OK/);
          assert.equal(await ask(await dial(listener)), "closed");
          first.abort(new Error("done"));
          // The server learns of the abort in its own time; a new connection is let in once it has.
          let answer = "closed";
          while (answer === "closed") answer = await ask(await dial(listener));
          limit = 3;
          assert.match(await ask(await dial(listener)), /200 OK/);
        },
        { limits: { headerBytesMax: 65_536, connectionsPerClientMax: () => limit } },
      );
    });

    claim(subject, "closing lets the request in flight finish, closes idle connections, and refuses new ones", async () => {
      const begun = deferred<void>();
      const release = deferred<void>();
      const listener = await serve({
        at: { host: subject.address, port: await subject.port() },
        direct: (request) => {
          if (request.target !== "/slow") return echo(request);
          begun.resolve();
          return release.promise.then(() => echo(request) as DirectResponse);
        },
      });
      const idle = await dial(listener);
      const busy = await dial(listener);
      busy.write(utf8("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"));
      await begun.promise;
      const closing = listener.close(ample);
      assert.equal(await idle.read(), undefined);
      assert.equal((await rejection(dial(listener))).code, "connection-refused");
      release.resolve();
      assert.match(text(await readAll(busy)), /Connection: close\r\n\r\nGET \/slow - $/);
      await closing;
    });

    claim(subject, "at its deadline closing aborts what is still in flight", async () => {
      const begun = deferred<void>();
      const cancelled = deferred<void>();
      const listener = await serve({
        direct: (request) => {
          request.cancel.addEventListener("abort", cancelled.resolve);
          begun.resolve();
          return new Promise(() => {});
        },
      });
      const stream = await dial(listener);
      stream.write(utf8("GET /never HTTP/1.1\r\nHost: x\r\n\r\n"));
      await begun.promise;
      await listener.close(20);
      await cancelled.promise;
      await stream.read().catch(() => {});
    });

    claim(subject, "a taken port is refused with address-in-use", () =>
      withServer(async (listener) => {
        const error = await rejection(serve({ at: listener.local }));
        assert.equal(error.code, "address-in-use");
        assert.match(error.message, /^listen tcp .*: bind: address already in use$/);
      }),
    );

    claim(subject, "it serves a Unix socket", () =>
      withServer(
        async (listener) => {
          assert.deepEqual(listener.local, { path: socketPath });
          for (const path of ["/a", "/fetch"]) {
            const { body } = await httpClient.request({ method: "GET", url: `http://localhost${path}`, socketPath });
            assert.equal(text(body), `GET ${path} - `);
          }
        },
        { at: { path: socketPath } },
      ),
    );

    claim(subject, "it serves TLS, and refuses clients without a certificate when it verifies", () =>
      withServer(
        async (listener) => {
          const { port } = listener.local as Address;
          for (const path of ["/a", "/fetch"]) {
            const url = `https://localhost:${port}${path}`;
            const { body } = await beyondTimeouts(() => httpClient.request({ method: "GET", url, tls: tlsOptions("client") }));
            assert.equal(text(body), `GET ${path} - `);
          }
          await rejection(httpClient.request({ method: "GET", url: `https://localhost:${port}/a`, tls: tlsOptions("nobody") }));
          const plain = await dial(listener);
          await tls.wrap(plain, "client", tlsOptions("nobody")).then(
            (stream) => readAll(stream).catch(() => {}),
            () => {},
          );
        },
        { tls: tlsOptions("server") },
      ),
    );
  });
}
