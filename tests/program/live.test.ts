/** Commands that live until they are told to end: what they print, and what an interrupt makes of them. */
import { type ChildProcess, spawn } from "node:child_process";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { consulPath, RunningAgent } from "../support/program.ts";

interface Live {
  readonly child: ChildProcess;
  /** Resolves when the text was printed. */
  printed(text: string): Promise<void>;
  /** All that was printed. */
  output(): string;
  readonly code: Promise<number | null>;
}

function live(agent: RunningAgent, ...args: readonly string[]): Live {
  const env = { ...process.env, CONSUL_HTTP_ADDR: `127.0.0.1:${agent.ports.http}`, SHELL: "/bin/sh" };
  const child = spawn(consulPath, args, { env });
  let output = "";
  const waiting = new Set<() => void>();
  const take = (chunk: unknown): void => {
    output += String(chunk);
    for (const look of [...waiting]) look();
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const code = new Promise<number | null>((resolve) => child.on("close", (ended) => resolve(ended)));
  const printed = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!output.includes(text)) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      void code.then(() => reject(new Error(`ended without ${JSON.stringify(text)}:\n${output}`)));
      look();
    });
  return { child, printed, output: () => output, code };
}

describe("commands that live until they are told to end", () => {
  let agent: RunningAgent;
  before(async () => {
    agent = await RunningAgent.start({ args: ["-dev", "-node=n1", "-log-level=info"] });
  });
  after(() => agent?.stop());

  it("consul monitor shows lines below the level of the agent's own log as they are written; an interrupt ends it well", async () => {
    const monitor = live(agent, "monitor", "-log-level=debug");
    const shown = monitor.printed("url=/v1/status/leader");
    let seen = false;
    void shown.then(() => {
      seen = true;
    });
    // From when on it follows nobody tells: ask until it was there.
    while (!seen) await agent.request("GET", "/v1/status/leader");
    await shown;
    assert.match(monitor.output(), /^\S+ \[DEBUG\] agent\.http: Request finished: method=GET url=/m);
    monitor.child.kill("SIGINT");
    assert.equal(await monitor.code, 0);
    assert.ok(!monitor.output().includes("Remote side"));
  });

  it("consul lock hands an interrupt on to its child, waits for it, and leaves nothing behind", async () => {
    const script = 'trap "echo told; exit 0" TERM; echo ready $CONSUL_LOCK_HELD; while :; do sleep 0.05; done';
    const lock = live(agent, "lock", "-verbose", "jobs", script);
    await lock.printed("ready true");
    assert.equal((await agent.request("GET", "/v1/kv/jobs/.lock")).status, 200);
    lock.child.kill("SIGINT");
    assert.equal(await lock.code, 0);
    assert.ok(lock.output().includes("Shutdown triggered, killing child"));
    assert.ok(lock.output().includes("told\n"));
    assert.equal((await agent.request("GET", "/v1/kv/jobs?keys")).status, 404);
    assert.deepEqual(await agent.json("/v1/session/list"), []);
  });

  it("consul lock gives its child our input when it is asked to, and exits with 2 for it", async () => {
    const lock = live(agent, "lock", "-pass-stdin", "-child-exit-code", "jobs", "cat; exit 4");
    lock.child.stdin?.end("from the pipe\n");
    assert.equal(await lock.code, 2);
    assert.equal(lock.output(), "from the pipe\nError running handler: exit status 4\n");
  });

  it("consul watch -type=event runs its child for each event, with that event alone", async () => {
    const watch = live(agent, "watch", "-type=event", "-name=deploy", "echo got; cat; test $CONSUL_INDEX -gt 1 || true");
    await watch.printed("got\n[]\n");
    await agent.consul(["event", "-name=other", "x"]);
    await agent.consul(["event", "-name=deploy", "one"]);
    await watch.printed('"Payload":"b25l"');
    await agent.consul(["event", "-name=deploy", "two"]);
    await watch.printed('"Payload":"dHdv"');
    assert.ok(!watch.output().split("got\n").at(-1)?.includes("b25l"));
    watch.child.kill("SIGINT");
    await watch.code;
  });
});
