import type { Fields } from "../codec/fields.ts";
import { AgentError } from "../types/errors.ts";

/** The datacenter a request is for. Go's client always says; who does not gets what Consul says. */
export function requestDatacenter(args: Fields): string {
  const datacenter = args.text("Datacenter");
  if (datacenter === "") throw new AgentError("no-datacenter", { message: "No path to datacenter" });
  return datacenter;
}
