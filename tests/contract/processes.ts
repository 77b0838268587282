import { text, utf8 } from "../../core/types/bytes.ts";
import type { Command, CommandResult } from "../../core/ports/process-runner.ts";
import { assert, describe } from "../support/harness.ts";
import { ample, claim, type Subject } from "./subject.ts";

export function processesContract(subject: Subject<"processes">): void {
  const { processes, clock } = subject.runtime;
  const run = (
    argv: readonly [string, ...string[]],
    options: Partial<Command> = {},
    cancel?: AbortSignal,
  ): Promise<CommandResult> => processes.run({ argv, env: {}, timeout: ample, outputBytesMax: 4096, ...options }, cancel);
  const shell = (script: string, options: Partial<Command> = {}, cancel?: AbortSignal): Promise<CommandResult> =>
    run(["/bin/sh", "-c", script], options, cancel);

  describe(`processes of ${subject.name}`, () => {
    claim(subject, "exit code and output of both kinds are given back", async () => {
      const result = await shell("echo out; echo err >&2; exit 3");
      assert.equal(result.kind, "exited");
      if (result.kind !== "exited") return;
      assert.equal(result.code, 3);
      assert.deepEqual(text(result.output).split("\n").sort(), ["", "err", "out"]);
      assert.equal(result.outputBytesTotal, 8);
    });

    claim(subject, "of much output the last bytes are kept, and all are counted", async () => {
      const result = await shell("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done", { outputBytesMax: 20 });
      assert.equal(result.kind, "exited");
      if (result.kind !== "exited") return;
      assert.equal(text(result.output), "line 1998\nline 1999\n");
      assert.equal(result.outputBytesTotal, 18_890);
    });

    claim(subject, "variables are added to the agent's own, and standard input is fed", async () => {
      const result = await shell('cat; echo "$GREETING $PATH"', { env: { GREETING: "hello" }, stdin: utf8("fed ") });
      assert.equal(result.kind === "exited" && text(result.output), `fed hello ${process.env["PATH"]}\n`);
    });

    claim(subject, "without standard input the command sees its end", async () => {
      assert.equal((await shell("cat")).kind, "exited");
    });

    claim(subject, "a command that outlives its timeout dies with everything it started", async () => {
      // Left alone, it would go on for longer than any test may; and its output with it, which the second one holds open.
      const script = "echo begun; sleep 86400 & sleep 86400";
      // On a slow machine the time may be over before the command has come so far.
      for (let timeout = 100, output = ""; output === ""; timeout *= 4) {
        const result = await shell(script, { timeout });
        assert.ok(result.kind === "timeout");
        output = text(result.output);
        assert.ok(output === "" || output === "begun\n");
      }
    });

    claim(subject, "a cancelled command dies too", async () => {
      const controller = new AbortController();
      const running = shell("sleep 86400", { timeout: 2 * ample }, controller.signal);
      controller.abort();
      const result = await running;
      assert.equal(result.kind === "failed" && result.error.message, "context canceled");
    });

    claim(subject, "a command that a signal ended says which", async () => {
      const result = await shell("kill -TERM $$");
      assert.equal(result.kind === "signalled" && result.signal, "SIGTERM");
    });

    claim(subject, "a command that cannot be started fails in Go's words", async () => {
      const unknown = await run(["no-such-command-here"]);
      assert.equal(
        unknown.kind === "failed" && unknown.error.message,
        'exec: "no-such-command-here": executable file not found in $PATH',
      );
      const missing = await run(["/no/such/file"]);
      assert.equal(missing.kind === "failed" && missing.error.message, "fork/exec /no/such/file: no such file or directory");
      const forbidden = await run(["/etc/passwd"]);
      assert.equal(forbidden.kind === "failed" && forbidden.error.message, "fork/exec /etc/passwd: permission denied");
    });

    claim(subject, "a started command's output of both kinds comes as it is printed, and then how it ended", async () => {
      const printed: string[] = [];
      let first = (): void => {};
      const begun = new Promise<void>((resolve) => {
        first = resolve;
      });
      const output = async (piece: Uint8Array): Promise<void> => {
        printed.push(text(piece));
        first();
      };
      // Ends when it is told to, after its first line was seen.
      const argv = ["/bin/sh", "-c", 'trap "echo $NAME >&2; exit 3" TERM; echo ready; while :; do sleep 0.05; done'] as const;
      const running = processes.start({ argv, env: { NAME: "told" }, stdin: "none", output });
      await begun;
      assert.equal(printed.join(""), "ready\n");
      running.signal("SIGTERM");
      assert.deepEqual(await running.ended, { kind: "exited", code: 3 });
      assert.equal(printed.join(""), "ready\ntold\n");
      running.signal("SIGTERM");
    });

    claim(subject, "a started command's output is not read on before the last piece is dealt with", async () => {
      let open = 0;
      let together = 0;
      let bytes = 0;
      const output = async (piece: Uint8Array): Promise<void> => {
        open++;
        together = Math.max(together, open);
        bytes += piece.length;
        await new Promise<void>((resolve) => void clock.after(1, resolve));
        open--;
      };
      const argv = ["/bin/sh", "-c", "head -c 1000000 /dev/zero"] as const;
      const { ended } = processes.start({ argv, env: {}, stdin: "none", output });
      assert.deepEqual(await ended, { kind: "exited", code: 0 });
      assert.deepEqual([together, bytes], [1, 1_000_000]);
    });

    claim(subject, "a started command that a signal ends says which", async () => {
      const argv = ["/bin/sh", "-c", "kill -9 $$"] as const;
      const { ended } = processes.start({ argv, env: {}, stdin: "none", output: async () => {} });
      assert.deepEqual(await ended, { kind: "signalled", signal: "SIGKILL" });
    });

    claim(subject, "a started command that does not exist ends in Go's words", async () => {
      const running = processes.start({ argv: ["no-such-command-here"], env: {}, stdin: "none", output: async () => {} });
      const end = await running.ended;
      assert.equal(
        end.kind === "failed" && end.error.message,
        'exec: "no-such-command-here": executable file not found in $PATH',
      );
      running.signal("SIGKILL");
    });
  });
}
