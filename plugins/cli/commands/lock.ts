/** `consul lock`: runs a program while holding a lock, or a slot of a semaphore, and stops it when that is lost. */
import { pause } from "../../../core/ports/clock.ts";
import type { RunningCommand } from "../../../core/ports/process-runner.ts";
import type { Cancel } from "../../../core/types/cancel.ts";
import type { Millis } from "../../../core/types/ids.ts";
import { joinKeyPath } from "../../../core/types/key-path.ts";
import { openApi } from "../api.ts";
import { childArgv, exitProblem } from "../child.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, CommandError, complain, defineCommand, orFail, say } from "../command.ts";
import type { Contest } from "../contest.ts";
import { Lock } from "../lock.ts";
import { createLockSession, type LockSession } from "../lock-session.ts";
import { Semaphore } from "../semaphore.ts";

const flags = {
  "child-exit-code": {
    kind: "bool",
    initial: false,
    help: "Exit with 2 when the child failed; otherwise that is not looked at.",
  },
  "monitor-retry": {
    kind: "int",
    initial: 3,
    help: "How often, a second apart, an agent that fails is asked again whether the lock is still held. 0: the first failure loses it.",
  },
  n: { kind: "int", initial: 1, help: "How many may hold it at a time. More than 1 makes it a semaphore." },
  name: { kind: "string", initial: "", help: "Name of the session. Default: made from the child and the prefix." },
  "pass-stdin": { kind: "bool", initial: false, help: "Give the child our standard input." },
  shell: { kind: "bool", initial: true, help: "Run the child by a shell ($SHELL, or /bin/sh), so that it may be a pipeline." },
  timeout: { kind: "duration", initial: 0, help: "Give up when it is not held after so long. Default: wait for ever." },
  try: { kind: "duration", initial: 0, help: "The old name of -timeout, which wins." },
  verbose: { kind: "bool", initial: false, help: "Tell each step." },
  ...clientAndServerFlags,
} as const;

export const command = defineCommand({
  usage: "consul lock [options] prefix child...",
  description: `
Waits for the lock at a prefix of the KV store, runs the child with CONSUL_LOCK_HELD=true, and releases the lock when it ended.
When the lock is lost meanwhile, or we are interrupted, the child gets SIGTERM, and after 5 seconds SIGKILL.

With -n, that many may hold it at the same time; all who compete for one prefix have to say the same number.`,
  examples: [
    { purpose: "Let one machine at a time make a backup", line: "consul lock backups/db ./backup.sh" },
    { purpose: "Restart at most three machines at a time", line: "consul lock -n=3 restarts 'systemctl restart web'" },
  ],
  flags,
  run,
});

type LockCall = Call<typeof flags>;

/** Between the polite request to end and the other one. Lock delays are 15 s: it must be well below. */
const killGrace: Millis = 5_000;
const childFailed = 2;

async function run(call: LockCall): Promise<number> {
  const { context, flags, args } = call;
  if (flags.n <= 0) throw new CommandError("Lock holder limit must be positive");
  const [given, ...words] = args;
  if (given === undefined || words.length === 0) throw new CommandError("Key prefix and child command must be specified");
  if (flags["monitor-retry"] < 0) throw new CommandError("Number for 'monitor-retry' must be >= 0");
  if (flags.timeout < 0 || flags.try < 0) throw new CommandError("Timeout must be positive");
  if (context.processes === undefined) throw new CommandError("consul lock: this runtime cannot run other programs");
  const prefix = given.replace(/^\//, "");
  const api = await openApi(call);
  await orFail("Error querying Consul agent", api.getJson("/v1/agent/self"));

  const stop = new AbortController();
  const over = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) context.host.onSignal(signal, () => stop.abort(), over.signal);
  let session: LockSession | undefined;
  try {
    const name = flags.name || `Consul lock for '${words.join(" ")}' at '${prefix}'`;
    const created = createLockSession(api, context.clock, { name });
    session = await orFail("Lock acquisition failed: failed to create session", created);
    const options = {
      api,
      clock: context.clock,
      session,
      timeout: flags.timeout || flags.try,
      monitorRetries: flags["monitor-retry"],
    };
    const key = joinKeyPath(prefix, ".lock");
    tell(
      call,
      flags.n === 1 ? `Setting up lock at path: ${key}` : `Setting up semaphore (limit ${flags.n}) at prefix: ${prefix}`,
    );
    const contest = flags.n === 1 ? new Lock(options, key) : new Semaphore(options, prefix, flags.n);
    return await compete(call, contest, words as [string, ...string[]], stop.signal, () => (session as LockSession).destroy());
  } finally {
    over.abort();
    await session?.destroy();
  }
}

async function compete(
  call: LockCall,
  contest: Contest,
  words: readonly [string, ...string[]],
  stop: Cancel,
  destroySession: () => Promise<void>,
): Promise<number> {
  tell(call, "Attempting lock acquisition");
  const held = await orFail("Lock acquisition failed", contest.acquire(stop));
  if (held === undefined) throw new CommandError("Shutdown triggered or timeout during lock acquisition");
  const code = stop.aborted ? 0 : await runChild(call, words, held.lost, stop);
  await orFail("Lock release failed", contest.release());
  await destroySession();
  const cleaned = await orFail("Lock cleanup failed", contest.cleanUp());
  tell(call, cleaned === "removed" ? "Cleanup succeeded" : "Cleanup aborted, lock in use");
  return call.flags["child-exit-code"] ? code : 0;
}

/** The exit code that stands for how the child ended. */
async function runChild(
  call: LockCall,
  words: readonly [string, ...string[]],
  lost: Promise<void>,
  stop: Cancel,
): Promise<number> {
  const { context, flags } = call;
  tell(call, "Starting handler");
  const child = context.processes?.start({
    argv: childArgv(context, flags.shell, words),
    env: { CONSUL_LOCK_HELD: "true" },
    stdin: flags["pass-stdin"] ? "inherit" : "none",
    output: "inherit",
  });
  if (child === undefined) return childFailed;
  const stopped = new Promise<"stopped">((resolve) => stop.addEventListener("abort", () => resolve("stopped")));
  const first = await Promise.race([child.ended, lost.then(() => "lost" as const), stopped]);
  if (first !== "lost" && first !== "stopped") {
    const problem = exitProblem(first);
    if (problem !== undefined) complain(context, `Error ${first.kind === "failed" ? "starting" : "running"} handler: ${problem}`);
    tell(call, "Child terminated, releasing lock");
    return problem === undefined ? 0 : childFailed;
  }
  tell(call, first === "lost" ? "Lock lost, killing child" : "Shutdown triggered, killing child");
  await kill(call, child);
  return 0;
}

async function kill(call: LockCall, child: RunningCommand): Promise<void> {
  if (child.pid === undefined) return;
  tell(call, `Terminating child pid ${child.pid}`);
  child.signal("SIGTERM");
  const patience = new AbortController();
  const ended = await Promise.race([
    child.ended.then(() => true),
    pause(call.context.clock, killGrace, patience.signal).then(() => false),
  ]);
  patience.abort();
  if (ended) {
    tell(call, "Child terminated");
    return;
  }
  tell(call, `Child did not exit after grace period of ${killGrace / 1000}s, killing`);
  child.signal("SIGKILL");
  await child.ended;
}

function tell({ context, flags }: LockCall, line: string): void {
  if (flags.verbose) say(context, line);
}
