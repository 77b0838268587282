/** The memory of a large pool: states by name, numbers that are given again, and what tables hold in common. */
import { fc } from "../../support/property.ts";
import { calmLinks } from "../../../adapters/sim/gossip-network.ts";
import { GossipWorld } from "../../../adapters/sim/gossip-world.ts";
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { MemberTable, type MemberState } from "../../../core/swim/members.ts";
import { Roster, RosterTable } from "../../../core/swim/roster.ts";
import { assert, describe, it } from "../../support/harness.ts";

interface Held {
  readonly name: string;
  readonly value: number;
}

const names = ["a", "b", "c", "d", "e"];

describe("a roster", () => {
  it("tables over it behave as maps do, whatever the others that share it hold", () => {
    const act = fc.record({
      table: fc.nat(2),
      name: fc.constantFrom(...names),
      value: fc.nat(3),
      what: fc.constantFrom("put", "share", "delete"),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
        const roster = new Roster<Held>();
        const tables = [0, 1, 2].map(() => new RosterTable(roster));
        const models = tables.map(() => new Map<string, number>());
        for (const { table: at, name, value, what } of acts) {
          const table = tables[at] as RosterTable<Held>;
          const model = models[at] as Map<string, number>;
          if (what === "delete") {
            table.delete(name);
            model.delete(name);
          } else {
            const held = table.shared(name, (state) => state.value === value) ?? { name, value };
            const number = table.put(held);
            assert.equal(table.at(number), held);
            if (what === "share") table.share(number, held);
            model.set(name, value);
          }
          for (const [index, other] of tables.entries()) {
            const expected = models[index] as Map<string, number>;
            assert.equal(other.size, expected.size);
            for (const each of names) assert.equal(other.get(each)?.value, expected.get(each));
            assert.deepEqual([...other.values()].map((state) => state.name).sort(), [...expected.keys()].sort());
          }
        }
        for (const table of tables) for (const name of names) table.delete(name);
        for (const name of names) assert.equal(roster.find(name), undefined);
      }),
    );
  });

  it("numbers of names that nobody holds are given again: what came and went leaves nothing behind", () => {
    const roster = new Roster<Held>();
    const table = new RosterTable(roster);
    const given = new Set<number>();
    for (let at = 0; at < 10_000; at++) {
      given.add(table.put({ name: `n${at}`, value: at }));
      table.delete(`n${at}`);
    }
    assert.deepEqual([...given], [0]);
  });

  it("what is shared cannot be changed, and is only what somebody else could use", () => {
    const roster = new Roster<Held>();
    const [one, other] = [new RosterTable(roster), new RosterTable(roster)];
    const alone = { name: "a", value: 1 };
    one.share(one.put(alone), alone);
    assert.equal(
      one.shared("a", () => true),
      undefined,
    );
    const both = { name: "a", value: 2 };
    other.share(other.put(both), both);
    assert.equal(
      one.shared("a", ({ value }) => value === 2),
      both,
    );
    assert.throws(() => Object.assign(both, { value: 3 }), TypeError);
  });
});

describe("a table of members", () => {
  const member = (name: string, condition: MemberState["condition"], goneAt = 0): MemberState => ({
    name,
    address: Uint8Array.of(10, 0, 0, 1),
    port: 1,
    host: "10.0.0.1",
    meta: undefined,
    version: Uint8Array.of(1, 5, 2, 2, 5, 4),
    incarnation: 1,
    condition,
    goneAt,
  });

  it("that is full makes room by forgetting who is gone longest, and never who is here", () => {
    const table = new MemberTable(createRandom(seedOf("table")), 3, new Roster());
    for (const state of [member("here", "alive"), member("late", "dead", 20), member("early", "left", 10)])
      assert.equal(table.put(state), true);
    assert.equal(table.put(member("new", "alive")), true);
    assert.deepEqual(
      table
        .all()
        .map(({ name }) => name)
        .sort(),
      ["here", "late", "new"],
    );
    assert.equal(table.put(member("newer", "alive")), true);
    assert.equal(table.put(member("too many", "alive")), false);
    assert.equal(table.put(member("here", "suspect")), true);
    assert.deepEqual(
      table
        .all()
        .map(({ name }) => name)
        .sort(),
      ["here", "new", "newer"],
    );
  });

  it("probes everyone once in each round, whoever comes and goes meanwhile", () => {
    const table = new MemberTable(createRandom(seedOf("rounds")), 1000, new Roster());
    for (let at = 0; at < 50; at++) table.put(member(`n${at}`, "alive"));
    for (let round = 0; round < 5; round++) {
      const probed = Array.from({ length: 50 }, () => table.nextToProbe(0, () => true)?.name);
      assert.equal(new Set(probed).size, 50);
    }
    table.put(member("n7", "dead", 5));
    table.nextToProbe(10, () => true);
    assert.equal(table.get("n7"), undefined);
    assert.equal(table.size, 49);
  });
});

describe("members of a simulated pool", () => {
  it("do what they would do if each held its own beliefs", () => {
    const history = (apart: boolean): string => {
      const world = new GossipWorld({ seed: 7, layer: "swim", apart });
      world.network.faults = { ...calmLinks, lossPerMille: 150, duplicatePerMille: 50, delayMax: 40 };
      world.seed(30);
      for (let at = 0; at < 5; at++) world.join(world.add(), world.host("n0001"));
      world.pass(4000);
      world.crash(world.host("n0003"));
      world.crash(world.host("n0033"));
      world.pause(world.host("n0009"), 12_000);
      world.pass(30_000);
      world.restart(world.host("n0003"));
      world.join(world.host("n0003"), world.host("n0001"));
      world.pass(30_000);
      return `${world.hash.text} ${world.steps}`;
    };
    assert.equal(history(false), history(true));
  });
});
