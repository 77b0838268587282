import type { AgentConfig } from "../../../core/config/config.ts";
import type { AgentApi } from "../../../core/plugin/agent-api.ts";
import { createHooks, type Hooks } from "../../../core/plugin/hooks.ts";
import { type AnyPlugin, PluginHost } from "../../../core/plugin/host.ts";
import type { DirectRequest, DirectResponse } from "../../../core/ports/http.ts";
import type { HttpClientRequest, Logger, Runtime } from "../../../core/ports/mod.ts";
import type { Command, CommandResult } from "../../../core/ports/process-runner.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import type { Cancel } from "../../../core/types/cancel.ts";
import { innerApi } from "../../../plugins/http/extension.ts";
import { programTimeout } from "../../../plugins/watches/handlers.ts";
import { watchesPlugin } from "../../../plugins/watches/plugin.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

/** An agent with the plugin and a key "a" that the test changes. What the plugin does to the world is kept. */
class Scene {
  readonly clock = new VirtualClock();
  readonly log: string[] = [];
  readonly asked: string[] = [];
  readonly commands: { readonly command: Command; readonly cancel: Cancel | undefined }[] = [];
  readonly sent: HttpClientRequest[] = [];
  readonly hooks: Hooks;
  readonly host: PluginHost;
  /** How programs end; "never" waits for the cancel. */
  exit: CommandResult | "never" = { kind: "exited", code: 0, output: utf8("done"), outputBytesTotal: 4 };
  status = 200;
  #index = 1;
  #waiting: (() => void)[] = [];

