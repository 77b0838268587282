import { below } from "../../../core/ports/random.ts";
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { calm, type Faults, type Host, PoolSimulation } from "./simulation.ts";

/** `count` hosts that joined the first, and know one another. */
function pool(count: number, seed: number | string, faults: Faults = calm): PoolSimulation {
  const simulation = new PoolSimulation(seed);
  simulation.faults = faults;
  const first = simulation.add("n1");
  for (let number = 2; number <= count; number++) simulation.join(simulation.add(`n${number}`), first);
  assert.ok(
    simulation.pass(30_000, () => simulation.agreed()),
    `${count} hosts do not know one another after 30 s`,
  );
  return simulation;
}

const kinds = (host: Host, name: string) =>
  host.events.filter(({ event }) => "member" in event && event.member.name === name).map(({ event }) => event.kind);
const others = (simulation: PoolSimulation, host: Host) => simulation.hosts.filter((other) => other !== host && !other.down);
const last = (simulation: PoolSimulation): Host => simulation.hosts[simulation.hosts.length - 1] as Host;

describe("a pool in virtual time", () => {
  it("for an hour in a calm network nobody is suspected, and coordinates come to agree with the network", () => {
    const simulation = pool(5, "calm");
    simulation.pass(3_600_000);
    for (const host of simulation.hosts) {
      for (const { event } of host.events) assert.ok(event.kind === "join", `${host.name} saw ${event.kind}`);
      for (const member of host.machine.swim.members) assert.equal(member.incarnation, 1);
      assert.ok(host.machine.coordinates.coordinate.error < 0.5);
    }
  });

  it("a crash is known everywhere as failed within the bound, and a restart is alive again", () => {
    for (let seed = 0; seed < 5; seed++) {
      const simulation = pool(8, seed);
      const victim = last(simulation);
      victim.down = true;
      // One round of probes, the minimal suspicion with all confirmations, and the way of the news.
      const known = simulation.pass(25_000, () =>
        others(simulation, victim).every((host) => host.machine.members.get(victim.name)?.status === "failed"),
      );
      assert.ok(known, `seed ${seed}`);
      simulation.restart(victim);
      simulation.join(victim, simulation.hosts[0] as Host);
      assert.ok(
        simulation.pass(10_000, () => simulation.agreed()),
        `seed ${seed}`,
      );
    }
  });

  it("a member that leaves is known everywhere as left and never reported failed", () => {
    for (let seed = 0; seed < 5; seed++) {
      const simulation = pool(8, seed, { ...calm, lossPerMille: 50 });
      const leaver = last(simulation);
      simulation.feed(leaver, { kind: "leaveIntent" });
      simulation.pass(5000, () => leaver.machine.leaveIntentSent);
      simulation.feed(leaver, { kind: "leave" });
      simulation.pass(5000, () => leaver.machine.swim.leaveSent);
      simulation.pass(3000);
      leaver.down = true;
      assert.ok(
        simulation.pass(30_000, () => simulation.agreed(["left"])),
        `seed ${seed}`,
      );
      simulation.pass(120_000);
      for (const host of others(simulation, leaver))
        assert.deepEqual(kinds(host, leaver.name), ["join", "leave"], `seed ${seed}`);
    }
  });

  it("a member that is only cut off is failed, and alive again once it is reachable, without joining anew", () => {
    const simulation = pool(6, "cut");
    const victim = last(simulation);
    victim.cut = true;
    assert.ok(simulation.pass(40_000, () => simulation.agreed(["failed"])));
    simulation.pass(60_000);
    victim.cut = false;
    // Serf tries a failed member every thirty seconds with the odds of failed to alive.
    assert.ok(simulation.pass(900_000, () => simulation.agreed()));
  });

  it("a pause of two seconds costs nobody's membership", () => {
    const simulation = pool(6, "pause");
    for (let round = 0; round < 20; round++) {
      const sleeper = simulation.hosts[round % 6] as Host;
      sleeper.pausedUntil = simulation.now + 2000;
      simulation.pass(10_000);
    }
    for (const host of simulation.hosts) for (const { event } of host.events) assert.equal(event.kind, "join");
  });

  it("with a tenth of all packets lost and a tenth doubled nobody is declared failed for ten minutes", () => {
    const simulation = pool(10, "loss", { lossPerMille: 100, duplicatesPerMille: 100, delayMin: 1, delayMax: 80 });
    simulation.pass(600_000);
    for (const host of simulation.hosts) for (const { event } of host.events) assert.notEqual(event.kind, "failed");
  });

  it("every event reaches everyone exactly once, whatever the network loses and doubles", () => {
    const simulation = pool(12, "events", { lossPerMille: 100, duplicatesPerMille: 200, delayMin: 1, delayMax: 50 });
    const random = createRandom(seedOf("events"));
    const fired = new Set<string>();
    for (let number = 0; number < 30; number++) {
      const host = simulation.hosts[below(random, 12)] as Host;
      fired.add(`deploy ${number}`);
      simulation.feed(host, { kind: "userEvent", name: "deploy", payload: utf8(String(number)), coalesce: false });
      simulation.pass(100);
    }
    // What gossip missed, the next push-pull exchange brings.
    simulation.pass(90_000);
    for (const host of simulation.hosts) {
      const heard = host.events.flatMap(({ event }) => (event.kind === "user" ? [`${event.name} ${text(event.payload)}`] : []));
      assert.equal(heard.length, fired.size, host.name);
      assert.deepEqual(new Set(heard), fired);
    }
  });

  it("tags that change are known everywhere, and only as an update", () => {
    const simulation = pool(5, "tags");
    const host = simulation.hosts[2] as Host;
    simulation.feed(host, { kind: "tags", tags: { role: "node", version: "2" } });
    simulation.pass(5000);
    for (const other of others(simulation, host)) {
      assert.equal(other.machine.members.get(host.name)?.tags["version"], "2");
      assert.deepEqual(kinds(other, host.name), ["join", "update"]);
    }
  });

  it("force-leave makes a failed member left everywhere; prune forgets it", () => {
    const simulation = pool(5, "force");
    const [first] = simulation.hosts as [Host];
    const victim = last(simulation);
    victim.down = true;
    simulation.pass(40_000, () => simulation.agreed(["failed"]));
    simulation.feed(first, { kind: "forceLeave", node: victim.name, prune: false });
    assert.ok(simulation.pass(5000, () => simulation.agreed(["left"])));
    simulation.feed(first, { kind: "forceLeave", node: victim.name, prune: true });
    assert.ok(
      simulation.pass(5000, () =>
        others(simulation, victim).every((host) => host.machine.members.get(victim.name) === undefined),
      ),
    );
  });

  it("force-leave of a member that is alive is refuted", () => {
    const simulation = pool(4, "refute");
    simulation.feed(simulation.hosts[0] as Host, { kind: "forceLeave", node: "n4", prune: false });
    simulation.pass(5000);
    assert.ok(simulation.agreed());
    for (const host of simulation.hosts) assert.deepEqual(kinds(host, "n4"), ["join"]);
  });

  it("the failed are forgotten after 72 hours, those who left after 24", () => {
    const simulation = pool(3, "reap");
    const [, second, third] = simulation.hosts as [Host, Host, Host];
    simulation.feed(third, { kind: "leaveIntent" });
    simulation.pass(3000);
    simulation.feed(third, { kind: "leave" });
    simulation.pass(3000);
    second.down = true;
    third.down = true;
    simulation.pass(60_000);
    const status = (name: string) => simulation.hosts[0]?.machine.members.get(name)?.status;
    assert.deepEqual([status("n2"), status("n3")], ["failed", "left"]);
    simulation.pass(25 * 3_600_000);
    assert.deepEqual([status("n2"), status("n3")], ["failed", undefined]);
    simulation.pass(48 * 3_600_000);
    assert.deepEqual([status("n2"), status("n3")], [undefined, undefined]);
  });

  it("swarm: whatever crashes, pauses and partitions did, a healed pool agrees", () => {
    for (let seed = 0; seed < 12; seed++) {
      const random = createRandom(seedOf(`swarm ${seed}`));
      const size = 3 + below(random, 6);
      const simulation = pool(size, `swarm ${seed}`);
      simulation.faults = {
        lossPerMille: below(random, 300),
        duplicatesPerMille: below(random, 100),
        delayMin: 1,
        delayMax: 1 + below(random, 200),
      };
      for (let round = 0; round < 15; round++) {
        const host = simulation.hosts[1 + below(random, size - 1)] as Host;
        const what = below(random, 5);
        if (what === 0) host.down = true;
        else if (what === 1 && host.down) {
          simulation.restart(host);
          simulation.join(host, simulation.hosts[0] as Host);
        } else if (what === 2) host.cut = !host.cut;
        else if (what === 3) host.pausedUntil = simulation.now + below(random, 10_000);
        else simulation.feed(host, { kind: "userEvent", name: "e", payload: utf8(`${round}`), coalesce: false });
        simulation.pass(below(random, 20_000));
      }
      simulation.faults = calm;
      for (const host of simulation.hosts) {
        host.cut = false;
        if (host.down) simulation.restart(host);
        if (host !== simulation.hosts[0]) simulation.join(host, simulation.hosts[0] as Host);
      }
      assert.ok(
        simulation.pass(120_000, () => simulation.agreed()),
        `swarm ${seed}: ${JSON.stringify(simulation.views().filter(({ status }) => status !== "alive"))}`,
      );
    }
  });
});
