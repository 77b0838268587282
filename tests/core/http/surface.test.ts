/** What the recordings do not show: limits, filters, compression, blocking, reloads. */
import { text } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { createAgentUnderTest, settle } from "./agent-under-test.ts";
import { ask, askDirectly, headerOf } from "./support.ts";

const put = (target: string, body: string | Uint8Array = "x") => ({ method: "PUT", target, body });

describe("bodies", () => {
  it("a value of exactly the limit is stored, one byte more is refused with both numbers", async () => {
    const agent = await createAgentUnderTest();
    assert.equal((await ask(agent, put("/v1/kv/big", new Uint8Array(524_288)))).status, 200);
    const refused = await ask(agent, put("/v1/kv/big", new Uint8Array(524_289)));
    assert.equal(refused.status, 413);
    assert.equal(
      await refused.text(),
      "Request body(524289 bytes) too large, max size: 524288 bytes. See https://www.consul.io/docs/agent/options.html#kv_max_value_size.",
    );
    assert.equal((await askDirectly(agent, put("/v1/kv/big", new Uint8Array(524_289)))).status, 413);
  });

  it("a body without a length is read no further than the limit", async () => {
    const agent = await createAgentUnderTest();
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(65_536));
      },
    });
    const request = new Request("http://x/v1/kv/big", { method: "PUT", body: endless, duplex: "half" } as RequestInit);
    const response = await agent.app.fetch(request, { host: "127.0.0.1", port: 1 });
    assert.equal(response.status, 413);
    assert.ok(pulled < 20, `pulled ${pulled} times`);
  });

  it("a transaction of 65 operations is refused, and so is a body beyond the limit", async () => {
    const agent = await createAgentUnderTest();
    const many = JSON.stringify(Array.from({ length: 65 }, () => ({ KV: { Verb: "get", Key: "a" } })));
    const refused = await ask(agent, put("/v1/txn", many));
    assert.equal(refused.status, 413);
    assert.equal(await refused.text(), "Transaction contains too many operations (65 > 64)");
    const large = await ask(agent, put("/v1/txn", new Uint8Array(524_289)));
    assert.equal(large.status, 413);
    assert.match(await large.text(), /#txn_max_req_len\.$/);
  });

  it("JSON nested beyond any use is refused, not followed", async () => {
    const agent = await createAgentUnderTest();
    const deep = await ask(agent, put("/v1/catalog/register", "[".repeat(200_000)));
    assert.equal(deep.status, 400);
  });
});

describe("who may do what", () => {
  it("a blocked prefix answers 403 and its neighbours do not", async () => {
    const agent = await createAgentUnderTest('http_config { block_endpoints = ["/v1/kv/secret"] }');
    const blocked = await ask(agent, { target: "/v1/kv/secret/a" });
    assert.equal(blocked.status, 403);
    assert.equal(await blocked.text(), "Endpoint is blocked by agent configuration");
    assert.equal((await ask(agent, put("/v1/kv/other"))).status, 200);
    assert.equal((await askDirectly(agent, put("/v1/kv/secret/a"))).status, 403);
  });

  it("writes come from the allowed networks only, reads from anywhere", async () => {
    const agent = await createAgentUnderTest('http_config { allow_write_http_from = ["10.0.0.0/8", "::1/128"] }');
    const write = (from: string) => ask(agent, { ...put("/v1/kv/a"), from });
    assert.equal((await write("10.1.2.3")).status, 200);
    assert.equal((await write("::1")).status, 200);
    assert.equal((await write("::ffff:10.1.2.3")).status, 200);
    const refused = await write("11.1.2.3");
    assert.equal(refused.status, 403);
    assert.equal(await refused.text(), "Access is restricted");
    assert.equal((await write("")).status, 403);
    assert.equal((await ask(agent, { target: "/v1/kv/a", from: "11.1.2.3" })).status, 200);
    assert.equal((await askDirectly(agent, { ...put("/v1/kv/a"), from: "11.1.2.3" })).status, 403);
  });

  it("configured headers go with every answer of either path", async () => {
    const agent = await createAgentUnderTest('http_config { response_headers { "X-Own" = "yes" } }');
    for (const target of ["/v1/kv/none", "/v1/status/leader", "/v1/acl/list"]) {
      assert.equal((await ask(agent, { target })).headers.get("x-own"), "yes");
    }
    const direct = await askDirectly(agent, put("/v1/kv/a"));
    assert.equal(headerOf(direct!, "X-Own"), "yes");
  });
});

