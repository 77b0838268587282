import { encodeResponse } from "../../../adapters/node-api/http-response.ts";
import type { DirectResponse } from "../../../core/ports/http.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

const plain = { head: false, close: false };

function written(response: DirectResponse, options = plain): string {
  return encodeResponse(response, options)
    .map((piece) => text(piece))
    .join("")
    .replace(/Date: [^\r]*\r\n/, "");
}

describe("an answer on the wire", () => {
  const headers = ["X-Consul-Index", "7"];
  const body = utf8("hello");

  it("that was put together a moment ago is the same bytes for the next who gets it", () => {
    for (let round = 0; round < 3; round++) {
      assert.equal(
        written({ status: 200, headers, body }),
        "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 5\r\n\r\nhello",
      );
    }
  });

  it("is put together anew for another body, header, status, wish to close or method", () => {
    const first = written({ status: 200, headers, body });
    const others = [
      written({ status: 200, headers, body: utf8("world") }),
      written({ status: 200, headers: ["X-Consul-Index", "8"], body }),
      written({ status: 404, headers, body }),
      written({ status: 200, headers, body }, { head: false, close: true }),
      written({ status: 200, headers, body }, { head: true, close: false }),
    ];
    assert.equal(new Set([first, ...others]).size, 6);
    assert.equal(written({ status: 200, headers, body }), first);
    assert.match(others[3] as string, /Connection: close\r\n\r\nhello$/);
    assert.match(others[4] as string, /Content-Length: 5\r\n\r\n$/);
  });

  it("of more than a page goes as head and body", () => {
    const large = new Uint8Array(20_000).fill(65);
    for (let round = 0; round < 2; round++) {
      const pieces = encodeResponse({ status: 200, headers, body: large }, plain);
      assert.equal(pieces.length, 2);
      assert.equal(pieces[1], large);
    }
  });
});
