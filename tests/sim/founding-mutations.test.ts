/** Errors planted in how a group is founded: each is found by what must never be, or by what never comes to be. */
import { foundingMutations, loadFoundingMutant } from "./founding-mutants.ts";
import { directory, found, seeds } from "./mutation-table.ts";

/** A seed takes less than one of a group of servers, and the errors are rarer. */
const foundingSeeds = seeds * 3;

found("an error planted in how a group is founded is found", foundingMutations, foundingSeeds, async (mutation) =>
  (await loadFoundingMutant(mutation, directory))(foundingSeeds),
);