describe("compression", () => {
  it("gzip is used when it is accepted, and the direct path gives the same bytes", async () => {
    const agent = await createAgentUnderTest();
    const headers = { "Accept-Encoding": "deflate, gzip;q=0.5" };
    const plain = await (await ask(agent, { target: "/v1/catalog/nodes" })).text();
    const zipped = await ask(agent, { target: "/v1/catalog/nodes", headers });
    assert.equal(zipped.headers.get("content-encoding"), "gzip");
    const bytes = new Uint8Array(await zipped.arrayBuffer());
    assert.equal(await gunzip(bytes), plain);
    const direct = await askDirectly(agent, { target: "/v1/catalog/nodes", headers });
    assert.equal(headerOf(direct!, "Content-Encoding"), "gzip");
    assert.deepEqual(direct!.body, bytes);
  });

  it("a weight of zero refuses it, and an empty body is never compressed", async () => {
    const agent = await createAgentUnderTest();
    const refused = await ask(agent, { target: "/v1/status/leader", headers: { "Accept-Encoding": "gzip;q=0" } });
    assert.equal(refused.headers.get("content-encoding"), null);
    const empty = await ask(agent, { target: "/v1/kv/none", headers: { "Accept-Encoding": "gzip" } });
    assert.equal(empty.headers.get("content-encoding"), null);
    assert.equal(empty.headers.get("content-length"), "0");
  });
});

describe("shared reads", () => {
  it("equal requests get the very same bytes until something changes", async () => {
    const agent = await createAgentUnderTest();
    await ask(agent, put("/v1/kv/a", "1"));
    await ask(agent, { target: "/v1/kv/a" });
    const first = await askDirectly(agent, { target: "/v1/kv/a" });
    const second = await askDirectly(agent, { target: "/v1/kv/a" });
    assert.equal(first!.body, second!.body);
    assert.equal(first!.headers, second!.headers);
    await ask(agent, put("/v1/kv/a", "2"));
    const third = await askDirectly(agent, { target: "/v1/kv/a" });
    assert.match(text(third!.body), /"Value":"Mg=="/);
  });

  it("a target is remembered once it was answered, and all are forgotten on a reload", async () => {
    const agent = await createAgentUnderTest();
    assert.equal(agent.hot.size, 0);
    const first = await askDirectly(agent, { target: "/v1/catalog/services" });
    assert.equal(agent.hot.size, 1);
    assert.deepEqual(await askDirectly(agent, { target: "/v1/catalog/services" }), first);
    agent.agent.config = { ...agent.agent.config };
    await askDirectly(agent, { target: "/v1/status/leader" });
    assert.equal(agent.hot.size, 0);
  });

  it("a namespace is refused also for a target that is remembered without one", async () => {
    const agent = await createAgentUnderTest();
    await ask(agent, { target: "/v1/catalog/services" });
    assert.equal(
      (await askDirectly(agent, { target: "/v1/catalog/services", headers: { "X-Consul-Namespace": "x" } })).status,
      400,
    );
  });

  it("as many targets as anybody invents are remembered only up to the bound", async () => {
    const agent = await createAgentUnderTest();
    for (let key = 0; key < 9000; key++) await ask(agent, { target: `/v1/kv/k${key}` });
    assert.equal(agent.hot.size, 8192);
  });

  it("?cached says whether the answer was kept", async () => {
    const agent = await createAgentUnderTest();
    const first = await ask(agent, { target: "/v1/health/service/consul?cached" });
    assert.deepEqual([first.headers.get("x-cache"), first.headers.get("age")], ["MISS", null]);
    const second = await ask(agent, { target: "/v1/health/service/consul?cached" });
    assert.deepEqual([second.headers.get("x-cache"), second.headers.get("age")], ["HIT", "0"]);
  });
});

