/** The program `consul` on Node. */
import { runConsul } from "../compose/main.ts";
import { createRuntime } from "./runtime.ts";

await runConsul(createRuntime({ gated: true }));
