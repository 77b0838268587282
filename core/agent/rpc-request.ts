import type { Fields } from "../codec/fields.ts";
import { noPathToDatacenter } from "../types/errors.ts";

/** The datacenter a request is for. Go's client always says; who does not gets what Consul says. */
export function requestDatacenter(args: Fields): string {
  const datacenter = args.text("Datacenter");
  if (datacenter === "") throw noPathToDatacenter();
  return datacenter;
}
