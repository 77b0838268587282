/** Errors planted in how whole agents answer their clients: each is found by what the clients were told, or not told any more. */
import { agentMutations, loadAgentMutant } from "./mutants.ts";
import { directory, found, seeds } from "./mutation-table.ts";

/** A seed of whole agents takes some twenty times as long. */
const agentSeeds = Math.ceil(seeds * 0.3);

found("an error planted in how agents answer is found by their clients", agentMutations, agentSeeds, async (mutation) =>
  (await loadAgentMutant(mutation, directory))(agentSeeds),
);
