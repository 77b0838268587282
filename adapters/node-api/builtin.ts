import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/**
 * Gives back a function that loads a built-in module on its first call. A command such as `consul members` must answer
 * in the time a person does not notice, and each of crypto, net, child_process costs it 2 to 15 ms that it may not need.
 */
export function builtin<Module>(name: `node:${string}`): () => Module {
  let loaded: Module | undefined;
  return () => {
    loaded ??= require(name) as Module;
    return loaded;
  };
}
