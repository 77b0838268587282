/** Service definitions in files, in the format of the agent's configuration. */
import type { ServiceDefinition } from "../../core/config/definitions.ts";
import { loadServices } from "../../core/config/load.ts";
import { messageOf } from "../../core/types/errors.ts";
import { CommandError } from "./command.ts";
import type { CliContext } from "./context.ts";

/** Of files, and of directories' files, in order. Rejects with `CommandError` ("Error: failed to parse …"). */
export async function readServiceFiles(context: CliContext, paths: readonly string[]): Promise<readonly ServiceDefinition[]> {
  const services: ServiceDefinition[] = [];
  try {
    for (const path of paths)
      for (const file of await filesOf(context, path)) services.push(...(await loadServices(file, context.host)));
  } catch (error) {
    throw new CommandError(`Error: ${messageOf(error)}`);
  }
  return services;
}

async function filesOf({ host }: CliContext, path: string): Promise<readonly string[]> {
  const found = await host.stat(path);
  if (found === undefined) throw new Error(`config: Open failed on ${path}. open ${path}: no such file or directory`);
  if (found.kind !== "directory") return [path];
  const names = (await host.readDirectory(path)).filter((name) => name.endsWith(".json") || name.endsWith(".hcl"));
  return names.map((name) => `${path.replace(/\/+$/, "")}/${name}`);
}
