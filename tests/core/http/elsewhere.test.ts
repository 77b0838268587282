/** What becomes of requests that servers answer for this agent: of a client, or into another datacenter. Texts are Consul 1.8.7's. */
import type { Command } from "../../../core/catalog/commands.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { createAgentUnderTest } from "./agent-under-test.ts";

async function createAgent(role: "server" | "client") {
  const under = await createAgentUnderTest();
  const { agent } = under;
  const written: Command[] = [];
  Object.assign(agent, { config: { ...agent.config, server: role === "server" } });
  Object.assign(agent.cluster, { raftServers: async () => [], removeRaftServer: async () => {} });
  Object.assign(agent.store, {
    write: async (command: Command) => {
      written.push(command);
      return { kind: "done" };
    },
  });
  const ask = async (method: string, path: string, body?: string) => {
    const init = { method, ...(body === undefined ? {} : { body, headers: { "Content-Length": String(body.length) } }) };
    const response = await under.app.fetch(new Request(`http://127.0.0.1${path}`, init), { host: "127.0.0.1", port: 1 });
    return `${response.status} ${await response.text()}`;
  };
  return { ask, written };
}

describe("a server that is no peer", () => {
  const unknown = 'id "x" was not found in the Raft configuration';
  const passedOn = "rpc error making call: ";
  for (const [role, datacenter, told] of [
    ["server", "dc1", unknown],
    ["server", "dc2", passedOn + unknown],
    ["client", "dc1", passedOn + unknown],
    ["client", "dc2", passedOn + passedOn + unknown],
  ] as const)
    it(`of ${datacenter} is refused by a ${role} of dc1 as by whoever passed it on`, async () => {
      const { ask } = await createAgent(role);
      assert.equal(await ask("DELETE", `/v1/operator/raft/peer?id=x&dc=${datacenter}`), `500 ${told}`);
    });
});

describe("a coordinate that is none", () => {
  const none = '{"Node":"n","Coord":{"Vec":[1]}}';

  it("is refused by a server at once", async () => {
    const { ask, written } = await createAgent("server");
    assert.equal(await ask("PUT", "/v1/coordinate/update", none), "500 incompatible coordinate");
    assert.deepEqual(written, []);
  });

  it("is for a server to refuse where a client or another datacenter's server is asked", async () => {
    for (const [role, path] of [
      ["client", "/v1/coordinate/update"],
      ["server", "/v1/coordinate/update?dc=dc2"],
    ] as const) {
      const { ask, written } = await createAgent(role);
      assert.equal(await ask("PUT", path, none), "200 ");
      assert.equal(written.length, 1);
    }
  });
});

describe("members of a segment", () => {
  for (const [role, told] of [
    ["server", "Network segments are not supported in this version of Consul"],
    ["client", 'segment "x" not found'],
  ] as const)
    it(`are refused by a ${role}`, async () => {
      const { ask } = await createAgent(role);
      assert.equal(await ask("GET", "/v1/agent/members?segment=x"), `500 ${told}`);
    });
});
