/** `consul exec`: runs a command on many nodes at once, and shows what each prints. */
import { pause } from "../../../core/ports/clock.ts";
import { text, toBase64, utf8 } from "../../../core/types/bytes.ts";
import type { Cancel } from "../../../core/types/cancel.ts";
import { messageOf, unreachable } from "../../../core/types/errors.ts";
import { joinKeyPath } from "../../../core/types/key-path.ts";
import { type Api, openApi } from "../api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, CommandError, complain, defineCommand, orFail, say } from "../command.ts";
import { fireEvent } from "../event-api.ts";
import { checkFilters, filterFlags } from "../event-filters.ts";
import { type ExecResult, execResults } from "../exec-results.ts";
import { isObject, type Json } from "../json.ts";
import { deletePairs, writePair } from "../kv-api.ts";
import { createLockSession, type LockSession } from "../lock-session.ts";

const flags = {
  ...filterFlags,
  prefix: { kind: "string", initial: "_rexec", help: "Prefix of the KV store for the job and its results." },
  shell: { kind: "bool", initial: true, help: "Run the command by a shell ($SHELL, or /bin/sh) on each node." },
  verbose: { kind: "bool", initial: false, help: "Tell each step." },
  wait: {
    kind: "duration",
    initial: 2000,
    help: "It is over when nothing was heard for so long; twice as long while nodes are known to be at work.",
  },
  "wait-repl": { kind: "duration", initial: 200, help: "Pause between writing the job and telling the nodes." },
  ...clientAndServerFlags,
} as const;

export const command = defineCommand({
  usage: "consul exec [options] [-|command...]",
  description: `
Runs a command, or a script from standard input (-), on every node whose agent allows it (disable_remote_exec = false; the
default is true), and shows what they print. Exits with 2 when it failed on any of them.`,
  examples: [
    { purpose: "Ask all machines for their load", line: "consul exec uptime" },
    { purpose: "Run a script where the web service is", line: "consul exec -service=web - < restart.sh" },
  ],
  flags,
  run,
});

type ExecCall = Call<typeof flags>;

const hint = '\n\nRun "consul exec -h" for its options and examples.';
/** A script travels as one value of the KV store. */
const scriptBytesMax = 512 * 1024;
const someFailed = 2;

async function run(call: ExecCall): Promise<number> {
  const { context, flags } = call;
  const job = await jobOf(call);
  checkFilters(flags);
  const api = await openApi(call);
  const self = await orFail("Error querying Consul agent", api.getJson("/v1/agent/self"));
  const stop = new AbortController();
  const over = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) context.host.onSignal(signal, () => stop.abort(), over.signal);
  let session: LockSession | undefined;
  try {
    session = await orFail("Failed to create session", createSession(call, api, self));
    tell(call, `Created remote execution session: ${session.id}`);
    const folder = joinKeyPath(flags.prefix, session.id);
    try {
      return await carryOut(call, api, folder, session, job, stop.signal);
    } finally {
      // First the session: then no agent can write there any more.
      await session.destroy();
      await deletePairs(api, folder, { recurse: "" }).catch((error: unknown) =>
        complain(context, `Failed to cleanup session data: ${messageOf(error)}`),
      );
    }
  } finally {
    over.abort();
    await session?.destroy();
  }
}

/** The job as agents read it: Go's names, its base64 and its nanoseconds. */
async function jobOf({ context, flags, args }: ExecCall): Promise<string> {
  const wait = flags.wait * 1_000_000;
  const command = args.join(" ");
  if (command === "-") {
    if (!flags.shell) throw new CommandError("Cannot configure -shell=false when reading from stdin");
    const script = await context.host.stdin(scriptBytesMax).catch((error: unknown) => {
      throw new CommandError(`Failed to read stdin: ${messageOf(error)}${hint}`);
    });
    if (script.length > 0) return JSON.stringify({ Script: toBase64(script), Wait: wait });
  } else if (!flags.shell && args.length > 0) return JSON.stringify({ Args: args, Wait: wait });
  else if (command !== "") return JSON.stringify({ Command: command, Wait: wait });
  throw new CommandError(`Must specify a command to execute${hint}`);
}

