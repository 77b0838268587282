/** /v1/status/: the leader and the Raft peers. */
import type { ApiContext } from "../context.ts";
import type { HttpRequest, Route } from "../extension.ts";
import { jsonString, jsonStrings } from "../json-write.ts";
import { isPretty, readParameters } from "../query.ts";
import { jsonReply, noPathToDatacenter } from "../reply.ts";

export function statusRoutes(context: ApiContext): readonly Route[] {
  const { agent } = context;
  const requireOwnDatacenter = (request: HttpRequest): void => {
    if (readParameters(request, agent).options.datacenter !== undefined) throw noPathToDatacenter();
  };
  return [
    {
      path: "/v1/status/leader",
      methods: ["GET"],
      handle(request) {
        requireOwnDatacenter(request);
        return jsonReply(jsonString(agent.cluster.leader()), isPretty(request, agent));
      },
    },
    {
      path: "/v1/status/peers",
      methods: ["GET"],
      handle(request) {
        requireOwnDatacenter(request);
        return jsonReply(jsonStrings(agent.cluster.peers()), isPretty(request, agent));
      },
    },
  ];
}
