/** Output that comes after its command's end, with a clock that is turned by hand. */
import { createProcesses } from "../../../adapters/node-api/processes.ts";
import { text } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualClock } from "../../support/virtual-clock.ts";

const shell = (script: string) => ["/bin/sh", "-c", script] as const;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Until the system has forgotten the process, so that its end was seen here. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await turn();
  }
}

describe("output after the end of a command", () => {
  it("is passed on to its last byte, however long whoever takes it is busy with the first", async () => {
    const clock = new VirtualClock();
    let go = (): void => {};
    const free = new Promise<void>((resolve) => {
      go = resolve;
    });
    let began = (): void => {};
    const busy = new Promise<void>((resolve) => {
      began = resolve;
    });
    let bytes = 0;
    const running = createProcesses(clock).start({
      argv: shell("printf first; head -c 100000 /dev/zero"),
      env: {},
      stdin: "none",
      output: async (piece) => {
        began();
        await free;
        bytes += piece.length;
      },
    });
    await busy;
    await gone(running.pid as number);
    await turn();
    for (let seconds = 0; seconds < 60; seconds++) await clock.advance(1_000);
    go();
    assert.deepEqual(await running.ended, { kind: "exited", code: 0 });
    assert.equal(bytes, 100_005);
  });

  it("of a child that was left behind and is silent is not waited for", async () => {
    const clock = new VirtualClock();
    let printed = "";
    const running = createProcesses(clock).start({
      argv: shell("sleep 86400 & echo $!"),
      env: {},
      stdin: "none",
      output: async (piece) => {
        printed += text(piece);
      },
    });
    let ended = false;
    void running.ended.then(() => {
      ended = true;
    });
    while (!printed.includes("\n")) await turn();
    while (!ended) await clock.advance(100);
    assert.deepEqual(await running.ended, { kind: "exited", code: 0 });
    process.kill(Number(printed), "SIGKILL");
  });
});
