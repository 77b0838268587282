import type { AgentApi } from "../../../core/plugin/agent-api.ts";
import { createHooks } from "../../../core/plugin/hooks.ts";
import { type AnyPlugin, PluginHost } from "../../../core/plugin/host.ts";
import type { ExtensionPoint, Plugin } from "../../../core/plugin/plugin.ts";
import type { Logger, Runtime } from "../../../core/ports/mod.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";

const silent: Logger = { log: () => {}, enabled: () => false, child: () => silent };
const runtime = { name: "test", logger: silent, crypto: {} } as unknown as Runtime;

function host(plugins: readonly AnyPlugin[], sections: Record<string, unknown> = {}): PluginHost {
  return new PluginHost({ plugins, runtime, agent: {} as AgentApi, hooks: createHooks(() => {}), logger: silent, sections });
}

/** A plugin that writes its life into `diary`. */
function diarist(diary: string[], name: string, more: Partial<Plugin> = {}): Plugin {
  return {
    name,
    setup: () => {
      diary.push(`${name} set up`);
      return {
        start: async () => void diary.push(`${name} started`),
        stop: async () => void diary.push(`${name} stopped`),
      };
    },
    ...more,
  };
}

describe("the plugin host", () => {
  it("sets all up, starts in the order of `after`, and stops in reverse", async () => {
    const diary: string[] = [];
    const running = host([diarist(diary, "ui", { after: ["http"] }), diarist(diary, "http")]);
    await running.start();
    await running.stop(0);
    assert.deepEqual(diary, ["http set up", "ui set up", "http started", "ui started", "ui stopped", "http stopped"]);
  });

  it("stops what had started when a start fails, and reports that failure", async () => {
    const diary: string[] = [];
    const failing: Plugin = { name: "bad", setup: () => ({ start: () => Promise.reject(new Error("port taken")) }) };
    await assert.rejects(host([diarist(diary, "good"), failing, diarist(diary, "later")]).start(), /port taken/);
    assert.deepEqual(diary, ["good set up", "later set up", "good started", "good stopped"]);
  });

  it("refuses a plugin whose port the runtime lacks, naming both", () => {
    assert.throws(
      () => host([{ name: "dns", needs: ["crypto", "datagrams"], setup: () => {} }]),
      /Plugin "dns" needs datagrams, which the runtime "test" does not have/,
    );
  });

  it("refuses unknown and circular predecessors, naming both sides", () => {
    const plugin = (name: string, after: string[]): Plugin => ({ name, after, setup: () => {} });
    assert.throws(() => host([plugin("a", ["b"])]), /"a" must start after "b", which is not among/);
    assert.throws(() => host([plugin("a", ["b"]), plugin("b", ["a"])]), /a after b after a/);
    assert.throws(() => host([plugin("a", []), plugin("a", [])]), /Two plugins are named "a"/);
  });

  it("gives each plugin its section, parsed by its own schema", async () => {
    let given: unknown;
    const plugin: Plugin<number> = {
      name: "counter",
      config: {
        key: "counter",
        schema: {
          parse: (section) => {
            if (typeof section !== "number") throw new AgentError("config-invalid", { message: "counter: must be a number" });
            return section;
          },
        },
      },
      setup: ({ config }) => {
        given = config;
      },
    };
    await host([plugin], { counter: 7 }).start();
    assert.equal(given, 7);
    await assert.rejects(host([plugin], { counter: "seven" }).start(), /counter: must be a number/);
  });

  it("hands extensions of a point to its owner, checked when they are plugged in", async () => {
    const point: ExtensionPoint<string> = {
      name: "greeting",
      check: (text) => {
        if (text === "") throw new Error("empty greeting");
      },
    };
    const heard: string[] = [];
    const owner: Plugin = {
      name: "owner",
      setup: ({ extensions }) => ({ start: async () => void heard.push(...extensions(point)) }),
    };
    await host([owner, { name: "one", setup: ({ extend }) => extend(point, "hello") }]).start();
    assert.deepEqual(heard, ["hello"]);
    await assert.rejects(host([{ name: "two", setup: ({ extend }) => extend(point, "") }]).start(), /empty greeting/);
  });

  it("remembers where each surface listens", async () => {
    const running = host([{ name: "http", setup: ({ announce }) => announce("http", { host: "127.0.0.1", port: 8500 }) }]);
    await running.start();
    assert.deepEqual(running.addresses("http"), [{ host: "127.0.0.1", port: 8500 }]);
    assert.deepEqual(running.addresses("dns"), []);
  });
});

describe("hooks", () => {
  it("notify tells everyone, also after one of them threw", () => {
    const heard: string[] = [];
    const broken: string[] = [];
    const hooks = createHooks((hook) => broken.push(hook));
    hooks.onNotify("leaderChanged", () => {
      throw new Error("x");
    });
    hooks.onNotify("leaderChanged", ({ leader }) => void heard.push(String(leader)));
    hooks.notify("leaderChanged", { leader: "a" });
    assert.deepEqual([heard, broken], [["a"], ["leaderChanged"]]);
  });

  it("filter passes the value through in order, and first takes the first answer", () => {
    const hooks = createHooks(() => {});
    hooks.onFilter("registerService", (service) => ({ ...service, name: `${service.name}-a` }));
    hooks.onFilter("registerService", (service) => ({ ...service, name: `${service.name}-b` }));
    assert.equal(hooks.filter("registerService", { name: "web" } as never).name, "web-a-b");
    const question = { token: "", resource: "x", action: "read" as const };
    assert.equal(hooks.first("authorize", question), undefined);
    hooks.onFirst("authorize", () => undefined);
    hooks.onFirst("authorize", () => false);
    hooks.onFirst("authorize", () => true);
    assert.equal(hooks.first("authorize", question), false);
  });
});
