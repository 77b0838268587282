import { fc } from "../../support/property.ts";
import { headerIn, plainHeadBytesMax, readPlainHead } from "../../../adapters/node-api/http-head.ts";
import { assert, describe, it } from "../../support/harness.ts";

const read = (text: string): ReturnType<typeof readPlainHead> => readPlainHead(Buffer.from(text, "latin1"), 0);

describe("plain request heads", () => {
  it("a plain head gives method, target, length of head and body, and whether to close", () => {
    assert.deepEqual(read("PUT /v1/kv/a?x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"), {
      method: "PUT",
      target: "/v1/kv/a?x",
      lines: "Host: x\r\nContent-Length: 3\r\nConnection: close\r\n",
      length: 74,
      contentLength: 3,
      close: true,
    });
  });

  it("every beginning of a plain head is incomplete", () => {
    const head = "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
    for (let length = 1; length < head.length; length++)
      assert.equal(read(head.slice(0, length)), "incomplete", head.slice(0, length));
  });

  it("whatever two parsers could read differently is unusual", () => {
    const odd = [
      "GET / HTTP/1.0\r\nHost: x",
      "GET  / HTTP/1.1\r\nHost: x",
      "get / HTTP/1.1\r\nHost: x",
      "GET http://x/ HTTP/1.1\r\nHost: x",
      "GET / HTTP/1.1\nHost: x",
      "GET / HTTP/1.1\r\nHost : x",
      "GET / HTTP/1.1\r\nHost: x\r\n folded",
      "GET / HTTP/1.1\r\nHost: x\r\nHost: y",
      "GET / HTTP/1.1\r\nAccept: x",
      "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc",
      "GET / HTTP/1.1\r\nHost: x\r\nA: b\nc: d",
      "GET / HTTP/1.1\r\nHost: x\r\nA: \0",
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\ncontent-length: 1",
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1",
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1",
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999",
      "GET / HTTP/1.1\r\nHost: x\r\ntransfer-ENCODING: chunked",
      "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue",
      "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket",
      "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, x",
      "GET / HTTP/1.1\r\nHost: x\r\n: empty",
      "\r\nGET / HTTP/1.1\r\nHost: x",
      "OPTIONS * HTTP/1.1\r\nHost: x",
    ];
    for (const head of odd) assert.equal(read(`${head}\r\n\r\n`), "unusual", JSON.stringify(head));
  });

  it("a head that does not end within the bound is unusual", () => {
    assert.equal(read(`GET / HTTP/1.1\r\nHost: ${"x".repeat(plainHeadBytesMax)}`), "unusual");
  });

  it("any bytes are answered, never thrown at, and the length never exceeds them", () => {
    const tokens = [
      "GET",
      "PUT",
      " ",
      "/",
      " HTTP/1.1",
      "\r\n",
      "\r\n\r\n",
      "\r",
      "\n",
      ":",
      "Host: x",
      "Content-Length: ",
      "7",
      "\0",
      "\xff",
      "a",
    ];
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
          fc.array(fc.constantFrom(...tokens)).map((parts) => Buffer.from(parts.join(""), "latin1")),
        ),
        (bytes) => {
          const head = readPlainHead(bytes, 0);
          if (typeof head === "object") assert.ok(head.length <= bytes.length && head.target.startsWith("/"));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("a header is found by its whole name, the first of several", () => {
    const lines = "X-Token-Extra: 1\r\nx-TOKEN:\t 2 \r\nX-Token: 3\r\n";
    assert.equal(headerIn(lines, "x-token"), "2");
    assert.equal(headerIn(lines, "token"), undefined);
  });
});
