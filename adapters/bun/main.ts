/** The program `consul` on Bun. */
import { runConsul } from "../compose/main.ts";
import { createRuntime } from "./runtime.ts";

await runConsul(createRuntime({ gated: true }));