  constructor(watches: readonly Readonly<Record<string, unknown>>[], httpAddrs: readonly unknown[] = [{}]) {
    const config = { watches, httpAddrs, httpsAddrs: [] } as unknown as AgentConfig;
    this.hooks = createHooks((hook, error) => this.log.push(`${hook}: ${error}`));
    const api: AnyPlugin = {
      name: "http",
      setup: (context) => context.extend(innerApi, { ask: (request) => this.#answer(request) }),
    };
    this.host = new PluginHost({
      plugins: [watchesPlugin, api],
      runtime: this.#runtime(),
      agent: { config } as AgentApi,
      hooks: this.hooks,
      logger: this.#logger("agent"),
      sections: {},
    });
  }

  /** The key has a new value. */
  async change(): Promise<void> {
    this.#index++;
    for (const wake of this.#waiting.splice(0)) wake();
    await settle();
  }

  #runtime(): Runtime {
    return {
      clock: this.clock,
      logger: this.#logger(""),
      host: { env: { SHELL: "/bin/test-shell" } },
      processes: {
        run: (command: Command, cancel?: Cancel): Promise<CommandResult> => {
          this.commands.push({ command, cancel });
          if (this.exit !== "never") return Promise.resolve(this.exit);
          return new Promise((resolve) => {
            const killed: CommandResult = { kind: "signalled", signal: "killed", output: utf8(""), outputBytesTotal: 0 };
            cancel?.addEventListener("abort", () => resolve(killed));
          });
        },
      },
      httpClient: {
        request: async (request: HttpClientRequest) => {
          this.sent.push(request);
          return { status: this.status, statusText: "Said", headers: {}, body: utf8("x".repeat(5000)), truncated: false };
        },
      },
    } as unknown as Runtime;
  }

  async #answer(request: DirectRequest): Promise<DirectResponse> {
    const token = request.header("x-consul-token");
    this.asked.push(`${request.target}${token === undefined ? "" : ` as ${token}`}`);
    const seen = Number(/index=(\d+)/.exec(request.target)?.[1] ?? "0");
    if (seen === this.#index) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push(resolve);
        request.cancel.addEventListener("abort", () => reject(new Error("cancelled")));
      });
    }
    const body = utf8(JSON.stringify([{ Key: "a", Value: "eA==", ModifyIndex: this.#index, Flags: 7 }]));
    return { status: 200, headers: ["X-Consul-Index", String(this.#index)], body };
  }

  #logger(name: string): Logger {
    return {
      enabled: () => true,
      child: (child) => this.#logger(name === "" ? child : `${name}.${child}`),
      log: (level, message, fields) => {
        if (level === "info") return;
        const shown = Object.entries(fields ?? {}).map(([key, value]) => ` ${key}=${String(value)}`);
        this.log.push(`${level} ${name}: ${message}${shown.join("")}`);
      },
    };
  }
}

const watchA = { type: "key", key: "a", args: ["./go", "now"] };
const pair = (index: number): string =>
  `{"Key":"a","CreateIndex":0,"ModifyIndex":${index},"LockIndex":0,"Flags":7,"Value":"eA==","Session":""}\n`;

async function started(...watches: readonly Readonly<Record<string, unknown>>[]): Promise<Scene> {
  const scene = new Scene(watches);
  await scene.host.start();
  await settle();
  return scene;
}

describe("watches of the configuration", () => {
  it("a program runs now and after each change, with the state on its standard input and the index in CONSUL_INDEX", async () => {
    const scene = await started({ ...watchA, token: "secret", datacenter: "dc2" });
    await scene.change();
    assert.deepEqual(scene.asked, [
      "/v1/kv/a?dc=dc2 as secret",
      "/v1/kv/a?dc=dc2&index=1 as secret",
      "/v1/kv/a?dc=dc2&index=2 as secret",
    ]);
    assert.deepEqual(
      scene.commands.map(({ command }) => ({ ...command, stdin: text(command.stdin as Uint8Array) })),
      [1, 2].map((index) => ({
        argv: ["./go", "now"],
        env: { CONSUL_INDEX: String(index) },
        timeout: programTimeout,
        outputBytesMax: 4096,
        stdin: pair(index),
      })),
    );
    assert.deepEqual(scene.log, Array(2).fill("debug agent: watch handler output watch_handler=./go,now output=done"));
    await scene.host.stop(500);
  });

  it("a script runs in the shell, with a word on its being deprecated", async () => {
    const scene = await started({ type: "key", key: "a", handler: "cat | wc" });
    assert.deepEqual(scene.commands[0]?.command.argv, ["/bin/test-shell", "-c", "cat | wc"]);
    assert.match(scene.log[0] as string, /^warn agent: The 'handler' field in watches has been deprecated/);
    await scene.host.stop(500);
  });

  it("how a program fails, and of long outputs the end, is logged; the watch goes on", async () => {
    const scene = await started(watchA);
    const output = utf8("the end");
    const exits: readonly CommandResult[] = [
      { kind: "exited", code: 3, output, outputBytesTotal: 9000 },
      { kind: "signalled", signal: "killed", output, outputBytesTotal: 7 },
      { kind: "failed", error: new Error('exec: "./go": executable file not found in $PATH') },
    ];
    scene.log.splice(0);
    for (const exit of exits) {
      scene.exit = exit;
      await scene.change();
    }
    assert.deepEqual(scene.log, [
      "error agent: Failed to run watch handler watch_handler=./go,now error=exit status 3",
      "debug agent: watch handler output watch_handler=./go,now output=Captured 7 of 9000 bytes\n...\nthe end",
      "error agent: Failed to run watch handler watch_handler=./go,now error=signal: killed",
      "debug agent: watch handler output watch_handler=./go,now output=the end",
      'error agent: Failed to run watch handler watch_handler=./go,now error=exec: "./go": executable file not found in $PATH',
      "debug agent: watch handler output watch_handler=./go,now output=",
    ]);
    await scene.host.stop(500);
  });

  it("a URL gets the state with the index as a header; what it answers is logged, the end of it", async () => {
    const header = { "x-a": ["b", "c"], "content-type": ["text/x"] };
    const request = { path: "http://h/", method: "PUT", timeout: "2s", tls_skip_verify: true, header };
    const scene = await started({ type: "key", key: "a", handler_type: "http", http_handler_config: request });
    scene.status = 503;
    await scene.change();
    const { body, cancel, ...rest } = scene.sent[0] as HttpClientRequest;
    assert.equal(text(body as Uint8Array), pair(1));
    assert.ok(cancel !== undefined);
    assert.deepEqual(rest, {
      method: "PUT",
      url: "http://h/",
      headers: { "Content-Type": ["application/json", "text/x"], "X-Consul-Index": ["1"], "x-a": ["b", "c"] },
      timeout: 2000,
      tls: { skipVerify: true },
      redirectsMax: 10,
      closeAfter: true,
      responseBytesMax: 1024 * 1024,
    });
    const said = `output=Captured 4096 of 5000 bytes\n...\n${"x".repeat(4096)}`;
    assert.deepEqual(scene.log, [
      `debug agent: http watch handler output watch=http://h/ ${said}`,
      `error agent: http watch handler failed with output watch=http://h/ status=503 Said ${said}`,
    ]);
    await scene.host.stop(500);
  });

  it("a reload ends them and begins those of the new configuration", async () => {
    const scene = await started(watchA);
    const next = { watches: [{ ...watchA, args: ["./other"] }], httpAddrs: [{}], httpsAddrs: [] } as unknown as AgentConfig;
    scene.hooks.notify("configReloaded", scene.hooks.filter("reloadConfig", next));
    await settle();
    await scene.change();
    assert.deepEqual(
      scene.commands.map(({ command }) => command.argv[0]),
      ["./go", "./other", "./other"],
    );
    await scene.host.stop(500);
  });

  it("a reload with a watch that is wrong is refused, and those that run go on", async () => {
    const scene = await started(watchA);
    const wrong = { watches: [{ type: "key" }], httpAddrs: [{}], httpsAddrs: [] } as unknown as AgentConfig;
    assert.throws(() => scene.hooks.filter("reloadConfig", wrong), {
      message: "Failed reloading watches: Failed to parse watch (map[string]interface {}{}): Must specify a single key to watch",
    });
    await scene.change();
    assert.equal(scene.commands.length, 2);
    await scene.host.stop(500);
  });

  it("a reload lets a program finish; a stop does so for as long as plugins have, then it is killed", async () => {
    const scene = await started(watchA);
    scene.exit = "never";
    await scene.change();
    const none = { watches: [], httpAddrs: [], httpsAddrs: [] } as unknown as AgentConfig;
    scene.hooks.notify("configReloaded", none);
    await settle();
    const { cancel } = scene.commands[1] as { cancel: Cancel };
    assert.equal(cancel.aborted, false);
    let stopped = false;
    void scene.host.stop(500).then(() => (stopped = true));
    await settle();
    await scene.clock.advance(499);
    assert.deepEqual([cancel.aborted, stopped], [false, false]);
    await scene.clock.advance(1);
    assert.deepEqual([cancel.aborted, stopped], [true, true]);
    assert.equal(scene.clock.pending, 0);
  });

  it("one that is wrong, or an agent without an HTTP API, stops the start in Consul's words", async () => {
    await assert.rejects(new Scene([watchA, { type: "connect_roots", args: ["x"] }]).host.start(), {
      message: "Watch type connect_roots is not allowed in agent config",
    });
    await assert.rejects(new Scene([watchA], []).host.start(), {
      message: "watch plans require an HTTP or HTTPS endpoint",
    });
  });
});
