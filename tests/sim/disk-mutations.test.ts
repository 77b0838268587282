/** Errors planted in how the log is kept on its disk, in the real driver and in its store: each is found. */
import { diskMutations, drivenMutations, hunt, huntDriven, loadDrivenMutant, loadMutant } from "./mutants.ts";
import { directory, found, seeds } from "./mutation-table.ts";

/** A seed of the driven group takes some ten times as long. */
const drivenSeeds = Math.ceil(seeds * 0.3);

found("an error planted in the log or the snapshots is found by the simulator", diskMutations, seeds, async (mutation) =>
  hunt(await loadMutant(mutation, directory), seeds, mutation.profile),
);
found(
  "an error planted in the driver or its store is found by the driven group",
  drivenMutations,
  drivenSeeds,
  async (mutation) => huntDriven(await loadDrivenMutant(mutation, directory), drivenSeeds, mutation.profile),
);
