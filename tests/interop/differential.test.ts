/**
 * Our agent and the real one, asked the same. Answers are compared whole: status, headers as they are on the wire, bodies
 * as text, DNS records with flags and sizes, what commands print and how they end. What must differ between two agents is
 * paired (differential/likeness.ts); what differs on purpose says so in the case file, and is checked to differ.
 * The notation of tests/cases/differential: differential/steps.ts. DIFFERENTIAL_REPORT names a file for all differences.
 */
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { assert, describe, it } from "../support/harness.ts";
import { insist } from "../support/patience.ts";
import { findPeer } from "../support/peer.ts";
import { consulPath, RunningAgent, root, temporaryFolder } from "../support/program.ts";
import { Likeness, maskPorts } from "./differential/likeness.ts";
import { Side } from "./differential/side.ts";
import { readSteps, type Step } from "./differential/steps.ts";

const found = findPeer("consul");
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);
const consul = "path" in found ? found.path : "";

const settings = [
  "-dev",
  "-node=n1",
  "-node-id=7d9b1a52-3c44-4f0e-9a7b-0d5a1c2e3f40",
  "-grpc-port=-1",
  "-hcl=disable_update_check = true",
];

const cases = join(root, "tests/cases/differential");
const files = readdirSync(cases)
  .filter((name) => name.endsWith(".txt"))
  .sort();

describe("our agent and Consul 1.8.7, asked the same", { skip }, () => {
  let theirs: Side;
  let ours: Side;
  let likeness: Likeness;

  before(async () => {
    const start = async (command: string) => {
      const agent = await RunningAgent.start({ command, args: settings });
      await agent.said(/Synced node info/);
      return new Side(agent, command, temporaryFolder());
    };
    [theirs, ours] = await Promise.all([start(consul), start(consulPath)]);
    const party = async (side: Side) => ({ ports: { ...side.agent.ports }, startIndex: await side.started() });
    likeness = new Likeness(await party(theirs), await party(ours));
  });
  after(() => Promise.all([theirs?.agent.stop(), ours?.agent.stop()]));

  it("start: what the log tells, it tells in Consul's words, and in its order", async () => {
    // Who is alone here need not wait for anybody's heartbeat: our election comes while the surfaces start. The news of
    // members and of the leader comes by gossip, the two networks of DNS start at once: their order is chance.
    const parts = [/raft|leadership|member joined/, /serf|Adding/, /Started|state syncer|running|Synced/];
    const told = async () => {
      const [said, expected] = [ours, theirs].map(({ agent }) => {
        const lines = agent.output.split("\n").map((line) => maskPorts(line.replace(/^ {4}\S+ /, ""), { ...agent.ports }));
        // Of a busy machine ours alone can tell.
        return lines.filter((line) => !/^\[DEBUG\]|This process stood still/.test(line));
      }) as [string[], string[]];
      const inParts = (lines: string[]) =>
        parts.map((part) =>
          lines.filter((line) => part.test(line) && said.includes(line)).map((line) => line.replace(/(DNS.*)=(udp|tcp)$/, "$1")),
        );
      const ownWords = said.filter((line) => !expected.includes(line));
      return { said: { ownWords, inOrder: inParts(said) }, expected: { ownWords: [], inOrder: inParts(expected) } };
    };
    // What one has said last the other may be about to say.
    await insist(told, ({ said, expected }) => isDeepStrictEqual(said, expected));
  });

  const compare = async (step: Step): Promise<string | undefined> => {
    const failed = (error: unknown) => `failed: ${error instanceof Error ? error.message : error}`;
    const [left, right] = await Promise.all([theirs.answer(step).catch(failed), ours.answer(step).catch(failed)]);
    if (left.startsWith("failed: ") || right.startsWith("failed: ")) return `theirs: ${left}\nours: ${right}`;
    const difference = likeness.difference(left, right);
    if (step.differs === undefined) return difference;
    return difference === undefined ? `no longer differs, though: ${step.differs}` : undefined;
  };

  for (const file of files)
    for (const { title, steps } of readSteps(file, readFileSync(join(cases, file), "utf8")))
      it(`${file.slice(0, -4)}: ${title} (${steps.length} steps)`, async () => {
        const flaws: string[] = [];
        for (const step of steps) {
          const difference = await compare(step);
          if (difference !== undefined) flaws.push(`${step.at}: ${step.text}\n${difference}\n`);
        }
        await Promise.all([theirs.endLockSessions(), ours.endLockSessions()]);
        const report = process.env["DIFFERENTIAL_REPORT"];
        if (report !== undefined && flaws.length > 0) appendFileSync(report, `== ${title}\n${flaws.join("\n")}\n`);
        assert.ok(flaws.length === 0, `\n${flaws.join("\n")}`);
      });
});
