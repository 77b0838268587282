/** /v1/snapshot by either way in: archives out, archives back, and archives that are none. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { readArchive } from "../../../core/codec/snapshot-archive.ts";
import { type Bytes, text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { type AgentUnderTest, createAgentUnderTest, settle } from "./agent-under-test.ts";
import { ask, askDirectly, headerOf } from "./support.ts";

const target = "/v1/snapshot";
/** Written by Consul 1.8.7: `consul agent -dev`, one key, `consul snapshot save`. */
const consuls = (): Bytes =>
  new Uint8Array(readFileSync(join(process.env["TEST_ROOT"] as string, "tests/vectors/consul-snapshot.snap")));

/** The same with two nodes, services of three kinds, checks, sessions, a lock, a deleted key, and a prepared query. */
const consulsWithQuery = (): Bytes =>
  new Uint8Array(readFileSync(join(process.env["TEST_ROOT"] as string, "tests/vectors/consul-snapshot-full.snap")));

async function putKey(agent: AgentUnderTest, key: string, value: string): Promise<void> {
  assert.equal((await ask(agent, { method: "PUT", target: `/v1/kv/${key}`, body: value })).status, 200);
}

async function storedValue(agent: AgentUnderTest, key: string): Promise<string | undefined> {
  const response = await ask(agent, { target: `/v1/kv/${key}?raw` });
  return response.status === 200 ? response.text() : undefined;
}

async function save(agent: AgentUnderTest): Promise<Bytes> {
  return new Uint8Array(await (await ask(agent, { target })).arrayBuffer());
}

async function* once(content: Bytes): AsyncGenerator<Bytes> {
  yield content;
}

describe("GET /v1/snapshot", () => {
  it("gives an archive with its type and index, that says what it holds", async () => {
    const agent = await createAgentUnderTest();
    await putKey(agent, "a", "1");
    const response = await ask(agent, { target });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/x-gzip");
    assert.equal(response.headers.get("x-consul-index"), String(agent.catalog.lastIndex));
    assert.equal(response.headers.get("x-consul-knownleader"), "true");
    assert.equal(response.headers.get("x-consul-lastcontact"), "0");
    const meta = await readArchive(once(new Uint8Array(gunzipSync(new Uint8Array(await response.arrayBuffer())))));
    assert.equal(meta.index, agent.catalog.lastIndex);
    assert.match(meta.id, new RegExp(`^2-${meta.index}-\\d+$`));
    assert.deepEqual([meta.version, meta.term, meta.servers.length], [1, 2, 1]);
  });

  it("comes by the direct path as well, and holds what only the leader's consistency sees, unless stale", async () => {
    const agent = await createAgentUnderTest();
    const direct = await askDirectly(agent, { target });
    assert.equal(headerOf(direct, "Content-Type"), "application/x-gzip");
    agent.setLeader(false);
    const refused = await ask(agent, { target });
    assert.deepEqual([refused.status, await refused.text()], [500, "No cluster leader"]);
    assert.equal((await ask(agent, { target: `${target}?dc=zz` })).status, 500);
  });

  it("may be asked again and again: nothing of an earlier one is left", async () => {
    const agent = await createAgentUnderTest();
    for (let at = 0; at < 20; at++) assert.equal((await ask(agent, { target })).status, 200);
  });
});

