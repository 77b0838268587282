/** Errors planted in Raft, the catalog and the lanes: each is found. */
import { hunt, loadMutant, mutations } from "./mutants.ts";
import { directory, found, seeds } from "./mutation-table.ts";

found("a planted error is found by the simulator", mutations, seeds, async (mutation) =>
  hunt(await loadMutant(mutation, directory), seeds, mutation.profile),
);
