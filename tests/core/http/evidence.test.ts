/** /v1/agent/evidence, which Consul does not have. */
import type { Evidence } from "../../../core/plugin/evidence.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { type AgentUnderTest, createAgentUnderTest } from "./agent-under-test.ts";
import { ask } from "./support.ts";

const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

const evidence: Evidence = {
  health: 2,
  accusations: [
    {
      node: 'a "b"',
      incarnation: 7,
      at,
      by: "node-a",
      grounds: {
        kind: "probe",
        sentAt: at - 1000,
        directTimeout: 500,
        timeout: 1000.4,
        helpers: [{ via: "node-c", answer: "nack" }],
        stream: "failed",
        health: 1,
      },
      confirmations: [{ by: "node-c", at: at + 100 }],
      outcome: "dead",
      settledAt: at + 4000,
      settledBy: "node-a",
      returnedAt: undefined,
    },
  ],
  stalls: [{ at, late: 1200.6 }],
};

async function agentThatSays(asked: string[]): Promise<AgentUnderTest> {
  const agent = await createAgentUnderTest();
  Object.assign(agent.agent.cluster, {
    evidence(pool: string, node?: string) {
      asked.push(`${pool} ${node}`);
      return evidence;
    },
  });
  return agent;
}

describe("the evidence behind failures", () => {
  it("is told with wall times, whole milliseconds and null for what has not happened", async () => {
    const agent = await agentThatSays([]);
    const response = await ask(agent, { target: "/v1/agent/evidence" });
    assert.equal(response.status, 200);
    assert.equal(
      await response.text(),
      '{"HealthScore":2,"Accusations":[{"Node":"a \\"b\\"","Incarnation":7,"Time":"2026-01-02T03:04:05.678Z","By":"node-a",' +
        '"Grounds":{"Kind":"probe","Sent":"2026-01-02T03:04:04.678Z","DirectMillis":500,"TotalMillis":1000,' +
        '"Indirect":[{"Via":"node-c","Answer":"nack"}],"TCP":"failed","HealthScore":1},' +
        '"Confirmations":[{"By":"node-c","Time":"2026-01-02T03:04:05.778Z"}],"Outcome":"dead","Settled":"2026-01-02T03:04:09.678Z",' +
        '"SettledBy":"node-a","Returned":null}],"Stalls":[{"Time":"2026-01-02T03:04:05.678Z","LateMillis":1201}]}',
    );
  });

  it("is asked of one member, and of the other pool", async () => {
    const asked: string[] = [];
    const agent = await agentThatSays(asked);
    await ask(agent, { target: "/v1/agent/evidence?node=node-b" });
    await ask(agent, { target: "/v1/agent/evidence?wan=1" });
    assert.deepEqual(asked, ["lan node-b", "wan undefined"]);
  });

  it("is refused by an agent without gossip, and to any method but GET", async () => {
    const agent = await createAgentUnderTest();
    assert.equal((await ask(agent, { target: "/v1/agent/evidence" })).status, 501);
    assert.equal((await ask(agent, { method: "PUT", target: "/v1/agent/evidence", body: "" })).status, 405);
  });
});
