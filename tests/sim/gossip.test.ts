/**
 * The gossip protocol at scale, in a size for every run: the invariants hold under all faults, one seed gives one history
 * on every engine, and the experiments of docs/gossip-simulation.md come out as claimed there.
 *
 * A change of core/swim, core/serf or adapters/sim/gossip* that changes what happens moves the hashes:
 * `REWRITE=1 scripts/unit sim/gossip` writes them anew, on one engine, and the others must agree.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gossipMain } from "../../adapters/sim/gossip-command.ts";
import {
  failing,
  forming,
  joining,
  lifeguard,
  parting,
  placing,
  plainSwim,
  poolOf,
  telling,
  variants,
  withStallSensor,
  wronging,
} from "../../adapters/sim/gossip-experiments.ts";
import { runGossipSeed } from "../../adapters/sim/gossip-swarm.ts";
import { render, tables } from "../../adapters/sim/gossip-tables.ts";
import { assert, describe, it, trapAmbient } from "../support/harness.ts";

const hashes = join(process.env["TEST_ROOT"] as string, "tests/sim/gossip-hashes.txt");
const seeds = Number(process.env["GOSSIP_SEEDS"] ?? 12);

describe("small pools under all faults", () => {
  it("keep their invariants, and the history of a seed is the pinned one", () => {
    const lines: string[] = [];
    for (let seed = 1; seed <= seeds; seed++) {
      const run = trapAmbient(() => runGossipSeed({ seed }));
      assert.equal(
        run.failure,
        undefined,
        `seed ${seed}: ${run.failure?.message}; scripts/simulate --gossip --seeds 1 --from ${seed}`,
      );
      lines.push(`${seed} ${run.hash} ${run.members} members ${run.steps} steps ${run.packets} packets`);
    }
    const found = `${lines.join("\n")}\n`;
    if (process.env["REWRITE"] !== undefined) writeFileSync(hashes, found);
    assert.equal(found, readFileSync(hashes, "utf8"), "another history: on purpose? then REWRITE=1 scripts/unit sim/gossip");
  });
});

describe("a pool of hundreds", () => {
  it("knows a newcomer within a second, and so does it the pool", () => {
    const { half, all, itself } = joining({ seed: 1, members: 200 });
    assert.ok((half ?? Infinity) < 700 && (all ?? Infinity) < 1500 && (itself ?? Infinity) < 100, `${half} ${all} ${itself}`);
  });

  it("comes together from nothing within ten seconds", () => {
    const { all } = forming({ seed: 1, members: 60 });
    assert.ok((all ?? Infinity) < 10_000, `${all}`);
  });

  it("hears an event within a second and a half, also when every fourth packet is lost", () => {
    for (const lossPerMille of [0, 250]) {
      const { all, missed } = telling({ seed: 1, members: 120, lossPerMille });
      assert.ok(missed === 0 && (all ?? Infinity) < 1500, `${lossPerMille}: ${all}, ${missed} missed`);
    }
  });

  it("knows of a crash everywhere soon after it is declared anywhere, as fast with Lifeguard as without", () => {
    const [plain, guarded] = [plainSwim, lifeguard].map((variant) => failing({ seed: 1, variant, members: 100, crashes: 4 }));
    assert.ok(plain !== undefined && guarded !== undefined);
    for (const { declared, known } of [plain, guarded])
      assert.ok(declared < 13_000 && known - declared < 2000, `${declared} ${known}`);
    assert.ok(guarded.known < plain.known * 1.3, `${guarded.known} ${plain.known}`);
  });

  it("comes to coordinates that tell round trips to a few percent", () => {
    const [start, end] = placing({ seed: 1, members: 40, moments: [0, 180] });
    assert.ok(
      start !== undefined && end !== undefined && start.median > 0.5 && end.median < 0.1,
      `${start?.median} ${end?.median}`,
    );
  });

  it("is whole again after a partition, both ways or one way, and has lost nobody", () => {
    for (const kind of ["halves", "one way"] as const) {
      const { reports, healed, lost } = parting({ seed: 1, members: 40, kind, seconds: 45 });
      assert.ok(reports > 0 && lost === 0, `${kind}: ${reports} reports, ${lost} lost`);
      assert.ok((healed ?? Infinity) < 180_000, `${kind}: ${healed}`);
    }
  });
});

describe("a tenth of the members stalls again and again", () => {
  const stalls = { seed: 1, members: 60, stalled: 6, lossPerMille: 0, seconds: 60 };

  it("while their messages wait: SWIM declares healthy members failed, Lifeguard next to none", () => {
    const [plain, guarded] = [plainSwim, lifeguard].map((variant) =>
      wronging({ ...stalls, variant, kind: "messages", stall: 16_000, run: 50 }),
    );
    assert.ok(plain !== undefined && guarded !== undefined);
    assert.ok(plain.reports >= 100, `${plain.reports}`);
    assert.ok(guarded.reports * 20 <= plain.reports, `${guarded.reports} of ${plain.reports}`);
    assert.ok(guarded.known !== undefined, "the real crash is found nevertheless");
  });

  it("as processes that stand still: with the stall sensor they accuse nobody of their own silence", () => {
    const found = variants.map((variant) => wronging({ ...stalls, variant, kind: "process", stall: 8000, run: 2 }));
    const [plain, guarded, sensing] = found;
    assert.ok(plain !== undefined && guarded !== undefined && sensing !== undefined);
    assert.ok(plain.accusations > 0 && guarded.accusations > 0, `${plain.accusations} ${guarded.accusations}`);
    assert.equal(sensing.accusations, 0);
    assert.ok(sensing.reportsOfStalled < guarded.reportsOfStalled, `${sensing.reportsOfStalled} ${guarded.reportsOfStalled}`);
    assert.ok(sensing.known !== undefined, "the real crash is found nevertheless");
  });
});

describe("the tables and the command", () => {
  it("renders a table as Markdown", () => {
    const lines = render({ title: "T", head: ["a", "long"], rows: [["1", "2"]] });
    assert.deepEqual(lines, ["### T", "", "| a | long |", "|---|------|", "| 1 | 2    |", ""]);
    assert.equal(tables.length, 6);
  });

  it("runs one pool of any size, a number of seeds, and explains itself to who uses it wrongly", () => {
    const run = (...words: string[]) => {
      const lines: string[] = [];
      const code = gossipMain(words, { print: (line) => lines.push(line), now: () => 0, cpu: () => 0, memory: () => 0 });
      return { code, text: lines.join("\n") };
    };
    for (const layer of ["swim", "serf"]) {
      const { code, text } = run("--gossip", "--members", "40", "--layer", layer);
      assert.equal(code, 0, text);
      assert.match(text, /a newcomer is known to 40 of 40/);
      assert.match(text, /all 40 agree about all 41/);
    }
    assert.equal(run("--gossip", "--seeds", "1", "--from", "5").code, 0);
    for (const words of [["--what"], ["--members"], ["--members", "0"], ["--members", "5", "--layer", "raft"]])
      assert.equal(run(...words).code, 64, words.join(" "));
  });

  it("a variant says how it differs from production, which differs in nothing", () => {
    assert.deepEqual(withStallSensor.swim, {});
    assert.equal(poolOf({ seed: 1, members: 2 }).world.hosts.length, 2);
  });
});
