/** `consul lock` against the HTTP API over a real catalog, in virtual time, with children that end when they are told to. */
import type { CommandEnd, LiveCommand, ProcessRunner } from "../../../core/ports/process-runner.ts";
import type { HttpClient } from "../../../core/ports/http.ts";
import { CommandError } from "../../../plugins/cli/command.ts";
import { command } from "../../../plugins/cli/commands/lock.ts";
import type { CliContext } from "../../../plugins/cli/context.ts";
import { parseFlags } from "../../../plugins/cli/flags.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { settle } from "../../support/virtual-clock.ts";
import { type AgentUnderTest, createAgentUnderTest } from "../http/agent-under-test.ts";

interface Child {
  readonly command: LiveCommand;
  readonly signals: string[];
  end(end: CommandEnd): void;
}

/** A host whose signals the test sends. */
class SignalledHost extends FakeHost {
  #receive: (() => void) | undefined;
  override onSignal(_signal?: string, receive?: () => void): void {
    this.#receive ??= receive;
  }
  interrupt(): void {
    this.#receive?.();
  }
}

function httpClientOf({ app }: AgentUnderTest, asked: string[]): HttpClient {
  return {
    async request({ method, url, headers, body, cancel }) {
      asked.push(`${method} ${url}`);
      const request = new Request(url, {
        method,
        headers: { ...(headers as Record<string, string>), ...(body && { "Content-Length": String(body.length) }) },
        ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
        ...(cancel === undefined ? {} : { signal: cancel as AbortSignal }),
      });
      const response = await app.fetch(request, { host: "127.0.0.1", port: 40_000 });
      const content = new Uint8Array(await response.arrayBuffer());
      return {
        status: response.status,
        statusText: "",
        headers: Object.fromEntries(response.headers),
        body: content,
        truncated: false,
      };
    },
  };
}

/** `consul lock …`, started. `code` is its exit code once it has ended. */
function lock(agent: AgentUnderTest, ...words: readonly string[]) {
  const host = new SignalledHost({ argv: ["lock", ...words] });
  const children: Child[] = [];
  const processes: ProcessRunner = {
    run: () => assert.fail("a lock's child lives as long as it likes"),
    start(command) {
      const signals: string[] = [];
      let end: (end: CommandEnd) => void = () => {};
      const ended = new Promise<CommandEnd>((resolve) => {
        end = resolve;
      });
      children.push({ command, signals, end });
      return { pid: 7, signal: (signal) => void signals.push(signal), ended };
    },
  };
  const state: { code?: number } = {};
  const asked: string[] = [];
  // Not through the table of commands, which loads them from the disk when they are called.
  const parsed = parseFlags(command.flags, words);
  assert.ok(parsed.kind === "parsed");
  const context = { argv: host.argv, host, httpClient: httpClientOf(agent, asked), clock: agent.clock, processes };
  const call = { ...parsed, context: context as unknown as CliContext, flags: parsed.values, args: parsed.positional };
  void command.run(call).then(
    (code) => {
      state.code = code;
    },
    (error: unknown) => {
      assert.ok(error instanceof CommandError);
      host.stderr(`${error.message}\n`);
      state.code = error.exitCode;
    },
  );
  return { host, children, state, asked };
}

