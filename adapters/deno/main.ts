/** The program `consul` on Deno. */
import { runConsul } from "../compose/main.ts";
import { createRuntime } from "./runtime.ts";

await runConsul(createRuntime({ gated: true }));
