import { createNodeApiRuntime, type FullRuntime, type RuntimeOptions } from "../node-api/runtime.ts";

/** Node 20 or later: every port is node-api's. */
export function createRuntime(options: RuntimeOptions = {}): FullRuntime {
  return createNodeApiRuntime({ name: "node", fetchIsCheap: false }, options);
}
