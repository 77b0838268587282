import type { Clock } from "../../../core/ports/clock.ts";
import type { Command, CommandResult, ProcessRunner } from "../../../core/ports/process-runner.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { runCommandLine } from "../../../plugins/cli/command-line.ts";
import type { CliContext } from "../../../plugins/cli/context.ts";
import { FakeHost, type Scripted, ScriptedHttpClient } from "../../support/fake-host.ts";
import { assert, describe, it } from "../../support/harness.ts";

interface Watched {
  readonly code: number;
  readonly host: FakeHost;
  readonly targets: readonly string[];
  readonly children: readonly Command[];
  /** Delays asked of the clock. */
  readonly pauses: readonly number[];
}

/** Runs `consul watch -type=key -key=a …` with children that exit with `exits` in turn and a clock that never waits. */
async function watch(options: {
  readonly words: readonly string[];
  readonly answers: readonly Scripted[];
  readonly exits: readonly number[];
}): Promise<Watched> {
  const host = new FakeHost({ argv: ["watch", "-type=key", "-key=a", ...options.words] });
  const httpClient = new ScriptedHttpClient([{ status: 200, body: "{}" }, ...options.answers]);
  const children: Command[] = [];
  const pauses: number[] = [];
  const processes: ProcessRunner = {
    run(command): Promise<CommandResult> {
      const code = options.exits[children.length] as number;
      children.push(command);
      return Promise.resolve({ kind: "exited", code, output: utf8(`child ${children.length}\n`), outputBytesTotal: 8 });
    },
    start: () => assert.fail("a watch's child runs to its end"),
  };
  const clock = {
    wall: () => 0,
    after(delay: number, fire: () => void) {
      pauses.push(delay);
      let cancelled = false;
      void Promise.resolve().then(() => cancelled || fire());
      return { cancel: () => (cancelled = true) };
    },
  } as unknown as Clock;
  const code = await runCommandLine({ argv: host.argv, host, httpClient, clock, processes } as unknown as CliContext);
  return {
    code,
    host,
    targets: httpClient.requests.slice(1).map(({ url }) => url.replace("http://127.0.0.1:8500", "")),
    children,
    pauses,
  };
}

function state(index: number, value: string): Scripted {
  return {
    status: 200,
    body: JSON.stringify([{ Key: "a", Value: value, ModifyIndex: index }]),
    headers: { "x-consul-index": String(index) },
  };
}

describe("watch", () => {
  it("runs the child for the first state and for each other one, with the state on its standard input", async () => {
    const { code, host, targets, children } = await watch({
      words: ["./go", "now"],
      answers: [state(5, "MQ=="), state(7, "Mg==")],
      exits: [0, 1],
    });
    assert.deepEqual(targets, ["/v1/kv/a", "/v1/kv/a?index=5"]);
    assert.deepEqual(
      children.map(({ argv, env, stdin }) => [argv, env["CONSUL_INDEX"], text(stdin as Uint8Array)]),
      [
        [
          ["/bin/sh", "-c", "./go now"],
          "5",
          '{"Key":"a","CreateIndex":0,"ModifyIndex":5,"LockIndex":0,"Flags":0,"Value":"MQ==","Session":""}\n',
        ],
        [
          ["/bin/sh", "-c", "./go now"],
          "7",
          '{"Key":"a","CreateIndex":0,"ModifyIndex":7,"LockIndex":0,"Flags":0,"Value":"Mg==","Session":""}\n',
        ],
      ],
    );
    assert.deepEqual(host.written, {
      ...host.written,
      stdout: "child 1\nchild 2\n",
      stderr: "Error executing handler: exit status 1\n",
    });
    assert.equal(code, 1);
  });

  it("tells the child how to reach the agent, and runs it without a shell when asked to", async () => {
    const { children } = await watch({
      words: ["-shell=false", "-token=t", "-stale", "./go", "a b"],
      answers: [state(5, "MQ==")],
      exits: [2],
    });
    assert.deepEqual(children[0]?.argv, ["./go", "a b"]);
    assert.deepEqual(children[0]?.env, { CONSUL_HTTP_TOKEN: "t", CONSUL_INDEX: "5" });
  });

  it("does not run the child for an answer that says nothing new, and does not spin on it", async () => {
    const same = state(5, "MQ==");
    const { targets, children, pauses } = await watch({
      words: ["x"],
      answers: [same, same, state(6, "MQ=="), state(7, "Mg==")],
      exits: [0, 0, 1],
    });
    assert.deepEqual(targets, ["/v1/kv/a", "/v1/kv/a?index=5", "/v1/kv/a?index=5", "/v1/kv/a?index=6"]);
    assert.equal(children.length, 3);
    assert.deepEqual(pauses, [1000]);
  });

  it("retries a failed query ever more slowly, and begins anew", async () => {
    const refused = { error: "dial tcp: connect: connection refused" };
    const answers = [
      state(5, "MQ=="),
      refused,
      refused,
      { status: 500, body: "No cluster leader" },
      state(5, "MQ=="),
      state(9, "Mg=="),
    ];
    const { host, targets, children, pauses } = await watch({ words: ["x"], answers, exits: [0, 1] });
    assert.deepEqual(pauses, [5_000, 20_000, 45_000]);
    assert.deepEqual(targets.slice(2), ["/v1/kv/a", "/v1/kv/a", "/v1/kv/a", "/v1/kv/a?index=5"]);
    assert.equal(children.length, 2);
    assert.ok(
      host.written.stderr.includes(
        '1970-01-01T00:00:00.000Z [ERROR] watch.watch: Watch errored: type=key error="Unexpected response code: 500 (No cluster leader)" retry=45s',
      ),
    );
  });

  it("an index that goes back is no index: the state was restored", async () => {
    const { targets } = await watch({
      words: ["x"],
      answers: [state(50, "MQ=="), state(3, "Mg=="), state(4, "Mw==")],
      exits: [0, 0, 1],
    });
    assert.deepEqual(targets, ["/v1/kv/a", "/v1/kv/a?index=50", "/v1/kv/a"]);
  });
});
