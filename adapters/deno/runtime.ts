import { createNodeApiRuntime, type FullRuntime, type RuntimeOptions } from "../node-api/runtime.ts";

/**
 * Deno: every port is node-api's, because each passes its contract there. `Deno.serve` answers `direct` routes more slowly
 * than node-api's server (13.9 against 10.5 µs of processor time for a KV read), needs twice the memory for a waiting
 * request, and knows neither client certificates nor limits.
 */
export function createRuntime(options: RuntimeOptions = {}): FullRuntime {
  return createNodeApiRuntime({ name: "deno", fetchIsCheap: true }, options);
}
