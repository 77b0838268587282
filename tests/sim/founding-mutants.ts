/** Planted errors in how a group is founded (founding-swarm.ts); what they are for is said in mutants.ts. */
import type { huntFounding } from "./founding-swarm.ts";
import { load, type Mutation } from "./mutants.ts";

const member = "core/agent/founding-member.ts";
const proposal = "core/agent/founding-proposal.ts";

const one = (name: string, file: string, source: string, replacement: string, rare?: number): Mutation => ({
  name,
  file,
  edits: [[source, replacement]],
  ...(rare === undefined ? undefined : { rare }),
});

export const foundingMutations: readonly Mutation[] = [
  one(
    "a promise is not durable",
    "core/agent/founding-record.ts",
    "save: (record) => files.put(foundingName, encodeRecord(record)),",
    "save: async () => {},",
  ),
  one(
    "answer before the promise is durable",
    "core/agent/bootstrap.ts",
    "if (record !== before) await this.#options.records.save(record);",
    "if (record !== before) void this.#options.records.save(record);",
  ),
  one("a promise is given twice", member, "const free = record.enrolment === undefined && ", "const free = "),
  one(
    "found without the promise of all",
    proposal,
    'if (enrolling.silent.length > 0) return { kind: "open", silent: enrolling.silent };',
    "",
    1900,
  ),
  one(
    "found without asking for agreement",
    proposal,
    'return propose(ask, founding, { round: 0, by: founding.by }, "found");',
    'return { kind: "settled", outcome: "found" };',
    1200,
  ),
  one(
    "a silent founder is given up without asking the others",
    proposal,
    "if (promises < majority(founding.servers.length)) return tooFew(preparing);",
    'if (promises < majority(founding.servers.length)) return { kind: "settled", outcome: "void" };',
  ),
  one("what was accepted is not completed", proposal, 'newest?.outcome ?? "void"', '"void"', 550),
  one("a server that a group takes in enrols", member, "record.claimed.length === 0 && !view.hasData", "!view.hasData", 1200),
  one(
    "two groups take in the same server",
    member,
    "if (claimed.length > 0 && !servers.some((id) => claimed.includes(id)))",
    "if (claimed.length > 255)",
  ),
];

/** Bundles the swarm with the error in it, and gives what hunts it. */
export async function loadFoundingMutant(mutation: Mutation, directory: string): Promise<typeof huntFounding> {
  const module = (await load(mutation, "tests/sim/founding-swarm.ts", directory)) as {
    readonly huntFounding: typeof huntFounding;
  };
  return module.huntFounding;
}
