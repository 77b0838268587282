/** /v1/status/: the leader and the Raft peers. */
import type { ApiContext } from "../context.ts";
import type { HttpRequest, Route } from "../extension.ts";
import { jsonString, jsonStrings } from "../json-write.ts";
import { isPretty, readParameters } from "../query.ts";
import { noPathToDatacenter } from "../../../core/types/errors.ts";
import { jsonReply } from "../reply.ts";

export function statusRoutes(context: ApiContext): readonly Route[] {
  const { agent } = context;
  const statusOf = async (request: HttpRequest): Promise<{ readonly leader: string; readonly peers: readonly string[] }> => {
    const { cluster, config } = agent;
    const { datacenter } = readParameters(request, agent).options;
    // A client asks a server each time, as Consul's does: what it heard last may be old.
    if (datacenter === undefined && !config.server && cluster.statusOf !== undefined) return cluster.statusOf(config.datacenter);
    if (datacenter === undefined) return { leader: cluster.leader(), peers: cluster.peers() };
    if (cluster.statusOf === undefined) throw noPathToDatacenter();
    return cluster.statusOf(datacenter);
  };
  return [
    {
      path: "/v1/status/leader",
      methods: ["GET"],
      async handle(request) {
        return jsonReply(jsonString((await statusOf(request)).leader), isPretty(request, agent));
      },
    },
    {
      path: "/v1/status/peers",
      methods: ["GET"],
      async handle(request) {
        return jsonReply(jsonStrings((await statusOf(request)).peers), isPretty(request, agent));
      },
    },
  ];
}
