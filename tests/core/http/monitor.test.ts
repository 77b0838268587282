/** /v1/agent/monitor: a log that does not wait, and clients that may be slow. */
import { settle } from "../../support/virtual-clock.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { type AgentUnderTest, createAgentUnderTest } from "./agent-under-test.ts";
import { directRequest } from "./support.ts";

async function monitor({ app }: AgentUnderTest, query = "", init: RequestInit = {}): Promise<Response> {
  const request = new Request(`http://127.0.0.1/v1/agent/monitor${query}`, init);
  return app.fetch(request, { host: "127.0.0.1", port: 40_000 });
}

function readerOf(response: Response) {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  return { read: async () => new TextDecoder().decode((await reader.read()).value), cancel: () => reader.cancel() };
}

describe("/v1/agent/monitor", () => {
  it("answers at once, and then gives each line as it is written", async () => {
    const agent = await createAgentUnderTest();
    agent.writeLog("info", "before");
    const response = await monitor(agent);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-encoding"), null);
    const { read } = readerOf(response);
    agent.writeLog("info", "one");
    agent.writeLog("debug", "too low");
    agent.writeLog("error", "two");
    assert.equal(await read(), "one\ntwo\n");
    const later = read();
    agent.writeLog("warn", "three");
    assert.equal(await later, "three\n");
  });

  it("is not compressed, whatever the client accepts: lines would wait for a block to fill", async () => {
    const agent = await createAgentUnderTest();
    const { read } = readerOf(await monitor(agent, "?loglevel=debug", { headers: { "Accept-Encoding": "gzip" } }));
    agent.writeLog("debug", "plain");
    assert.equal(await read(), "plain\n");
  });

  it("is left to fetch by the direct path, which has no streams", async () => {
    const agent = await createAgentUnderTest();
    assert.equal(agent.direct.handle(directRequest({ target: "/v1/agent/monitor" })), undefined);
  });

  it("a client that does not read is 512 lines behind at most; the rest is dropped and counted in the log", async () => {
    const agent = await createAgentUnderTest();
    const { read, cancel } = readerOf(await monitor(agent));
    for (let line = 0; line < 600; line++) agent.writeLog("info", `line ${line}`);
    assert.equal((await read()).split("\n").length - 1, 512);
    await cancel();
    assert.equal(agent.followers(), 0);
  });

  it("a client that goes away is followed by nobody", async () => {
    const agent = await createAgentUnderTest();
    const client = new AbortController();
    const response = await monitor(agent, "", { signal: client.signal });
    assert.equal(agent.followers(), 1);
    client.abort();
    await settle();
    assert.equal(agent.followers(), 0);
    assert.equal(response.status, 200);
  });

  for (const [given, level] of [
    ["trace", "trace"],
    ["ERR", "error"],
    ["Warn", "warn"],
  ] as const)
    it(`takes the level ${given}`, async () => {
      const agent = await createAgentUnderTest();
      const { read } = readerOf(await monitor(agent, `?loglevel=${given}`));
      agent.writeLog(level, "yes");
      assert.equal(await read(), "yes\n");
    });
});