/** In another datacenter a session needs a node there: any of its servers. */
async function createSession(call: ExecCall, api: Api, self: Json): Promise<LockSession> {
  const { context, flags } = call;
  const config = isObject(self) && isObject(self["Config"]) ? self["Config"] : {};
  const [here, agent] = [String(config["Datacenter"] ?? ""), String(config["NodeName"] ?? "")];
  const own = flags.datacenter === "" || flags.datacenter === here;
  if (own) return createLockSession(api, context.clock, { name: "Remote Exec", behavior: "delete" });
  tell(call, "Remote exec in foreign datacenter, using Session TTL");
  const missing = "Failed to find Consul server in remote datacenter";
  const servers = await api.getJson("/v1/health/service/consul", { passing: "1" }).catch((error: unknown) => {
    throw new Error(`${missing}: ${messageOf(error)}`, { cause: error });
  });
  const [entry] = Array.isArray(servers) ? (servers as readonly Json[]) : [];
  const found = isObject(entry) && isObject(entry["Node"]) ? entry["Node"]["Node"] : undefined;
  if (typeof found !== "string") throw new Error(missing);
  tell(call, `Binding session to remote node ${found}@${flags.datacenter}`);
  const name = `Remote Exec via ${agent}@${here}`;
  return createLockSession(api, context.clock, { name, node: found, behavior: "delete", checks: [] });
}

async function carryOut(
  call: ExecCall,
  api: Api,
  folder: string,
  session: LockSession,
  job: string,
  stop: Cancel,
): Promise<number> {
  const { context, flags } = call;
  const written = await orFail(
    "Failed to create job file",
    writePair(api, `${folder}/job`, utf8(job), { acquire: session.id, flags: "0" }),
  );
  if (!written) throw new CommandError(`Failed to create job file: failed to acquire key ${folder}/job`);
  tell(call, "Uploaded remote execution spec");
  await pause(context.clock, flags["wait-repl"], stop);
  if (stop.aborted) return 1;
  const payload = utf8(JSON.stringify({ Prefix: flags.prefix, Session: session.id }));
  const id = await orFail("Failed to fire event", fireEvent(api, "_rexec", payload, flags));
  tell(call, `Fired remote execution event: ${id}`);
  return follow(call, api, folder, stop);
}

interface Tally {
  acknowledged: number;
  completed: number;
  failed: number;
}

/** Until it has been quiet for long enough. */
async function follow(call: ExecCall, api: Api, folder: string, stop: Cancel): Promise<number> {
  const { context, flags } = call;
  const { clock } = context;
  const begun = clock.monotonic();
  const tally: Tally = { acknowledged: 0, completed: 0, failed: 0 };
  const reading = new AbortController();
  const end = (): void => reading.abort();
  stop.addEventListener("abort", end);
  let quiet = clock.after(flags.wait, end);
  try {
    for await (const result of execResults(api, folder, flags.wait, reading.signal)) {
      quiet.cancel();
      show(call, result, tally);
      // Who is at work is given more time.
      quiet = clock.after(tally.acknowledged > tally.completed ? 2 * flags.wait : flags.wait, end);
    }
  } catch (error) {
    if (!reading.signal.aborted) throw new CommandError(`Failed to read results: ${messageOf(error)}`);
  } finally {
    quiet.cancel();
    stop.removeEventListener("abort", end);
  }
  if (stop.aborted) return 1;
  say(context, `${tally.completed} / ${tally.acknowledged} node(s) completed / acknowledged`);
  tell(call, `Completed in ${((clock.monotonic() - begun) / 1000).toFixed(2)} seconds`);
  return tally.failed > 0 || tally.completed < tally.acknowledged ? someFailed : 0;
}

function show(call: ExecCall, result: ExecResult, tally: Tally): void {
  const { context } = call;
  switch (result.kind) {
    case "acknowledged":
      tally.acknowledged++;
      if (call.flags.verbose) say(context, `==> ${result.node}: acknowledged`);
      return;
    case "heartbeat":
      if (call.flags.verbose) say(context, `==> ${result.node}: heartbeat received`);
      return;
    case "output": {
      const lines = text(result.output).split("\n");
      say(
        context,
        lines
          .map((line) => `    ${result.node}: ${line}`)
          .join("\n")
          .trimEnd(),
      );
      return;
    }
    case "exit":
      tally.completed++;
      if (result.code !== 0) tally.failed++;
      say(context, `==> ${result.node}: finished with exit code ${result.code}`);
      return;
    case "odd":
      complain(context, result.complaint);
      return;
    default:
      unreachable(result);
  }
}

function tell({ context, flags }: ExecCall, line: string): void {
  if (flags.verbose) say(context, line);
}