for (const way of ["application", "direct path"] as const) {
  describe(`blocking reads through the ${way}`, () => {
    const prepare = async () => {
      const agent = await createAgentUnderTest();
      await ask(agent, put("/v1/kv/a", "1"));
      const now = await ask(agent, { target: "/v1/kv/a" });
      const index = Number(now.headers.get("x-consul-index"));
      const wait = async (target: string, signal?: AbortSignal): Promise<{ status: number; body: string }> => {
        const asked = { target, ...(signal === undefined ? {} : { signal }) };
        if (way === "application") {
          const response = await ask(agent, asked);
          return { status: response.status, body: await response.text() };
        }
        const response = await askDirectly(agent, asked);
        return { status: response.status, body: text(response.body) };
      };
      return { agent, index, wait };
    };

    it("return when the key changes", async () => {
      const { agent, index, wait } = await prepare();
      const waiting = wait(`/v1/kv/a?index=${index}&wait=10s`);
      await settle();
      assert.equal(agent.shared.counts.waiters, 1);
      await ask(agent, put("/v1/kv/a", "2"));
      assert.match((await waiting).body, /"Value":"Mg=="/);
      assert.equal(agent.shared.counts.waiters, 0);
    });

    it("return what there is when the time is over", async () => {
      const { agent, index, wait } = await prepare();
      const waiting = wait(`/v1/kv/a?wait=10s&index=${index}`);
      await settle();
      await agent.clock.advance(12_000);
      assert.match((await waiting).body, /"Value":"MQ=="/);
    });

    it("are freed when the client goes away", async () => {
      const { agent, index, wait } = await prepare();
      const client = new AbortController();
      const waiting = wait(`/v1/kv/a?index=${index}`, client.signal);
      await settle();
      client.abort();
      await waiting;
      assert.equal(agent.shared.counts.waiters, 0);
      assert.deepEqual(agent.errors, []);
    });

    it("do not block for an index that is passed already", async () => {
      const { index, wait } = await prepare();
      assert.equal((await wait(`/v1/kv/a?index=${index - 1}`)).status, 200);
    });
  });
}

describe("the pages of the UI", () => {
  it("wait for a change of any node, service or check, and leave nobody waiting", async () => {
    const agent = await createAgentUnderTest();
    const index = Number((await ask(agent, { target: "/v1/internal/ui/services" })).headers.get("x-consul-index"));
    const waiting = ask(agent, { target: `/v1/internal/ui/services?index=${index}` });
    await settle();
    assert.equal(agent.shared.counts.waiters, 3);
    const check = { CheckID: "serfHealth", Name: "Serf Health Status", Status: "critical" };
    await ask(agent, put("/v1/catalog/register", JSON.stringify({ Node: "node-a", SkipNodeUpdate: true, Check: check })));
    assert.match(await (await waiting).text(), /"ChecksCritical":1/);
    await settle();
    assert.equal(agent.shared.counts.waiters, 0);
  });
});

describe("the agent's own services", () => {
  it("a read with the current hash waits for the service to change", async () => {
    const agent = await createAgentUnderTest();
    const register = (port: number) => ask(agent, put("/v1/agent/service/register", JSON.stringify({ Name: "web", Port: port })));
    await register(1);
    const hash = (await ask(agent, { target: "/v1/agent/service/web" })).headers.get("x-consul-contenthash");
    const waiting = ask(agent, { target: `/v1/agent/service/web?hash=${hash}&wait=1m` });
    await settle();
    await register(2);
    await agent.clock.advance(200);
    const changed = await waiting;
    assert.notEqual(changed.headers.get("x-consul-contenthash"), hash);
    assert.match(await changed.text(), /"Port":2/);
    assert.equal(agent.clock.pending, 0);
  });

  it("and returns the same after the wait", async () => {
    const agent = await createAgentUnderTest();
    await ask(agent, put("/v1/agent/service/register", '{"Name":"web"}'));
    const hash = (await ask(agent, { target: "/v1/agent/service/web" })).headers.get("x-consul-contenthash");
    const waiting = ask(agent, { target: `/v1/agent/service/web?hash=${hash}&wait=1s` });
    await settle();
    await agent.clock.advance(1500);
    assert.equal((await waiting).headers.get("x-consul-contenthash"), hash);
    assert.equal(agent.clock.pending, 0);
  });
});

