/**
 * Our agent and the real one with encrypted gossip, asked the same about their keys. The notation of
 * tests/cases/differential/encrypted: differential/steps.ts.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { findPeer } from "../support/peer.ts";
import { consulPath, RunningAgent, root, temporaryFolder } from "../support/program.ts";
import { Likeness } from "./differential/likeness.ts";
import { Side } from "./differential/side.ts";
import { readSteps } from "./differential/steps.ts";

const found = findPeer("consul");
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);
const consul = "path" in found ? found.path : "";

const cases = join(root, "tests/cases/differential/encrypted/keyring.txt");

describe("keyrings of our agent and Consul 1.8.7, asked the same", { skip }, () => {
  let theirs: Side;
  let ours: Side;
  let likeness: Likeness;

  before(async () => {
    const start = async (command: string) => {
      const args = ["-dev", "-node=n1", "-encrypt=tbLJg26ZJyJ9pK3qhc9jig==", "-grpc-port=-1", "-hcl=disable_update_check = true"];
      const agent = await RunningAgent.start({ command, args });
      await agent.said(/Synced node info/);
      return new Side(agent, command, temporaryFolder());
    };
    [theirs, ours] = await Promise.all([start(consul), start(consulPath)]);
    const party = async (side: Side) => ({ ports: { ...side.agent.ports }, startIndex: await side.started() });
    likeness = new Likeness(await party(theirs), await party(ours));
  });
  after(() => Promise.all([theirs?.agent.stop(), ours?.agent.stop()]));

  for (const { title, steps } of readSteps("keyring.txt", readFileSync(cases, "utf8")))
    it(`${title} (${steps.length} steps)`, async () => {
      const flaws: string[] = [];
      for (const step of steps) {
        const [left, right] = await Promise.all([theirs.answer(step), ours.answer(step)]);
        const difference = likeness.difference(left, right);
        if ((difference === undefined) !== (step.differs === undefined))
          flaws.push(`${step.at}: ${step.text}\n${difference ?? `no longer differs, though: ${step.differs}`}\n`);
      }
      assert.ok(flaws.length === 0, `\n${flaws.join("\n")}`);
    });

  it("neither says the key, in its log or of itself", async () => {
    for (const { agent } of [theirs, ours]) {
      const { body } = await agent.request("GET", "/v1/agent/self");
      assert.doesNotMatch(body + agent.output, /tbLJg26ZJyJ9pK3qhc9jig/);
      assert.match(body, /"EncryptKey": ?"hidden"/);
      assert.match(agent.output, /Encrypt: Gossip: true, TLS-Outgoing: false/);
    }
  });
});
