/** What DNS does with packets that are no proper questions: as Consul 1.8.7 did with the same bytes. */
import { fc } from "../../support/property.ts";
import dnsPacket from "dns-packet";
import { concat, fromHex, toHex, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { serviceRecord, nodeRecord } from "./fake-agent.ts";
import { bench, encodeQuery } from "./script.ts";

const plain = toHex(encodeQuery("node-a.node.consul", "A"));
const header = (flags: string, counts: string): string => `1234${flags}${counts.replaceAll(" ", "")}`;
const question = plain.slice(24);

/** Name, packet, answer: "" for none, "=" for an ordinary answer with this header flags. */
const cases: readonly (readonly [string, string, string])[] = [
  ["nothing", "", ""],
  ["less than a header", "0000000000000000000000", ""],
  ["a header alone", "123401000000000000000000", "123481010000000000000000"],
  ["a header that promises a question", "123401000001000000000000", "123481050000000000000000"],
  ["a question that the header denies", header("0100", "0000 0000 0000 0000") + question, "123481010000000000000000"],
  ["two questions", header("0100", "0002 0000 0000 0000") + question + question, "123481010000000000000000"],
  ["an answer", header("8100", "0001 0000 0000 0000") + question, ""],
  ["an inverse query", header("0900", "0001 0000 0000 0000") + question, "123489040000000000000000"],
  ["a status query", header("1100", "0001 0000 0000 0000") + question, "123491040000000000000000"],
  ["an update", header("2900", "0001 0000 0000 0000") + question, "1234a9040000000000000000"],
  ["a notification", header("2100", "0001 0000 0000 0000") + question, "=a400"],
  ["every flag set", header("07ff", "0001 0000 0000 0000") + question, "=8510"],
  ["no recursion desired", header("0000", "0001 0000 0000 0000") + question, "=8400"],
  ["bytes behind the question", `${plain}6a756e6b`, "=8500"],
  ["a question cut in its name", plain.slice(0, 50), "123481010000000000000000"],
  ["a question cut in its class", plain.slice(0, -6), "123481010000000000000000"],
  ["records that are promised and missing", header("0100", "0001 0001 0001 0002") + question, "=8500"],
  ["two answers", header("0100", "0001 0002 0000 0000") + question, "123481010000000000000000"],
  ["three additional records", header("0100", "0001 0000 0000 0003") + question, "123481010000000000000000"],
  ["a name that points to itself", "123401000001000000000000c00c00010001", "123481010000000000000000"],
  ["a label of a reserved kind", "12340100000100000000000080616100" + "00010001", "123481010000000000000000"],
  [
    "an OPT record that is cut",
    `${header("0100", "0001 0000 0000 0001")}${question}00002903e8000000000000`.slice(0, -2),
    `${header("8101", "0001 0000 0000 0000")}${question}`,
  ],
  [
    "a client subnet of no family",
    `${header("0100", "0001 0000 0000 0001")}${question}0000291000000000000008000800040009 1800`.replace(" ", ""),
    `${header("8101", "0001 0000 0000 0000")}${question}`,
  ],
  ["a question of another class", plain.slice(0, -4) + "0003", "=8500"],
  ["a question of no class", plain.slice(0, -4) + "0000", "=8500"],
];

function withCatalog(): ReturnType<typeof bench> {
  const on = bench();
  on.agent.store.nodes.push(nodeRecord({ node: "node-a", address: "127.0.0.1" }));
  for (let at = 0; at < 40; at++)
    on.agent.store.services.push(
      serviceRecord({ node: "node-a", service: "many", id: `m${at}`, address: `10.0.0.${at}`, port: at }),
    );
  return on;
}

describe("a packet that is", () => {
  for (const [name, hex, expected] of cases) {
    it(name, async () => {
      const reply = await withCatalog().answer(fromHex(hex) as Uint8Array, "udp");
      if (!expected.startsWith("=")) {
        assert.equal(reply === undefined ? "" : toHex(reply), expected);
        return;
      }
      assert.ok(reply !== undefined);
      assert.equal(toHex(reply.subarray(2, 4)), expected.slice(1));
      assert.equal(toHex(reply.subarray(12, 12 + question.length / 2)), hex.slice(24, 24 + question.length));
      assert.equal(dnsPacket.decode(Buffer.from(reply)).answers?.length, 1);
    });
  }

  it("a name with dots, spaces and bytes beyond ASCII in a label: no such node", async () => {
    for (const label of ["node-a.node", "node a", "n\u00f6de", 'a"b\\c']) {
      const bytes = utf8(label);
      const packet = concat([
        fromHex("123401000001000000000000") as Uint8Array,
        Uint8Array.of(bytes.length),
        bytes,
        utf8("\u0004node\u0006consul\u0000\u0000\u0001\u0000\u0001"),
      ]);
      const reply = await withCatalog().answer(packet, "udp");
      assert.ok(reply !== undefined);
      assert.equal((reply[3] as number) & 15, 3);
      assert.deepEqual(reply.subarray(12, packet.length), packet.subarray(12));
    }
  });
});

describe("whatever arrives", () => {
  const names = [
    "many.service.consul",
    "_many._tcp.service.consul",
    "node-a.node.consul",
    "zz.service.consul",
    "1.0.0.127.in-addr.arpa",
    "consul",
    "7f000001.addr.consul",
    "example.com",
    ".",
  ];
  const types = ["A", "AAAA", "SRV", "ANY", "TXT", "SOA", "NS", "PTR", "MX", "AXFR"];

  it("nothing is thrown, and an answer repeats the number", async () => {
    const on = withCatalog();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (packet) => {
        const reply = await on.answer(packet, "udp");
        if (reply !== undefined) assert.deepEqual(reply.subarray(0, 2), packet.subarray(0, 2));
      }),
      { numRuns: 2000 },
    );
  });

  it("a good question with some bytes changed gets a decodable answer within the client's limit, or none", async () => {
    const on = withCatalog();
    const change = fc.tuple(fc.nat({ max: 90 }), fc.nat({ max: 255 }));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.constantFrom(...types),
        fc.option(fc.constantFrom(1, 512, 700, 1232, 4096, 65535), { nil: undefined }),
        fc.array(change, { maxLength: 3 }),
        fc.constantFrom("udp", "tcp"),
        async (name, type, edns, changes, transport) => {
          const packet = encodeQuery(name, type, { edns });
          for (const [at, byte] of changes) if (at < packet.length) packet[at] = byte;
          const reply = await on.answer(packet, transport);
          if (reply === undefined) return;
          dnsPacket.decode(Buffer.from(reply));
          if (changes.length === 0 && transport === "udp")
            assert.ok(reply.length <= Math.max(512, edns ?? 0), `${reply.length} bytes`);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
