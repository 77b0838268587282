/**
 * Property tests, which draw the same inputs in every run: what fails in CI fails for whoever looks into it.
 * `PROPERTY_SEED=7 scripts/unit core/dns` draws others, and `PROPERTY_SEED=random` others each time.
 */
import fc from "fast-check";

const asked = process.env["PROPERTY_SEED"] ?? "20261120";
if (asked !== "random") fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(asked) });

export { fc };
