/** Service definitions in files, in the format of the agent's configuration. */
import type { ServiceDefinition } from "../../core/config/definitions.ts";
import { loadServices } from "../../core/config/load.ts";
import { messageOf } from "../../core/types/errors.ts";
import { CommandError, complain } from "./command.ts";
import type { CliContext } from "./context.ts";

/** Of files, and of directories' files, in order; what has another ending is passed over, and told of. Rejects with `CommandError` ("Error: failed to parse …"). */
export async function readServiceFiles(context: CliContext, paths: readonly string[]): Promise<readonly ServiceDefinition[]> {
  const services: ServiceDefinition[] = [];
  try {
    for (const path of paths)
      for (const file of await filesOf(context, path))
        if (/\.(json|hcl)$/.test(file)) services.push(...(await loadServices(file, context.host)));
        else complain(context, `skipping file ${file}, extension must be .hcl or .json, or config format must be set`);
  } catch (error) {
    throw new CommandError(`Error: ${messageOf(error)}`);
  }
  return services;
}

async function filesOf({ host }: CliContext, path: string): Promise<readonly string[]> {
  const found = await host.stat(path);
  if (found === undefined) throw new Error(`config: Open failed on ${path}. open ${path}: no such file or directory`);
  if (found.kind !== "directory") return [path];
  const files: string[] = [];
  for (const name of await host.readDirectory(path)) {
    const file = `${path.replace(/\/+$/, "")}/${name}`;
    if ((await host.stat(file))?.kind !== "directory") files.push(file);
  }
  return files;
}