describe("PUT /v1/snapshot", () => {
  it("brings the state back, answers nothing, and wakes who waits", async () => {
    const agent = await createAgentUnderTest();
    await putKey(agent, "a", "1");
    await putKey(agent, "b", "2");
    const archive = await save(agent);
    await putKey(agent, "a", "changed");
    await ask(agent, { method: "DELETE", target: "/v1/kv/b" });
    await putKey(agent, "c", "3");
    const index = agent.catalog.lastIndex;
    const waiting = ask(agent, { target: `/v1/kv/a?raw&index=${index}&wait=1m` });
    await settle();
    const response = await ask(agent, { method: "PUT", target, body: archive });
    assert.deepEqual([response.status, await response.text()], [200, ""]);
    assert.equal(await (await waiting).text(), "1");
    assert.deepEqual(
      [await storedValue(agent, "a"), await storedValue(agent, "b"), await storedValue(agent, "c")],
      ["1", "2", undefined],
    );
    await putKey(agent, "d", "4");
    assert.ok((agent.catalog.evaluate({ kind: "kvGet", key: "d" }).answer?.modifyIndex ?? 0) > index);
  });

  it("brings a state of many chunks into another agent, whose indexes then are above all in it", async () => {
    const first = await createAgentUnderTest();
    for (let at = 0; at < 8; at++) await putKey(first, `big/${at}`, String(at).repeat(300_000));
    let archive: Bytes | undefined;
    void save(first).then((saved) => {
      archive = saved;
    });
    // Between parts of so much it lets other work go on.
    while (archive === undefined) {
      await settle();
      await new Promise((resolve) => setImmediate(resolve));
      first.clock.advance(1);
    }
    const second = await createAgentUnderTest();
    assert.equal((await ask(second, { method: "PUT", target, body: archive })).status, 200);
    assert.equal(await storedValue(second, "big/7"), "7".repeat(300_000));
    assert.ok(second.catalog.lastIndex >= first.catalog.lastIndex);
    const direct = await askDirectly(second, { method: "PUT", target, body: archive });
    assert.equal(direct.status, 200);
  });

  const broken: readonly (readonly [string, (archive: Bytes) => Bytes, RegExp])[] = [
    ["nothing", () => utf8(""), /^failed to decompress snapshot: EOF$/],
    ["two bytes", () => utf8("hi"), /^failed to decompress snapshot: unexpected EOF$/],
    ["some text", () => utf8("this is not an archive"), /^failed to decompress snapshot: gzip: invalid header$/],
    [
      "an archive cut in the middle",
      (archive) => archive.subarray(0, archive.length >> 1),
      /^failed to read snapshot file: .*unexpected EOF$/,
    ],
    [
      "an archive with garbage inside",
      (archive) => archive.map((byte, at) => (at > 100 && at < 120 ? 0xff : byte)),
      /flate: corrupt|invalid checksum|unexpected EOF|invalid tar header|hash check failed/,
    ],
    [
      "zeros",
      () => new Uint8Array(gzipSync(new Uint8Array(100))),
      /^failed to read snapshot file: failed reading snapshot: unexpected EOF$/,
    ],
    [
      "noise",
      () => new Uint8Array(gzipSync(new Uint8Array(2000).fill(7))),
      /^failed to read snapshot file: failed reading snapshot: archive\/tar: invalid tar header$/,
    ],
    [
      "an archive of the original Consul with something that is not kept here",
      consulsWithQuery,
      /^Cannot restore the snapshot: it holds what Proconsul does not keep: prepared queries \(1\)\. Remove them .* -partial/,
    ],
  ];
  for (const [what, make, message] of broken) {
    it(`${what} changes nothing and is told why`, async () => {
      const agent = await createAgentUnderTest();
      await putKey(agent, "a", "1");
      const archive = await save(agent);
      await putKey(agent, "a", "2");
      const index = agent.catalog.lastIndex;
      const response = await ask(agent, { method: "PUT", target, body: make(archive) });
      assert.equal(response.status, 500);
      assert.match(await response.text(), message);
      assert.equal(agent.catalog.lastIndex, index);
      assert.equal(await storedValue(agent, "a"), "2");
      assert.equal((await ask(agent, { method: "PUT", target, body: archive })).status, 200);
    });
  }

  it("an archive of the original Consul takes the place of what was there", async () => {
    const agent = await createAgentUnderTest();
    await putKey(agent, "gone", "1");
    assert.equal((await ask(agent, { method: "PUT", target, body: consuls() })).status, 200);
    assert.equal((await ask(agent, { target: "/v1/kv/gone" })).status, 404);
    assert.notEqual(await (await ask(agent, { target: "/v1/kv/?keys" })).text(), "");
  });

  it("in part, an archive of the original Consul brings nodes, services, checks, sessions, locks, keys and their indexes", async () => {
    const agent = await createAgentUnderTest();
    assert.equal((await ask(agent, { method: "PUT", target: `${target}?partial`, body: consulsWithQuery() })).status, 200);
    const json = async (path: string): Promise<unknown> => JSON.parse(await (await ask(agent, { target: path })).text());
    assert.deepEqual(await json("/v1/kv/?keys"), ["a/b", "empty", "lock"]);
    assert.equal(await storedValue(agent, "a/b"), "hello");
    const [flagged] = (await json("/v1/kv/a/b")) as Record<string, unknown>[];
    assert.match(await (await ask(agent, { target: "/v1/kv/a/b" })).text(), /"Flags":18446744073709551615,/);
    assert.deepEqual([flagged?.["CreateIndex"], flagged?.["ModifyIndex"]], [7, 7]);
    const [locked] = (await json("/v1/kv/lock")) as Record<string, unknown>[];
    const sessions = (await json("/v1/session/list")) as Record<string, unknown>[];
    assert.equal(sessions.length, 2);
    assert.ok(sessions.some((session) => session["ID"] === locked?.["Session"] && session["Behavior"] === "delete"));
    assert.deepEqual(await json("/v1/catalog/services"), {
      consul: [],
      db: [],
      web: ["a", "b"],
      "web-proxy": [],
    });
    const [web] = (await json("/v1/health/service/web")) as { Service: Record<string, unknown>; Checks: unknown[] }[];
    assert.deepEqual(
      [web?.Service["Weights"], web?.Service["TaggedAddresses"], web?.Service["Meta"], web?.Checks.length],
      [{ Passing: 3, Warning: 2 }, { lan: { Address: "1.2.3.4", Port: 90 } }, { m: "1" }, 2],
    );
    const [check] = (await json("/v1/health/node/ext")) as Record<string, unknown>[];
    assert.deepEqual(check?.["Definition"], { Interval: "5s", Timeout: "1s", HTTP: "http://x", Header: { A: ["b"] } });
    assert.equal((await ask(agent, { target: "/v1/catalog/service/web" })).headers.get("x-consul-index"), "12");
    // What is written from now on comes above.
    await putKey(agent, "later", "1");
    const [later] = (await json("/v1/kv/later")) as Record<string, number>[];
    assert.ok((later?.["ModifyIndex"] ?? 0) > 19);
  });

  it("any byte changed changes nothing, or was one that means nothing", async () => {
    const agent = await createAgentUnderTest();
    await putKey(agent, "a", "1");
    const archive = await save(agent);
    await putKey(agent, "a", "2");
    // The name of the operating system and the like: ten bytes of gzip that no checksum covers.
    for (let at = 10; at < archive.length; at += 13) {
      const flipped = archive.slice();
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
      const response = await ask(agent, { method: "PUT", target, body: flipped });
      assert.equal(response.status, 500, `byte ${at}`);
      assert.equal(await storedValue(agent, "a"), "2");
    }
  });

  it("a bomb is refused as soon as it claims more than can be", async () => {
    const agent = await createAgentUnderTest();
    const header = new Uint8Array(gunzipSync(await save(agent))).slice(0, 1536);
    // The size field of state.bin, and its header's checksum with it.
    const at = 1024;
    header.set(utf8("77777777777"), at + 124);
    let sum = 0;
    for (let byte = 0; byte < 512; byte++) sum += byte >= 148 && byte < 156 ? 32 : (header[at + byte] as number);
    header.set(utf8(`${sum.toString(8).padStart(6, "0")}\0 `), at + 148);
    const response = await ask(agent, { method: "PUT", target, body: new Uint8Array(gzipSync(header)) });
    assert.match(await response.text(), /8589934591 bytes exceed the limit of 1073741824$/);
  });

  it("one at a time", async () => {
    const agent = await createAgentUnderTest();
    const archive = await save(agent);
    const [first, second] = await Promise.all([
      ask(agent, { method: "PUT", target, body: archive }),
      ask(agent, { method: "PUT", target, body: archive }),
    ]);
    assert.deepEqual([first.status, second.status], [200, 429]);
    assert.equal((await ask(agent, { method: "PUT", target, body: archive })).status, 200);
  });

  it("another datacenter is refused, and so is another method", async () => {
    const agent = await createAgentUnderTest();
    const refused = await ask(agent, { method: "PUT", target: `${target}?dc=zz`, body: await save(agent) });
    assert.deepEqual([refused.status, await refused.text()], [500, "No path to datacenter"]);
    assert.equal((await ask(agent, { method: "DELETE", target })).status, 405);
    assert.equal(
      text((await askDirectly(agent, { method: "PUT", target, body: "" })).body),
      "failed to decompress snapshot: EOF",
    );
  });
});
