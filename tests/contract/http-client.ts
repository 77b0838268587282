import type { HttpClientRequest, HttpClientResponse } from "../../core/ports/http.ts";
import type { ByteStream, StreamListener } from "../../core/ports/streams.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe } from "../support/harness.ts";
import { claim, deferred, rejection, type Subject } from "./subject.ts";

export function httpClientContract(subject: Subject<"streams" | "httpClient">): void {
  const { httpClient, streams } = subject.runtime;

  /** A server that answers the nth request on any connection with the nth text, and keeps what it was sent. */
  const scripted = async (
    answers: readonly string[],
    act: (server: { url: string; asked: string[]; connections: () => number }) => Promise<void>,
  ): Promise<void> => {
    const asked: string[] = [];
    let connections = 0;
    const serve = async (stream: ByteStream): Promise<void> => {
      connections++;
      for (;;) {
        const request = await stream.read().catch(() => undefined);
        if (request === undefined) return;
        asked.push(text(request));
        const answer = answers[asked.length - 1] ?? "";
        stream.write(utf8(answer.replace("[end]", "")));
        if (!answer.includes("[end]")) continue;
        await stream.closeWrite().catch(() => {});
        return;
      }
    };
    const listener: StreamListener = await streams.listen({ host: subject.address, port: 0 }, (stream) => void serve(stream));
    try {
      await act({ url: `http://${listener.local.host}:${listener.local.port}`, asked, connections: () => connections });
    } finally {
      await listener.close();
    }
  };
  const get = (url: string, options: Partial<HttpClientRequest> = {}): Promise<HttpClientResponse> =>
    httpClient.request({ method: "GET", url, ...options });
  const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

  describe(`http client of ${subject.name}`, () => {
    claim(subject, "a request carries method, path, host, headers and body", () =>
      scripted([ok], async ({ url, asked }) => {
        const headers = { "X-One": "1", Many: ["a", "b"] };
        const response = await httpClient.request({ method: "PUT", url: `${url}/v1/kv/a?flags=1`, headers, body: utf8("value") });
        assert.deepEqual(
          [response.status, response.statusText, text(response.body), response.truncated],
          [200, "OK", "ok", false],
        );
        assert.equal(
          asked[0],
          `PUT /v1/kv/a?flags=1 HTTP/1.1\r\nHost: ${url.slice(7)}\r\nUser-Agent: Go-http-client/1.1\r\nX-One: 1\r\nMany: a\r\nMany: b\r\nContent-Length: 5\r\n\r\nvalue`,
        );
      }),
    );

    claim(subject, "an own Host header wins, and names are in lower case in the answer", () =>
      scripted(
        ["HTTP/1.1 404 Nothing Here\r\nX-Consul-Index:  7 \r\nX-Consul-Index: 8\r\nContent-Length: 0\r\n\r\n"],
        async ({ url, asked }) => {
          const response = await get(url, { headers: { Host: "other" } });
          assert.match(asked[0] ?? "", /^GET \/ HTTP\/1\.1\r\nUser-Agent: .*\r\nHost: other\r\n\r\n$/);
          assert.deepEqual(
            [response.status, response.statusText, response.headers["x-consul-index"]],
            [404, "Nothing Here", "7, 8"],
          );
        },
      ),
    );

    claim(subject, "bodies are read by chunks, to the end of the connection, or not at all", () =>
      scripted(
        [
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
          "HTTP/1.1 204 No Content\r\n\r\n",
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
          "HTTP/1.0 200 OK\r\n\r\nuntil the end[end]",
        ],
        async ({ url, connections }) => {
          assert.equal(text((await get(url)).body), "abcde");
          assert.equal(text((await get(url)).body), "");
          assert.equal(text((await get(url)).body), "x");
          assert.equal(text((await get(url)).body), "until the end");
          assert.equal(connections(), 1);
        },
      ),
    );

    claim(subject, "a connection is used again, unless it is asked not to be", () =>
      scripted([ok, ok, ok], async ({ url, connections, asked }) => {
        await get(url);
        await get(url, { closeAfter: true });
        assert.match(asked[1] ?? "", /Connection: close/);
        assert.equal(connections(), 1);
        await get(url);
        assert.equal(connections(), 2);
      }),
    );

    claim(subject, "a kept connection that the server closed is replaced without anyone noticing", () =>
      scripted([`${ok}[end]`, ok], async ({ url, connections }) => {
        await get(url);
        assert.equal(text((await get(url)).body), "ok");
        assert.equal(connections(), 2);
      }),
    );

    claim(subject, "an answer to HEAD has no body, whatever its length says", () =>
      scripted(["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", ok], async ({ url }) => {
        assert.equal((await get(url, { method: "HEAD" })).body.length, 0);
        assert.equal(text((await get(url)).body), "ok");
      }),
    );

    claim(subject, "a body beyond the bound is cut and says so", () =>
      scripted(["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", ok, ok], async ({ url }) => {
        const cut = await get(url, { responseBytesMax: 4 });
        assert.deepEqual([text(cut.body), cut.truncated], ["0123", true]);
        const fits = await get(url, { responseBytesMax: 2 });
        assert.deepEqual([text(fits.body), fits.truncated], ["ok", false]);
      }),
    );

    claim(subject, "redirects are answers by default, and followed to a bound on request", async () => {
      const to = (status: number, location: string): string =>
        `HTTP/1.1 ${status} Moved\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`;
      await scripted([to(301, "/b")], async ({ url }) => assert.equal((await get(url)).status, 301));
      await scripted([to(302, "/b"), to(307, "c?d"), ok], async ({ url, asked }) => {
        const response = await httpClient.request({ method: "PUT", url: `${url}/a`, body: utf8("x"), redirectsMax: 10 });
        assert.equal(text(response.body), "ok");
        assert.deepEqual(
          asked.map((request) => request.split(" HTTP")[0]),
          ["PUT /a", "GET /b", "GET /c?d"],
        );
      });
      await scripted([to(302, "/1"), to(302, "/2"), to(302, "/3")], async ({ url }) => {
        assert.equal((await rejection(get(url, { redirectsMax: 2 }))).message, `Get "${url}/3": stopped after 2 redirects`);
      });
    });

    claim(subject, "nobody listening is connection-refused, in Go's words", async () => {
      const listener = await streams.listen({ host: subject.address, port: await subject.port() }, () => {});
      await listener.close();
      const { host, port } = listener.local;
      const error = await rejection(get(`http://${host}:${port}/v1/status`));
      assert.equal(error.code, "connection-refused");
      assert.equal(
        error.message,
        `Get "http://${host}:${port}/v1/status": dial tcp ${host}:${port}: connect: connection refused`,
      );
    });

    claim(subject, "no answer in time is a timeout, in Go's words, and the connection is closed", async () => {
      const closed = deferred<void>();
      let reached = false;
      const listener = await streams.listen({ host: subject.address, port: 0 }, (stream) => {
        const drain = async (): Promise<void> => {
          while ((await stream.read().catch(() => undefined)) !== undefined) reached = true;
          if (reached) closed.resolve();
        };
        void drain();
      });
      const url = `http://${listener.local.host}:${listener.local.port}/`;
      // On a slow machine the time may be over before the request has reached the server.
      for (let timeout = 50; !reached; timeout *= 4) {
        const error = await rejection(get(url, { timeout }));
        assert.equal(error.code, "timeout");
        assert.equal(error.message, `Get "${url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`);
      }
      await closed.promise;
      await listener.close();
    });

    claim(subject, "a cancelled request rejects with cancelled", () =>
      scripted([], async ({ url }) => {
        const controller = new AbortController();
        const asking = rejection(httpClient.request({ method: "PUT", url, cancel: controller.signal }));
        controller.abort();
        const error = await asking;
        assert.deepEqual([error.code, error.message], ["cancelled", `Put "${url}": context canceled`]);
        assert.equal((await rejection(get(url, { cancel: AbortSignal.abort() }))).code, "cancelled");
      }),
    );

    claim(subject, "a connection closed before or within the answer is connection-closed", async () => {
      await scripted(["[end]"], async ({ url }) => {
        const error = await rejection(get(url));
        assert.deepEqual([error.code, error.message], ["connection-closed", `Get "${url}": EOF`]);
      });
      await scripted(["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab[end]"], async ({ url }) => {
        assert.equal((await rejection(get(url))).message, `Get "${url}": unexpected EOF`);
      });
    });

    claim(subject, "an answer that is no HTTP, or smuggles, is refused", async () => {
      for (const answer of [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        `HTTP/1.1 200 OK\r\nX: ${"x".repeat(70_000)}\r\n\r\n`,
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(10),
      ]) {
        await scripted([answer], async ({ url }) =>
          assert.match((await rejection(get(url))).message, /^Get "http:/, answer.slice(0, 60)),
        );
      }
    });

    claim(subject, "who receives a body in pieces gets them as they come, and all of them before the answer", () =>
      scripted(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlog \r\n5\r\nlines\r\n0\r\n\r\n"], async ({ url }) => {
        const pieces: string[] = [];
        const response = await get(url, { receive: (piece) => pieces.push(text(piece)) });
        assert.deepEqual([pieces.join(""), response.status, response.body.length], ["log lines", 200, 0]);
      }),
    );

    claim(subject, "a refusal is an answer, and comes whole to who would have received pieces", () =>
      scripted(["HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"], async ({ url }) => {
        const pieces: string[] = [];
        const response = await get(url, { receive: (piece) => pieces.push(text(piece)) });
        assert.deepEqual([pieces, response.status, text(response.body)], [[], 400, "no"]);
      }),
    );

    claim(subject, "who receives pieces may cancel between two of them", () =>
      scripted(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlog \r\n"], async ({ url }) => {
        const stop = new AbortController();
        const error = await rejection(get(url, { cancel: stop.signal, receive: () => stop.abort() }));
        assert.equal(error.code, "cancelled");
      }),
    );

    claim(subject, "a request that could not be written safely is refused", async () => {
      for (const request of [
        { method: "GET", url: "ftp://x/" },
        { method: "GET", url: "nonsense" },
        { method: "GET /\r\n", url: `http://${subject.address}/` },
        { method: "GET", url: `http://${subject.address}/`, headers: { "X-A": "a\r\nX-B: b" } },
        { method: "GET", url: `http://${subject.address}/`, headers: { "X A": "a" } },
      ]) {
        await scripted([], async ({ url }) => {
          const target = request.url.startsWith(`http://${subject.address}`) ? url : request.url;
          assert.equal((await rejection(httpClient.request({ ...request, url: target }))).code, "bad-request");
        });
      }
    });
  });
}
