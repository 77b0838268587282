/**
 * Calls for other datacenters: they are passed on to one of its servers as they came, and its answer is passed back, so
 * that also what this server does not know itself works where the other one does.
 */
import type { Fields } from "../codec/fields.ts";
import type { Encodable } from "../codec/msgpack.ts";
import type { RpcHandler } from "../rpc/server.ts";
import type { Cancel } from "../types/cancel.ts";

export interface ForwardingOptions {
  /** This server's own datacenter. */
  readonly datacenter: string;
  /** Rejects with the text for the caller. */
  readonly forward: (datacenter: string, method: string, args: Fields, cancel: Cancel) => Promise<Encodable>;
}

/** About all datacenters: any server answers. */
const everywhere: ReadonlySet<string> = new Set(["Status.Ping", "Catalog.ListDatacenters", "Coordinate.ListDatacenters"]);

/** The same methods, each asked of the datacenter that its caller names. Without one it is the handler's to answer. */
export function forwarding(
  handlers: ReadonlyMap<string, RpcHandler>,
  { datacenter: own, forward }: ForwardingOptions,
): ReadonlyMap<string, RpcHandler> {
  const forwarded = (handler: RpcHandler): RpcHandler => {
    return async (args, call) => {
      const datacenter = args.text("Datacenter");
      return datacenter === "" || datacenter === own ? handler(args, call) : forward(datacenter, call.method, args, call.cancel);
    };
  };
  return new Map([...handlers].map(([method, handler]) => [method, everywhere.has(method) ? handler : forwarded(handler)]));
}
