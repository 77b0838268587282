/** Values and transactions far beyond one log entry, given to any agent of a cluster: all servers have them, whole. */
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { portsFor, read } from "../support/group.ts";
import { insist } from "../support/patience.ts";
import { type Ports, request, RunningAgent, temporaryFolder } from "../support/program.ts";

const folder = temporaryFolder();
const mebibyte = 1024 * 1024;
const bytesMax = 40 * mebibyte;
/** With Consul's own timeouts: so much at once keeps a slow machine busy for longer than quick elections allow. */
const hcl = `limits { kv_max_value_size = ${bytesMax} txn_max_req_len = ${bytesMax} }`;
const digest = (bytes: string): string => createHash("sha256").update(bytes).digest("hex");

describe("a cluster whose limits were raised", () => {
  const agents: RunningAgent[] = [];
  before(async () => {
    const ports = await portsFor(4);
    const seed = `-retry-join=127.0.0.1:${(ports[0] as Ports).serfLan}`;
    const started = ports.map((own, at) =>
      RunningAgent.start({
        args: [
          ...(at < 3 ? ["-server", "-bootstrap-expect=3"] : []),
          "-bind=127.0.0.1",
          `-node=large${at}`,
          `-data-dir=${join(folder, `large${at}`)}`,
          `-hcl=${hcl}`,
          seed,
        ],
        ports: own,
        ready: /Consul agent running!/,
      }),
    );
    agents.push(...(await Promise.all(started)));
    for (const agent of agents) await write(agent, `ready/${agent.ports.http}`, "yes");
  });
  after(async () => {
    await Promise.all(agents.map((agent) => agent.stop()));
  });

  /** Until it is acknowledged: on a slow machine so much at once may cost a leader its office. It may be carried out more than once. */
  async function put(agent: RunningAgent, path: string, content: string): Promise<string> {
    const { body } = await insist(
      () => agent.request("PUT", path, content),
      ({ status }) => status === 200,
      ({ status, body }) => `${status} ${body.slice(0, 300)}`,
    );
    return body;
  }

  async function write(agent: RunningAgent, key: string, value: string): Promise<void> {
    assert.equal((await put(agent, `/v1/kv/${key}`, value)).trim(), "true");
  }

  it("takes values of many megabytes at each of its agents, and each reads all of them", async () => {
    const value = randomBytes(9 * mebibyte).toString("base64");
    for (const [at, agent] of agents.entries()) await write(agent, `large/${at}`, value + at);
    for (const agent of agents)
      for (const at of agents.keys()) {
        const { body } = await read(agent.ports.http, `/v1/kv/large/${at}?raw`);
        assert.equal(digest(body), digest(value + at));
      }
  });

  it("takes a transaction of many megabytes at each of its agents, as a whole", async () => {
    const part = randomBytes(2 * mebibyte).toString("base64");
    const indexes = new Set<number>();
    for (const [from, agent] of agents.entries()) {
      const ops = Array.from({ length: 6 }, (_, at) => ({ KV: { Verb: "set", Key: `txn/${from}/${at}`, Value: part } }));
      const body = await put(agent, "/v1/txn", JSON.stringify(ops));
      const { Results } = JSON.parse(body) as { Results: { KV: { ModifyIndex: number } }[] };
      assert.equal(new Set(Results.map(({ KV }) => KV.ModifyIndex)).size, 1);
      indexes.add(Results[0]?.KV.ModifyIndex ?? 0);
    }
    assert.equal(indexes.size, agents.length);
  });

  it("refuses more than its limits in Consul's words", async () => {
    for (const agent of agents) {
      const { status, body } = await request(agent.ports.http, "PUT", "/v1/kv/more", undefined, {
        // Only declared: the answer closes the connection, and who still writes may not see it.
        "content-length": String(bytesMax + 1),
      });
      assert.equal(status, 413);
      assert.equal(
        body,
        `Request body(${bytesMax + 1} bytes) too large, max size: ${bytesMax} bytes. See https://www.consul.io/docs/agent/options.html#kv_max_value_size.`,
      );
    }
  });
});
