import { createDatagrams } from "./datagrams.ts";
import { createNodeApiRuntime, type FullRuntime, type RuntimeOptions } from "../node-api/runtime.ts";

/**
 * Bun: every port but the datagrams is node-api's, because each passes its contract there. `Bun.serve` answers `direct`
 * routes more slowly than node-api's server (12.1 against 10.2 µs of processor time for a KV read) and offers no limit on
 * headers or connections.
 */
export function createRuntime(options: RuntimeOptions = {}): FullRuntime {
  return createNodeApiRuntime({ name: "bun", fetchIsCheap: true, createDatagrams }, options);
}
