import { fc } from "../../support/property.ts";
import { formatIp, parseIp } from "../../../plugins/dns/ip.ts";
import { assert, describe, it } from "../../support/harness.ts";

describe("an IP address as text", () => {
  it("comes back as Go prints it", () => {
    for (const [text, canonical] of [
      ["127.0.0.1", "127.0.0.1"],
      ["::", "::"],
      ["::1", "::1"],
      ["2001:DB8:0:0:0:0:0:5", "2001:db8::5"],
      ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
      ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
      ["::ffff:1.2.3.4", "1.2.3.4"],
      ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
    ] as const) {
      const address = parseIp(text);
      assert.ok(address !== undefined, text);
      assert.equal(formatIp(address), canonical);
    }
  });

  it("is refused when it is none", () => {
    for (const text of [
      "",
      "1.2.3",
      "1.2.3.256",
      "1.2.3.4.5",
      "1.2.3.-4",
      "www.example.com",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7:8:9",
      "::12345",
      "fe80::1%eth0",
      "1:2:3:4:5:6:7::8",
      "g::",
    ]) {
      assert.equal(parseIp(text), undefined, text);
    }
  });

  it("survives the way to text and back", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const back = parseIp(formatIp(bytes));
        assert.ok(back !== undefined);
        if (back.length === 16) assert.deepEqual(back, bytes);
      }),
    );
    fc.assert(fc.property(fc.string({ maxLength: 50 }), (text) => void parseIp(text)));
  });
});
