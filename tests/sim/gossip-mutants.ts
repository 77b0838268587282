/** Errors planted in the gossip protocol, to measure its simulator: each must be found by the named rule. See mutants.ts. */
import type { runGossipSeed } from "../../adapters/sim/gossip-swarm.ts";
import { load, type Mutation } from "./mutants.ts";

export interface GossipMutation extends Mutation {
  /** The rules that may find it. Seeds in which another one does first do not count. */
  readonly foundBy: readonly string[];
}

const one = (name: string, file: string, source: string, replacement: string, ...foundBy: string[]): GossipMutation => ({
  name,
  file,
  edits: [[source, replacement]],
  foundBy,
});

export const gossipMutations: readonly GossipMutation[] = [
  one(
    "forget to refute",
    "core/swim/membership.ts",
    "      this.#refute(member, suspect.incarnation);\n",
    "",
    "the accused refutes at once",
  ),
  one(
    "refute with the accused incarnation",
    "core/swim/membership.ts",
    "Math.max(this.#incarnation, accused) + 1",
    "Math.max(this.#incarnation, accused)",
    "the accused refutes at once",
  ),
  one(
    "believe an older incarnation",
    "core/swim/membership.ts",
    "&& alive.incarnation <= known.incarnation) return;",
    "&& alive.incarnation === known.incarnation) return;",
    "incarnations never fall",
    "after healing all tables agree",
  ),
  one(
    "a suspect is never declared dead",
    "core/swim/membership.ts",
    "this.#suspicions.set(member.name, begun);",
    "",
    "the dead are known to be dead",
    "after healing all tables agree",
  ),
  one(
    "the end of a leaving member is a failure",
    "core/serf/members.ts",
    'if (member.status === "leaving" || (saidGoodbye && member.status === "alive")) status = "left";',
    'if (member.status === "leaving" && !saidGoodbye) status = "left";',
    "who left has not failed",
    "after healing all tables agree",
  ),
  one(
    "who is leaving fails in the end",
    "core/serf/members.ts",
    'else if (member.status === "alive") status = "failed";\n    else return undefined;',
    'else if (member.status === "alive") status = "failed";\n    else return undefined;\n    if (member.statusTime > 1) status = "failed";',
    "who left has not failed",
  ),
  one(
    "the dead cannot come back",
    "core/swim/membership.ts",
    "    else this.#adopt(now, alive);\n",
    "    else if (isGone(known)) this.#table.put({ ...known, goneAt: now });\n    else this.#adopt(now, alive);\n",
    "the live are not held for dead",
  ),
  one(
    "an event is told of each time it is heard",
    "core/serf/events.ts",
    "slot.events.some((seen) => isSame(seen, event))",
    "slot.events.length > 8",
    "an event is delivered once",
  ),
  one(
    "events are not passed on",
    "core/serf/serf.ts",
    "if (this.#userEvent(message)) this.#eventQueue.add({ content: payload });",
    "this.#userEvent(message);",
    "an event reaches everyone",
  ),
  one(
    "the budget of a packet is forgotten",
    "core/swim/swim.ts",
    "const riders = [...this.#queue.take(partOverhead, bytesLeft)];",
    "const riders = [...this.#queue.take(partOverhead, 10 * bytesLeft)];",
    "packets never exceed the limit",
  ),
  one(
    "stalls are not noticed",
    "core/swim/stall.ts",
    "if (!(late > stallTolerance)) return undefined;",
    "if (!(late > 1e9 * stallTolerance)) return undefined;",
    "who stood still accuses nobody for it",
  ),
  one(
    "a stall gives the lost time back, and no grace to read what waits",
    "core/swim/stall.ts",
    "postpone: late + probeTimeout }",
    "postpone: Math.max(0, late - probeInterval) }",
    "who stood still accuses nobody for it",
  ),
  one(
    "own health has no limit",
    "core/swim/awareness.ts",
    "Math.min(this.#max - 1, Math.max(0, this.#score + change))",
    "Math.max(0, this.#score + change)",
    "health stays in its range",
  ),
  one(
    "meta of a known member is not taken over",
    "core/swim/membership.ts",
    "const member = this.#table.agreed(alive.node, alive) ?? stateOf(alive.node, alive);",
    "const member = stateOf(alive.node, known === undefined || alive.node === this.#config.name ? alive : { ...alive, meta: known.meta });",
    "after healing all tables agree",
  ),
  one(
    "a refutation is not told",
    "core/swim/membership.ts",
    "this.#queue.add({ content: encodeMessage(alive), key:",
    "void ({ content: encodeMessage(alive), key:",
    "a refutation is told",
  ),
  one(
    "confirmations do not shorten a suspicion",
    "core/swim/suspicion.ts",
    "    this.#accusers.push(accuser);\n    this.#deadline = this.#computed();\n",
    "    this.#accusers.push(accuser);\n",
    "a confirmed suspicion ends soon",
  ),
  one(
    "a message is sent once and not again",
    "core/swim/gossip-queue.ts",
    "if (entry.sends >= sendsMax)",
    "if (entry.sends >= Math.min(1, sendsMax))",
    "an event reaches everyone",
    "the live are not held for dead",
    "after healing all tables agree",
  ),
  one(
    "who suspects raises the incarnation of the suspect",
    "core/swim/membership.ts",
    'incarnation: suspect.incarnation, condition: "suspect"',
    'incarnation: suspect.incarnation + 1, condition: "suspect"',
    "an incarnation is its owner's",
  ),
  one(
    "a belief that others share is changed in place",
    "core/swim/membership.ts",
    'this.#table.put({ ...member, incarnation: suspect.incarnation, condition: "suspect" });',
    'this.#table.put(Object.assign(member, { incarnation: suspect.incarnation, condition: "suspect" }));',
    "crash",
  ),
];

/** Bundles the swarm with the error in it. */
export async function loadGossipMutant(mutation: GossipMutation, directory: string): Promise<typeof runGossipSeed> {
  const module = (await load(mutation, "adapters/sim/gossip-swarm.ts", directory)) as {
    readonly runGossipSeed: typeof runGossipSeed;
  };
  return module.runGossipSeed;
}
