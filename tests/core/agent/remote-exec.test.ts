import { RemoteExec } from "../../../core/agent/remote-exec.ts";
import type { Command, KvOp } from "../../../core/catalog/commands.ts";
import type { StoreApi, UserEvent } from "../../../core/plugin/agent-api.ts";
import type { CommandEnd, LiveCommand, Logger, ProcessRunner } from "../../../core/ports/mod.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

/** An agent "n1" with a store that holds `job`, and programs that do what the test says. */
function createExec(job: object | string | undefined) {
  const clock = new VirtualClock();
  const host = new FakeHost({ env: { SHELL: "/bin/zsh" } });
  const written: string[] = [];
  const reads: string[] = [];
  const lines: string[] = [];
  const started: LiveCommand[] = [];
  const signals: string[] = [];
  let end: (end: CommandEnd) => void = () => {};
  const state = { gone: false };
  const store = {
    now: () => 0,
    async read({ key }: { readonly key: string }, { consistency }: { readonly consistency: string }) {
      reads.push(`${consistency} ${key}`);
      const value = job === undefined ? undefined : utf8(typeof job === "string" ? job : JSON.stringify(job));
      return { meta: { index: 1, knownLeader: true, lastContact: 0 }, answer: value && { value } };
    },
    async write(command: Command) {
      const op = (command as { readonly op: Extract<KvOp, { op: "acquire" }> }).op;
      if (!state.gone) written.push(`${op.key}=${text(op.value)}`);
      assert.equal(op.session, "s1");
      return { kind: "took", effect: !state.gone };
    },
  } as unknown as StoreApi;
  const processes: ProcessRunner = {
    run: () => assert.fail("output is wanted as it comes"),
    start(command) {
      started.push(command);
      const ended = new Promise<CommandEnd>((resolve) => {
        end = resolve;
      });
      return { pid: 1, signal: (signal) => void signals.push(signal), ended };
    },
  };
  const logger = { log: (level: string, message: string) => lines.push(`${level} ${message}`) } as unknown as Logger;
  const exec = new RemoteExec({ store, processes, host, clock, logger, node: "n1", uniqueName: () => "-unique" });
  const print = (output: string): Promise<void> => {
    const [command] = started;
    assert.ok(command !== undefined && command.output !== "inherit");
    return command.output(utf8(output));
  };
  return { exec, clock, host, written, reads, lines, started, signals, state, print, end: (how: CommandEnd) => end(how) };
}

function ask(payload = '{"Prefix":"_rexec","Session":"s1"}'): UserEvent {
  const filters = { nodeFilter: "", serviceFilter: "", tagFilter: "" };
  return { name: "_rexec", id: "e1", payload: utf8(payload), version: 1, time: 1, ...filters };
}

async function quiet(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await settle();
}

const second = 1e9;