/** Until nothing more happens by itself: far more turns than the longest chain of requests and answers has. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await settle();
}

async function keysOf({ app }: AgentUnderTest): Promise<readonly string[]> {
  const response = await app.fetch(new Request("http://127.0.0.1/v1/kv/?keys"), { host: "127.0.0.1", port: 1 });
  return response.status === 404 ? [] : ((await response.json()) as readonly string[]);
}

const done: CommandEnd = { kind: "exited", code: 0 };

function only(children: readonly Child[]): Child {
  assert.equal(children.length, 1);
  return children[0] as Child;
}

describe("consul lock", () => {
  it("runs the child while it holds the lock, and leaves nothing behind", async () => {
    const agent = await createAgentUnderTest();
    const { children, state } = lock(agent, "jobs/nightly", "./job", "now");
    await quiet();
    const child = only(children);
    assert.deepEqual(child.command.argv, ["/bin/sh", "-c", "./job now"]);
    assert.equal(child.command.env["CONSUL_LOCK_HELD"], "true");
    assert.deepEqual(await keysOf(agent), ["jobs/nightly/.lock"]);
    child.end(done);
    await quiet();
    assert.equal(state.code, 0);
    assert.deepEqual(await keysOf(agent), []);
  });

  it("one at a time: the second runs when the first is done", async () => {
    const agent = await createAgentUnderTest();
    const first = lock(agent, "a", "x");
    await quiet();
    const second = lock(agent, "a", "y");
    await quiet();
    assert.equal(second.children.length, 0);
    only(first.children).end(done);
    await quiet();
    assert.equal(second.children.length, 1);
  });

  it("of a semaphore as many run as it has slots, and the next when one is done", async () => {
    const agent = await createAgentUnderTest();
    const all = [lock(agent, "-n=2", "a", "x"), lock(agent, "-n=2", "a", "y"), lock(agent, "-n=2", "a", "z")];
    await quiet();
    const running = all.filter(({ children }) => children.length === 1);
    assert.equal(running.length, 2);
    only((running[0] as (typeof all)[number]).children).end(done);
    await quiet();
    assert.ok(all.every(({ children }) => children.length === 1));
  });

  it("who says another number of slots is refused", async () => {
    const agent = await createAgentUnderTest();
    lock(agent, "-n=2", "a", "x");
    await quiet();
    const other = lock(agent, "-n=3", "a", "y");
    await quiet();
    assert.equal(other.state.code, 1);
    assert.equal(other.host.written.stderr, "Lock acquisition failed: semaphore limit conflict (lock: 2, local: 3)\n");
  });

  it("a lock and a semaphore at one prefix are a conflict", async () => {
    const agent = await createAgentUnderTest();
    lock(agent, "-n=2", "a", "x");
    await quiet();
    const other = lock(agent, "a", "y");
    await quiet();
    assert.equal(other.host.written.stderr, "Lock acquisition failed: Existing key does not match lock use\n");
  });

  it("with a timeout gives up when the time is up, and leaves no session", async () => {
    const agent = await createAgentUnderTest();
    lock(agent, "a", "x");
    await quiet();
    const late = lock(agent, "-timeout=3s", "a", "y");
    await quiet();
    await agent.clock.advance(2_000);
    await quiet();
    assert.equal(late.state.code, undefined);
    await agent.clock.advance(5_000);
    await quiet();
    assert.equal(late.state.code, 1);
    assert.equal(late.host.written.stderr, "Shutdown triggered or timeout during lock acquisition\n");
    const sessions = await agent.app.fetch(new Request("http://127.0.0.1/v1/session/list"), { host: "127.0.0.1", port: 1 });
    assert.equal(((await sessions.json()) as unknown[]).length, 1);
  });

  it("the child is told to end when the lock is lost, and made to after five seconds", async () => {
    const agent = await createAgentUnderTest();
    const { children, state } = lock(agent, "a", "x");
    await quiet();
    const child = only(children);
    const [session] = (await (
      await agent.app.fetch(new Request("http://127.0.0.1/v1/session/list"), { host: "127.0.0.1", port: 1 })
    ).json()) as readonly { readonly ID: string }[];
    agent.apply({ kind: "sessionDestroy", id: session?.ID ?? "", now: agent.clock.wall() });
    await quiet();
    assert.deepEqual(child.signals, ["SIGTERM"]);
    await agent.clock.advance(5_000);
    await quiet();
    assert.deepEqual(child.signals, ["SIGTERM", "SIGKILL"]);
    child.end({ kind: "signalled", signal: "SIGKILL" });
    await quiet();
    assert.equal(state.code, 0);
  });

  it("an interrupt ends the child and releases the lock", async () => {
    const agent = await createAgentUnderTest();
    const { host, children, state } = lock(agent, "a", "x");
    await quiet();
    host.interrupt();
    await quiet();
    assert.deepEqual(only(children).signals, ["SIGTERM"]);
    only(children).end(done);
    await quiet();
    assert.equal(state.code, 0);
    assert.deepEqual(await keysOf(agent), []);
  });

  it("the session is renewed at half its life", async () => {
    const agent = await createAgentUnderTest();
    const { asked } = lock(agent, "a", "x");
    await quiet();
    const renewals = (): number => asked.filter((line) => line.includes("/v1/session/renew/")).length;
    await agent.clock.advance(7_499);
    await quiet();
    assert.equal(renewals(), 0);
    await agent.clock.advance(1);
    await quiet();
    assert.equal(renewals(), 1);
  });

  for (const [words, code, told] of [
    [["-child-exit-code", "a", "x"], 2, "Error running handler: exit status 3\n"],
    [["a", "x"], 0, "Error running handler: exit status 3\n"],
  ] as const)
    it(`consul lock ${words.join(" ")}: a child that fails makes it exit with ${code}`, async () => {
      const agent = await createAgentUnderTest();
      const { host, children, state } = lock(agent, ...words);
      await quiet();
      only(children).end({ kind: "exited", code: 3 });
      await quiet();
      assert.deepEqual([state.code, host.written.stderr], [code, told]);
    });
});
