/** `consul watch`: follows a part of the state by blocking queries, and calls a program when it changes. */
import { compactJson, formatJson, type Json } from "../../../core/codec/exact-json.ts";
import { formatDuration } from "../../../core/config/duration.ts";
import { goQuote } from "../../../core/config/go-text.ts";
import type { CommandResult } from "../../../core/ports/process-runner.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { messageOf, unreachable } from "../../../core/types/errors.ts";
import type { Millis } from "../../../core/types/ids.ts";
import { WatchParameters } from "../../../core/watch/parameters.ts";
import { type WatchQuery, watchQuery } from "../../../core/watch/query.ts";
import { followState, type News } from "../../../core/watch/watch.ts";
import { type Api, openApi } from "../api.ts";
import { clientAndServerFlags, clientFlags } from "../client-flags.ts";
import { type Call, CommandError, complain, defineCommand, orFail, say } from "../command.ts";
import type { CliContext } from "../context.ts";
import { parseBool } from "../number-words.ts";

const flags = {
  key: { kind: "string", initial: "", help: "With -type=key: the key." },
  name: { kind: "string", initial: "", help: "With -type=event: only events of this name." },
  passingonly: {
    kind: "string",
    initial: "",
    help: "With -type=service: true for only instances whose checks all pass. Consul wants the word, too.",
  },
  prefix: { kind: "string", initial: "", help: "With -type=keyprefix: the prefix." },
  service: { kind: "string", initial: "", help: "With -type=service or -type=checks: the service." },
  shell: { kind: "bool", initial: true, help: "Run the child by a shell ($SHELL, or /bin/sh), so that it may be a pipeline." },
  state: { kind: "string", initial: "", help: "With -type=checks: only those in this state: passing, warning or critical." },
  tag: { kind: "list", help: "With -type=service: only instances with this tag. May be given several times." },
  type: { kind: "string", initial: "", help: "What to watch: key, keyprefix, services, nodes, service, checks or event." },
  ...clientAndServerFlags,
} as const;

export const command = defineCommand({
  usage: "consul watch [options] [child...]",
  description: `
Watches a part of the state. Without a child, prints it as JSON and ends. With one, runs the child now and after each
change, with the JSON on its standard input and the index in CONSUL_INDEX, until interrupted or until the child fails. What
the child prints is shown when it ends.`,
  examples: [
    { purpose: "Print a key with its indexes", line: "consul watch -type=key -key=redis/config" },
    {
      purpose: "Reload a proxy whenever its backends change",
      line: "consul watch -type=service -service=web -passingonly=true ./reload.sh",
    },
  ],
  flags,
  run,
});

type WatchCall = Call<typeof flags>;

/** Consul sets none; this only keeps a child that hangs from stopping a watch for ever. */
const childTimeout: Millis = 24 * 3_600_000;
const childOutputBytesMax = 16 * 1024 * 1024;

async function run(call: WatchCall): Promise<number> {
  const { context } = call;
  const watch = watchOf(call);
  const [program, ...rest] = call.args;
  const argv = program === undefined ? undefined : childArgv(call, [program, ...rest]);
  const api = await openApi(call);
  // A wrong address shows at once, not as a retry.
  await orFail("Error querying Consul agent", api.getJson("/v1/agent/self"));

  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) context.host.onSignal(signal, () => stop.abort(), stop.signal);
  try {
    for await (const { index, shown } of changes(context, api, watch, call.flags.type, stop.signal)) {
      if (argv === undefined) {
        say(context, formatJson(shown, "    "));
        return 0;
      }
      await runChild(context, argv, { ...childEnvironment(call), CONSUL_INDEX: String(index) }, shown, stop.signal);
    }
    return 0;
  } finally {
    stop.abort();
  }
}