describe("dev mode", () => {
  it("indents every answer, by either way, and keeps apart what was rendered compact", async () => {
    const agent = await createAgentUnderTest();
    await ask(agent, { target: "/v1/catalog/services" });
    agent.agent.config = { ...agent.agent.config, devMode: true };
    assert.equal(await (await ask(agent, { target: "/v1/catalog/services" })).text(), '{\n    "consul": []\n}\n');
    const direct = await askDirectly(agent, { target: "/v1/catalog/services" });
    assert.equal(text(direct!.body), '{\n    "consul": []\n}\n');
    assert.equal(text((await askDirectly(agent, put("/v1/kv/a")))!.body), "true\n");
    assert.equal(await (await ask(agent, put("/v1/kv/b"))).text(), "true\n");
  });
});

describe("/v1/agent/self", () => {
  it("shows the configuration under Consul's 206 keys", async () => {
    const agent = await createAgentUnderTest();
    const self = (await (await ask(agent, { target: "/v1/agent/self" })).json()) as Record<string, Record<string, unknown>>;
    assert.deepEqual(Object.keys(self), ["Config", "DebugConfig", "Coord", "Member", "Stats", "Meta"]);
    assert.equal(Object.keys(self["DebugConfig"]!).length, 206);
    assert.equal(self["DebugConfig"]!["NodeName"], "node-a");
    assert.deepEqual(self["Meta"], { "consul-network-segment": "", env: "inv" });
  });
});

describe("failures", () => {
  it("without a leader every read and write says so with 500", async () => {
    const agent = await createAgentUnderTest();
    await ask(agent, { target: "/v1/kv/a" });
    agent.setLeader(false);
    for (const asked of [{ target: "/v1/kv/a" }, { target: "/v1/catalog/nodes" }, put("/v1/kv/a")]) {
      const response = await ask(agent, asked);
      assert.equal(response.status, 500);
      assert.equal(await response.text(), "No cluster leader");
    }
    const direct = await askDirectly(agent, { target: "/v1/kv/a" });
    assert.equal(direct!.status, 500);
    assert.equal(text(direct!.body), "No cluster leader");
  });

  it("what is not built is refused by name, with Consul's methods", async () => {
    const agent = await createAgentUnderTest();
    const refused = await ask(agent, { target: "/v1/query" });
    assert.equal(refused.status, 501);
    assert.equal(await refused.text(), "/v1/query is not supported yet by this agent");
    assert.equal((await ask(agent, { method: "DELETE", target: "/v1/query" })).status, 405);
  });

  it("a key that is not UTF-8 is refused instead of becoming another key", async () => {
    const agent = await createAgentUnderTest();
    assert.equal((await ask(agent, put("/v1/kv/%ff"))).status, 400);
    assert.equal((await askDirectly(agent, put("/v1/kv/%ff"))).status, 400);
    assert.equal((await ask(agent, put("/v1/kv/%EF%BF%BD"))).status, 200);
  });

  it("a failing route of another plugin is an error reply and a line in the log", async () => {
    const agent = await createAgentUnderTest("", [
      {
        path: "/v1/own/",
        methods: ["GET"],
        handle: ({ rest }) => Promise.reject(new AgentError("storage-failed", { message: `no ${rest}` })),
      },
    ]);
    const response = await ask(agent, { target: "/v1/own/thing" });
    assert.equal(response.status, 500);
    assert.equal(await response.text(), "no thing");
    assert.equal(agent.errors.length, 1);
  });

  it("the root tells what this is, or sends people to the UI", async () => {
    const plain = await createAgentUnderTest();
    assert.equal(await (await ask(plain, { target: "/" })).text(), "Consul Agent");
  });
});

async function gunzip(bytes: Uint8Array): Promise<string> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}
