/** What an HTTP client of any language relies on: blocking queries, locks with sessions, limits, and hostile requests. */
import { connect } from "node:net";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { RunningAgent } from "../support/program.ts";

describe("the HTTP API of a running agent", () => {
  let agent: RunningAgent;
  before(async () => {
    agent = await RunningAgent.start({ args: ["-dev", "-node=n1"] });
  });
  after(() => agent?.stop());

  it("a blocking query answers when its key changes, and only then", async () => {
    await agent.request("PUT", "/v1/kv/watched", "one");
    const first = await agent.request("GET", "/v1/kv/watched");
    const index = first.headers["x-consul-index"];
    let answered = false;
    const waiting = agent.request("GET", `/v1/kv/watched?index=${index}&wait=30s`).then((response) => {
      answered = true;
      return response;
    });
    await agent.request("PUT", "/v1/kv/other", "x");
    assert.equal(answered, false);
    await agent.request("PUT", "/v1/kv/watched", "two");
    const second = await waiting;
    assert.equal(JSON.parse(second.body)[0].Value, Buffer.from("two").toString("base64"));
    assert.ok(Number(second.headers["x-consul-index"]) > Number(index));
  });

  it("a lock has one holder, and a destroyed session frees it behind its lock-delay", async () => {
    const create = async (body: string): Promise<string> =>
      JSON.parse((await agent.request("PUT", "/v1/session/create", body)).body).ID;
    const holder = await create('{"LockDelay":"0s","Name":"a"}');
    const other = await create('{"LockDelay":"0s","Name":"b"}');
    const acquire = async (session: string): Promise<string> =>
      (await agent.request("PUT", `/v1/kv/lead?acquire=${session}`, session)).body.trim();
    assert.equal(await acquire(holder), "true");
    assert.equal(await acquire(other), "false");
    await agent.request("PUT", `/v1/session/destroy/${holder}`);
    assert.equal(await acquire(other), "true");
    const delayed = await create('{"LockDelay":"60s"}');
    await agent.request("PUT", `/v1/kv/lead?release=${other}`);
    assert.equal(await acquire(delayed), "true");
    await agent.request("PUT", `/v1/session/destroy/${delayed}`);
    assert.equal(await acquire(other), "false");
  });

  it("a value of 512 KiB is stored, one byte more is refused with 413", async () => {
    const big = "x".repeat(524_288);
    assert.equal((await agent.request("PUT", "/v1/kv/big", big)).body.trim(), "true");
    assert.equal((await agent.request("GET", "/v1/kv/big?raw")).body, big);
    const { status, body } = await agent.request("PUT", "/v1/kv/big", `${big}x`);
    assert.equal(status, 413);
    assert.match(body, /^Request body\(524289 bytes\) too large, max size: 524288 bytes\./);
  });

  it("a mebibyte of headers, or in a target, is read; more is refused with 431", async () => {
    const of = (length: number) => "x".repeat(length);
    assert.equal((await agent.request("GET", "/v1/status/leader", undefined, { "X-Long": of(1_048_576) })).status, 200);
    assert.equal((await agent.request("GET", `/v1/status/leader?${of(1_048_576)}`)).status, 200);
    assert.equal((await agent.request("GET", "/v1/status/leader", undefined, { "X-Long": of(1_054_000) })).status, 431);
    assert.equal((await agent.request("GET", "/v1/status/leader")).status, 200);
  });

  it("answers carry Consul's headers", async () => {
    const { headers } = await agent.request("GET", "/v1/health/service/consul");
    assert.equal(headers["content-type"], "application/json");
    assert.equal(headers["vary"], "Accept-Encoding");
    assert.equal(headers["x-consul-knownleader"], "true");
    assert.equal(headers["x-consul-lastcontact"], "0");
    assert.equal(headers["x-consul-effective-consistency"], "leader");
  });

  it("bytes that are no HTTP are answered or dropped, and the agent goes on", async () => {
    for (const garbage of [
      "\0\0\0\0\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "POST /v1/kv/x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
      `GET /${"a".repeat(70_000)} HTTP/1.1\r\n\r\n`,
      "PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ]) {
      await new Promise<void>((resolve) => {
        const socket = connect(agent.ports.http, "127.0.0.1", () => socket.end(garbage));
        socket.on("error", () => undefined);
        socket.on("close", () => resolve());
        socket.resume();
      });
    }
    assert.equal((await agent.request("GET", "/v1/status/leader")).status, 200);
  });
});