describe("remote execution", () => {
  it("a command is acknowledged, run by a shell, its output written, and then its exit code", async () => {
    const { exec, written, started, print, end } = createExec({ Command: "uptime | cut -c1", Wait: 2 * second });
    exec.handle(ask());
    await quiet();
    assert.deepEqual(written, ["_rexec/s1/n1/ack="]);
    assert.deepEqual(started[0]?.argv.slice(-3), ["/bin/zsh", "-c", "uptime | cut -c1"]);
    void print("up 3 days\n");
    end({ kind: "exited", code: 3 });
    await quiet();
    assert.deepEqual(written.slice(1), ["_rexec/s1/n1/out/00000=up 3 days\n", "_rexec/s1/n1/exit=3"]);
  });

  it("the job is looked for where the command puts it, whatever slashes the prefix has", async () => {
    for (const [prefix, folder] of [
      ["", "s1"],
      ["a//b/", "a/b/s1"],
    ]) {
      const { exec, reads, written } = createExec({ Command: "x", Wait: second });
      exec.handle(ask(JSON.stringify({ Prefix: prefix, Session: "s1" })));
      await quiet();
      assert.deepEqual(reads, [`stale ${folder}/job`]);
      assert.deepEqual(written, [`${folder}/n1/ack=`]);
    }
  });

  it("words are run as they are, without a shell", async () => {
    const { exec, started } = createExec({ Args: ["printf", "a b"], Wait: second });
    exec.handle(ask());
    await quiet();
    assert.deepEqual(started[0]?.argv, ["printf", "a b"]);
  });

  it("a script is put into a file of its own, which is gone afterwards", async () => {
    const { exec, started, host, end } = createExec({ Script: btoa("echo hi\n"), Wait: second });
    exec.handle(ask());
    await quiet();
    const file = started[0]?.argv.at(-1) as string;
    assert.equal(file, "/tmp/rexec-unique");
    assert.equal(text(await host.readFile(file)), "echo hi\n");
    end({ kind: "exited", code: 0 });
    await quiet();
    await assert.rejects(host.readFile(file));
  });

  it("output is written when it is enough for a piece, or after half a second", async () => {
    const { exec, written, clock, print } = createExec({ Command: "x", Wait: 60 * second });
    exec.handle(ask());
    await quiet();
    void print("little");
    await quiet();
    assert.equal(written.length, 1);
    await clock.advance(500);
    await quiet();
    assert.deepEqual(written.slice(1), ["_rexec/s1/n1/out/00000=little"]);
    void print("x".repeat(5000));
    await quiet();
    assert.deepEqual(
      written.slice(2).map((line) => line.length - line.indexOf("=") - 1),
      [4096, 904],
    );
  });

  it("a program that prints nothing shows that it lives, as often as the asker wants to hear of it", async () => {
    const { exec, written, clock } = createExec({ Command: "sleep 5", Wait: 2 * second });
    exec.handle(ask());
    await quiet();
    await clock.advance(4_000);
    await quiet();
    assert.deepEqual(written.slice(1), ["_rexec/s1/n1/out/00000=", "_rexec/s1/n1/out/00001="]);
  });

  it("when the asker is gone the program is ended, and nothing more is written", async () => {
    const { exec, signals, state, print, end, written, lines } = createExec({ Command: "yes", Wait: second });
    exec.handle(ask());
    await quiet();
    state.gone = true;
    void print("y".repeat(5000));
    await quiet();
    assert.deepEqual(signals, ["SIGKILL"]);
    end({ kind: "signalled", signal: "SIGKILL" });
    await quiet();
    assert.equal(written.length, 1);
    assert.ok(lines.includes("error failed to write remote exec result"));
  });

  it("what cannot be started is told as exit code 255", async () => {
    const { exec, written, end } = createExec({ Command: "x", Wait: second });
    exec.handle(ask());
    await quiet();
    end({ kind: "failed", error: new Error("no shell") });
    await quiet();
    assert.equal(written.at(-1), "_rexec/s1/n1/exit=255");
  });

  it("a job that is not there is looked for with the leader, and then left", async () => {
    const { exec, reads, written } = createExec(undefined);
    exec.handle(ask());
    await quiet();
    assert.deepEqual(reads, ["stale _rexec/s1/job", "default _rexec/s1/job"]);
    assert.deepEqual(written, []);
  });

  for (const job of ["nonsense", "[]", '{"Command":7}', '{"Script":"%"}', '{"Wait":1}'])
    it(`what is no job is not acknowledged: ${job}`, async () => {
      const { exec, written, started, lines } = createExec(job);
      exec.handle(ask());
      await quiet();
      assert.deepEqual([written, started], [[], []]);
      assert.ok(lines.includes("error failed to decode remote exec spec"));
    });

  it("an event that is no request is logged and left", async () => {
    const { exec, reads, lines } = createExec({ Command: "x" });
    exec.handle(ask("nonsense"));
    await quiet();
    assert.deepEqual(reads, []);
    assert.ok(lines.includes("error failed to decode remote exec event"));
  });

  it("at most 64 jobs run at a time", async () => {
    const { exec, started, lines } = createExec({ Command: "sleep", Wait: second });
    for (let job = 0; job < 70; job++) exec.handle(ask());
    await quiet();
    assert.equal(started.length, 64);
    assert.equal(lines.filter((line) => line.startsWith("warn ignoring remote exec event")).length, 6);
  });
});
