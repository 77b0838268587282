/**
 * Whole groups under random faults (tests/support/raft-cluster.ts): first safety, then, once everything is healed,
 * liveness. A failure names its seed: RAFT_SEED=n runs that one alone.
 */
import { Cluster } from "../../support/raft-cluster.ts";
import { assert, describe, it } from "../../support/harness.ts";

const seeds =
  process.env["RAFT_SEED"] === undefined
    ? Array.from({ length: Number(process.env["RAFT_SEEDS"] ?? 200) }, (_, at) => at + 1)
    : [Number(process.env["RAFT_SEED"])];

function runSeed(seed: number): Cluster {
  const cluster = new Cluster(seed, 3 + (seed % 3));
  cluster.run(6000);
  cluster.heal();
  const before = cluster.committed;
  cluster.run(9000);
  const { leader } = cluster;
  assert.ok(leader !== undefined, "a healed group has a leader");
  assert.ok(cluster.committed > before, "a healed group commits");
  for (const { id } of leader.configuration.servers) {
    const applied = cluster.servers.get(id)?.machine?.appliedIndex ?? 0;
    assert.ok(applied >= before, `${id} caught up: ${applied} of ${before}`);
  }
  return cluster;
}

describe("a Raft group under random faults", () => {
  it(`is safe, and lives again once healed, for seeds ${seeds[0]} to ${seeds.at(-1)}`, () => {
    let events = 0;
    let acknowledged = 0;
    for (const seed of seeds) {
      try {
        const cluster = runSeed(seed);
        events += cluster.events;
        acknowledged += cluster.acknowledged.size;
      } catch (error) {
        throw new Error(`RAFT_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    assert.ok(acknowledged > seeds.length * 10, `${acknowledged} commands acknowledged in ${events} events`);
  });

  it("the same seed runs the same way twice", () => {
    const [left, right] = [runSeed(7), runSeed(7)];
    assert.deepEqual([left.events, left.committed, left.acknowledged], [right.events, right.committed, right.acknowledged]);
  });
});
