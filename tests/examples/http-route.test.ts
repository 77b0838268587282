/** Example: a plugin of your own that adds a route to the HTTP API, reads the catalog, and is told of new leaders. */
import type { Plugin } from "../../core/plugin/plugin.ts";
import { utf8 } from "../../core/types/bytes.ts";
import { httpRoutes } from "../../plugins/http/extension.ts";
import { assert, describe, it } from "../support/harness.ts";
import { createAgent } from "../support/embedded.ts";

/** GET /v1/count/NAME says how many healthy instances a service has. */
const counting: Plugin = {
  name: "counting",
  setup({ agent, extend, hooks, logger }) {
    hooks.onNotify("leaderChanged", ({ leader }) => logger.log("info", "a new leader", { leader }));
    extend(httpRoutes, {
      path: "/v1/count/",
      methods: ["GET"],
      async handle(request) {
        const query = { kind: "checkedInstances", service: request.rest, passingOnly: true } as const;
        const { answer } = await agent.store.read(query, { consistency: "default" });
        return { status: 200, headers: ["Content-Type", "text/plain"], body: utf8(`${answer.length}\n`) };
      },
    });
  },
};

describe("example: a plugin with an HTTP route", () => {
  it("counts the healthy instances of a service", async () => {
    const agent = await createAgent({ listen: "none", plugins: [counting] });
    assert.equal(await (await agent.fetch("/v1/count/consul")).text(), "1\n");
    assert.equal(await (await agent.fetch("/v1/count/nothing")).text(), "0\n");
    assert.equal((await agent.fetch("/v1/count/consul", { method: "POST" })).status, 405);
    await agent.stop();
  });
});
