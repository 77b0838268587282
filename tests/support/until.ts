/** Waiting for a cluster to do what it does by itself, by Consul's own means: blocking queries. */
import { insist } from "./patience.ts";
import type { RunningAgent } from "./program.ts";

/** Resolves with the first answer that satisfies; one question is out at a time, and it blocks where the path can. */
export async function until<Body>(agent: RunningAgent, path: string, holds: (body: Body) => boolean): Promise<Body> {
  const separator = path.includes("?") ? "&" : "?";
  let index = "0";
  const { body } = await insist(
    async () => {
      const answer = await agent.request("GET", `${path}${separator}index=${index}&wait=2s`);
      index = String(answer.headers["x-consul-index"] ?? "0");
      return answer;
    },
    ({ status, body }) => status === 200 && holds(JSON.parse(body) as Body),
    ({ status, body }) => `${path}: ${status} ${body}\n${agent.output}`,
  );
  return JSON.parse(body) as Body;
}
