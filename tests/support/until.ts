/** Waiting for a cluster to do what it does by itself, by Consul's own means: blocking queries. */
import { patience } from "./patience.ts";
import type { RunningAgent } from "./program.ts";

/** Resolves with the first answer that satisfies; one question is out at a time, and it blocks where the path can. */
export async function until<Body>(agent: RunningAgent, path: string, holds: (body: Body) => boolean): Promise<Body> {
  const deadline = Date.now() + patience;
  let index = "0";
  for (;;) {
    const answer = await agent.request("GET", `${path}${path.includes("?") ? "&" : "?"}index=${index}&wait=2s`);
    if (answer.status === 200) {
      const body = JSON.parse(answer.body) as Body;
      if (holds(body)) return body;
    }
    if (Date.now() > deadline) throw new Error(`${path} stayed ${answer.status} ${answer.body}\n${agent.output}`);
    index = String(answer.headers["x-consul-index"] ?? "0");
  }
}