/** What of the state, by -type and the options that belong to it. */
function watchOf({ flags, given }: WatchCall): WatchQuery {
  if (flags.type === "")
    throw new CommandError('Watch type must be specified\n\nRun "consul watch -h" for its options and examples.');
  const own = ["key", "name", "passingonly", "prefix", "service", "state", "tag"] as const;
  const read = (name: (typeof own)[number]) => (name === "passingonly" ? passingOnly(flags.passingonly) : flags[name]);
  const parameters = new WatchParameters(
    Object.fromEntries(own.filter((name) => given.has(name)).map((name) => [name, read(name)])),
  );
  try {
    const taken = notFollowedHere.get(flags.type);
    if (taken !== undefined) {
      for (const name of taken) parameters.take(name);
      parameters.refuseRest();
      throw new CommandError(`Type ${flags.type} is not supported in the CLI tool`);
    }
    const watch = watchQuery(flags.type, parameters);
    parameters.refuseRest();
    return watch;
  } catch (error) {
    throw new CommandError(messageOf(error));
  }
}

/** Types whose states have no index to follow, with the parameters that are theirs all the same. */
const notFollowedHere: ReadonlyMap<string, readonly string[]> = new Map([
  ["agent_service", []],
  ["connect_leaf", ["service"]],
  ["connect_roots", []],
]);

function passingOnly(given: string): boolean {
  const passing = parseBool(given);
  if (passing !== undefined) return passing;
  throw new CommandError(`Failed to parse passingonly flag: strconv.ParseBool: parsing ${goQuote(given)}: invalid syntax`);
}

/** Each new state, beginning with the present one. Failures are told and retried. */
function changes(context: CliContext, api: Api, watch: WatchQuery, type: string, cancel: AbortSignal): AsyncGenerator<News> {
  return followState({
    watch,
    clock: context.clock,
    cancel,
    ask: async (query) => {
      const { status, headers, body } = await api.send({ method: "GET", path: watch.path, query, cancel });
      return { status, index: headers["x-consul-index"], body };
    },
    onFailure: (error, retry) => {
      const at = new Date(context.clock.wall()).toISOString();
      const words = `type=${type} error="${messageOf(error)}" retry=${formatDuration(retry)}`;
      complain(context, `${at} [ERROR] watch.watch: Watch errored: ${words}`);
    },
  });
}

function childArgv({ context, flags }: WatchCall, words: readonly [string, ...string[]]): readonly [string, ...string[]] {
  if (!flags.shell) return words;
  return [context.host.env["SHELL"] || "/bin/sh", "-c", words.join(" ")];
}

/** How the child reaches the same agent: the flags, as the variables that stand for them. */
function childEnvironment({ flags, given }: WatchCall): Record<string, string> {
  const names = (Object.keys(clientFlags) as (keyof typeof clientFlags)[]).filter((name) => given.has(name));
  return Object.fromEntries(names.map((name) => [clientFlags[name].env, flags[name]]));
}

async function runChild(
  context: CliContext,
  argv: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
  shown: Json,
  cancel: AbortSignal,
): Promise<void> {
  if (context.processes === undefined) throw new CommandError("consul watch: this runtime cannot run other programs");
  const stdin = utf8(`${compactJson(shown)}\n`);
  const result = await context.processes.run(
    { argv, env, timeout: childTimeout, outputBytesMax: childOutputBytesMax, stdin },
    cancel,
  );
  if (cancel.aborted) return;
  if (result.kind !== "failed") context.host.stdout(result.output);
  const problem = problemOf(result);
  if (problem !== undefined) throw new CommandError(problem);
}

function problemOf(result: CommandResult): string | undefined {
  switch (result.kind) {
    case "exited":
      return result.code === 0 ? undefined : `Error executing handler: exit status ${result.code}`;
    case "signalled":
      return `Error executing handler: signal: ${result.signal}`;
    case "timeout":
      return `Error executing handler: still running after ${childTimeout / 3_600_000} hours`;
    case "failed":
      return `Error starting handler: ${result.error.message}`;
    default:
      return unreachable(result);
  }
}
