/** Whatever is sent: an answer, never a crash, never a 5xx that is our own fault. */
import { fc } from "../../support/property.ts";
import { parseJson } from "../../../core/config/json.ts";
import { text } from "../../../core/types/bytes.ts";
import { parseUint64 } from "../../../plugins/http/go.ts";
import { indentJson, jsonString } from "../../../plugins/http/json-write.ts";
import { parseQueryString } from "../../../plugins/http/query-string.ts";
import { parseTarget } from "../../../plugins/http/target.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { createAgentUnderTest } from "./agent-under-test.ts";
import { ask, askDirectly, directRequest } from "./support.ts";

const piece = fc.constantFrom(
  "/v1",
  "/kv",
  "/catalog",
  "/node",
  "/service",
  "/agent",
  "/health",
  "/..",
  "//",
  "/.",
  "%2e",
  "%ff",
  "%",
  "%00",
  "\\",
  "/x",
  "é",
  "\u202e",
  "/self",
  "/txn",
  "/register",
);
const path = fc.array(piece, { maxLength: 8 }).map((pieces) => `/v1${pieces.join("")}`);
const parameter = fc.constantFrom(
  "index",
  "wait",
  "stale",
  "consistent",
  "cached",
  "dc",
  "ns",
  "filter",
  "near",
  "node-meta",
  "tag",
  "passing",
  "keys",
  "recurse",
  "raw",
  "separator",
  "cas",
  "flags",
  "acquire",
  "release",
  "pretty",
  "enable",
  "hash",
  "wan",
  "token",
);
const value = fc.oneof(
  fc.constantFrom("", "0", "-1", "5s", "1", "x y", "%zz", "%41", "99999999999999999999", "a:b", "true"),
  fc.string({ maxLength: 12 }),
);
const query = fc
  .array(fc.tuple(parameter, value), { maxLength: 4 })
  .map((fields) =>
    fields.length === 0 ? "" : `?${fields.map(([name, given]) => `${name}=${given.replace(/[#\s]/g, "")}`).join("&")}`,
  );
const method = fc.constantFrom("GET", "PUT", "DELETE", "POST", "OPTIONS", "HEAD");
/** Things that wait, or leave: the fuzzer does without them. */
const excluded = /[?&](?:index|hash)=|\/leave/;

/** Texts of our own mistakes. */
const ourFault = /assertion failed|unreachable|undefined|is not a function|Cannot read|TypeError|\[object/;

describe("hostile requests", () => {
  it("any target by either way gets an answer that is not our fault", async () => {
    const agent = await createAgentUnderTest();
    await fc.assert(
      fc.asyncProperty(method, path, query, fc.string({ maxLength: 40 }), async (verb, somePath, someQuery, body) => {
        const target = `${somePath}${someQuery}`;
        if (excluded.test(target)) return;
        const direct = await askDirectly(agent, { method: verb, target, body });
        assert.ok(!ourFault.test(text(direct.body)), `${verb} ${target}: ${text(direct.body)}`);
        const response = await ask(agent, { method: verb, target, body });
        const answer = await response.text();
        assert.ok(!ourFault.test(answer), `${verb} ${target}: ${answer}`);
      }),
      { numRuns: 1500 },
    );
  });

  it("any bytes as a body get an answer that is not our fault", async () => {
    const agent = await createAgentUnderTest();
    const targets = [
      "/v1/catalog/register",
      "/v1/catalog/deregister",
      "/v1/session/create",
      "/v1/txn",
      "/v1/agent/service/register",
      "/v1/agent/check/register",
      "/v1/agent/check/update/x",
      "/v1/coordinate/update",
    ];
    const nearlyRight = fc
      .json()
      .map((json) => json.replace(/"[^"]*"(?=:)/g, (key) => (key.length % 2 === 0 ? '"Service"' : '"KV"')));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...targets),
        fc.oneof(fc.json(), nearlyRight, fc.string(), fc.uint8Array({ maxLength: 60 })),
        async (target, body) => {
          const response = await ask(agent, { method: "PUT", target, body });
          const answer = await response.text();
          assert.ok(!ourFault.test(answer), `${target} ${String(body)}: ${answer}`);
        },
      ),
      { numRuns: 1500 },
    );
  });

  it("a plain write has the same effect and the same answer by either way", async () => {
    const [one, other] = await Promise.all([createAgentUnderTest(), createAgentUnderTest()]);
    const key = fc
      .string({ minLength: 1, maxLength: 12 })
      .map((name) => encodeURIComponent(name.replace(/[^ -~]/g, "x")).replaceAll("%2F%2F", "x"));
    const change = fc.constantFrom(
      "",
      "?flags=7",
      "?cas=0",
      "?cas=12",
      "?acquire=11111111-1111-1111-1111-111111111111",
      "?release=11111111-1111-1111-1111-111111111111",
    );
    await fc.assert(
      fc.asyncProperty(key, change, fc.string(), async (name, suffix, body) => {
        const target = `/v1/kv/${name}${suffix}`;
        if (new URL(target, "http://x").href !== `http://x${target}`) return;
        const direct = await askDirectly(one, { method: "PUT", target, body });
        const response = await ask(other, { method: "PUT", target, body });
        const given = await response.text();
        assert.deepEqual([direct.status, text(direct.body)], [response.status, given]);
        const look = `/v1/kv/${name}`;
        assert.equal(await (await ask(one, { target: look })).text(), await (await ask(other, { target: look })).text());
      }),
      { numRuns: 400 },
    );
  });

  it("the direct path never throws, whatever the target", async () => {
    const agent = await createAgentUnderTest();
    await fc.assert(
      fc.asyncProperty(method, fc.string(), async (verb, target) => {
        await agent.direct.handle(directRequest({ method: verb, target }));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("parsers", () => {
  it("any string is a target or is refused", () => {
    fc.assert(fc.property(fc.string(), (target) => void parseTarget(target, true)));
  });

  it("a clean target is its own redirect's end", () => {
    fc.assert(
      fc.property(path, (target) => {
        const first = parseTarget(target, false);
        if (first.kind !== "redirect") return;
        const second = parseTarget(first.location, false);
        assert.equal(second.kind, "path");
      }),
    );
  });

  it("any string is a query string or is refused", () => {
    fc.assert(fc.property(fc.string(), (raw) => void parseQueryString(raw)));
  });

  it("an encoded query string reads back as it was", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ minLength: 1 }), fc.string()), (fields) => {
        const wellFormed = (value: string): boolean => !/\p{Surrogate}/u.test(value);
        const entries = Object.entries(fields).filter(([name, given]) => wellFormed(name) && wellFormed(given));
        const raw = entries.map(([name, given]) => `${encodeURIComponent(name)}=${encodeURIComponent(given)}`).join("&");
        const again = parseQueryString(parseQueryString(raw)!.encode())!;
        for (const [name, given] of entries) assert.equal(again.get(name), given);
      }),
    );
  });

  it("a number is read exactly or refused", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (number) => {
        const parsed = parseUint64(String(number));
        assert.ok("value" in parsed && BigInt(parsed.value) === number);
      }),
    );
    assert.ok("error" in parseUint64("18446744073709551616"));
  });

  it("every string is written as JSON that reads back, with Go's escapes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (given) => {
        const written = jsonString(given);
        assert.equal(JSON.parse(written), given.replace(/\p{Surrogate}/gu, "\ufffd"));
        assert.ok(!/[<>&\u2028\u2029]/.test(written));
      }),
    );
  });

  it("indented JSON means what the compact one meant", () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const compact = JSON.stringify(JSON.parse(json));
        assert.equal(indentJson(compact), JSON.stringify(JSON.parse(json), undefined, 4));
        parseJson(indentJson(compact));
      }),
    );
  });
});
