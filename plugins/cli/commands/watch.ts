/** `consul watch`: follows a part of the state by blocking queries, and calls a program when it changes. */
import type { CommandResult } from "../../../core/ports/process-runner.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { messageOf, unreachable } from "../../../core/types/errors.ts";
import type { Millis } from "../../../core/types/ids.ts";
import { type Api, ApiError, openApi, readBody } from "../api.ts";
import { clientAndServerFlags, clientFlags } from "../client-flags.ts";
import { type Call, CommandError, complain, defineCommand, orFail, say } from "../command.ts";
import type { CliContext } from "../context.ts";
import { formatJson, isObject, type Json } from "../json.ts";
import type { QueryParameters } from "../url.ts";
import { watchShapes } from "../watch-shapes.ts";

const flags = {
  key: { kind: "string", initial: "", help: "With -type=key: the key." },
  name: { kind: "string", initial: "", help: "With -type=event: only events of this name." },
  passingonly: { kind: "bool", initial: false, help: "With -type=service: only instances whose checks all pass." },
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
      line: "consul watch -type=service -service=web -passingonly ./reload.sh",
    },
  ],
  flags,
  run,
});

type WatchCall = Call<typeof flags>;

interface Plan {
  readonly path: string;
  readonly query: QueryParameters;
  readonly show: (answer: Json | undefined) => Json;
  /**
   * What of an answer came after the index that was seen last. Where this is set, indexes do not grow: one that differs is
   * news, and a smaller one no restart.
   */
  readonly newsSince?: (shown: Json, seen: bigint) => Json;
}

const retryFirst: Millis = 5_000;
const retryMax: Millis = 180_000;
const unchangedPause: Millis = 1_000;
/** Consul sets none; this only keeps a child that hangs from stopping a watch for ever. */
const childTimeout: Millis = 24 * 3_600_000;
const childOutputBytesMax = 16 * 1024 * 1024;

async function run(call: WatchCall): Promise<number> {
  const { context } = call;
  const plan = planOf(call);
  const [program, ...rest] = call.args;
  const argv = program === undefined ? undefined : childArgv(call, [program, ...rest]);
  const api = await openApi(call);
  // A wrong address shows at once, not as a retry.
  await orFail("Error querying Consul agent", api.getJson("/v1/agent/self"));

  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) context.host.onSignal(signal, () => stop.abort(), stop.signal);
  try {
    for await (const { index, shown } of changes(context, api, plan, call.flags.type, stop.signal)) {
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

/** What of the state, by -type. Refuses options that belong to another type. */
function planOf({ flags, given }: WatchCall): Plan {
  const allow = (...names: string[]): void => {
    const own = ["key", "name", "passingonly", "prefix", "service", "state", "tag"];
    const strange = own.filter((name) => given.has(name) && !names.includes(name));
    if (strange.length > 0) throw new CommandError(`Invalid parameters: [${strange.join(" ")}]`);
  };
  const need = (value: string, what: string): string => {
    if (value === "") throw new CommandError(`Must specify a single ${what} to watch`);
    return value;
  };
  switch (flags.type) {
    case "":
      throw new CommandError('Watch type must be specified\n\nRun "consul watch -h" for its options and examples.');
    case "key":
      allow("key");
      return { path: `/v1/kv/${need(flags.key, "key")}`, query: {}, show: watchShapes.pair };
    case "keyprefix":
      allow("prefix");
      return { path: `/v1/kv/${need(flags.prefix, "prefix")}`, query: { recurse: "" }, show: watchShapes.pairs };
    case "services":
      allow();
      return { path: "/v1/catalog/services", query: {}, show: watchShapes.tagsByService };
    case "nodes":
      allow();
      return { path: "/v1/catalog/nodes", query: {}, show: watchShapes.nodes };
    case "service": {
      allow("service", "tag", "passingonly");
      const query = { tag: flags.tag, ...(flags.passingonly && { passing: "1" }) };
      return { path: `/v1/health/service/${need(flags.service, "service")}`, query, show: watchShapes.instances };
    }
    case "checks":
      allow("service", "state");
      if (flags.service !== "" && flags.state !== "") throw new CommandError("Cannot specify service and state");
      if (flags.service !== "") return { path: `/v1/health/checks/${flags.service}`, query: {}, show: watchShapes.checks };
      return { path: `/v1/health/state/${flags.state || "any"}`, query: {}, show: watchShapes.checks };
    case "event": {
      allow("name");
      const query = flags.name === "" ? {} : { name: flags.name };
      return { path: "/v1/event/list", query, show: watchShapes.events, newsSince: eventsSince };
    }
    case "connect_roots":
    case "connect_leaf":
    case "connect_proxy_config":
    case "agent_service":
      throw new CommandError(`consul watch -type=${flags.type}: not supported yet by Proconsul`);
    default:
      throw new CommandError(`Unsupported watch type: ${flags.type}`);
  }
}

/** The events after the one whose folded ID is `seen`; all, when it is not among them. */
function eventsSince(shown: Json, seen: bigint): Json {
  if (!Array.isArray(shown)) return shown;
  const at = shown.findIndex((event: Json) => isObject(event) && foldedId(String(event["ID"])) === seen);
  return shown.slice(at + 1);
}

/** As the agent makes the index of a list of events from its newest one. */
function foldedId(id: string): bigint | undefined {
  const digits = id.replaceAll("-", "");
  if (!/^[0-9a-f]{32}$/i.test(digits)) return undefined;
  return BigInt(`0x${digits.slice(0, 16)}`) ^ BigInt(`0x${digits.slice(16)}`);
}

/** Each new state, beginning with the present one. Failures are told and retried, ever more slowly; ends when cancelled. */
async function* changes(
  context: CliContext,
  api: Api,
  plan: Plan,
  type: string,
  cancel: AbortSignal,
): AsyncGenerator<{ index: bigint; shown: Json }> {
  let index = 0n;
  let last: string | undefined;
  let failures = 0;
  while (!cancel.aborted) {
    let answer: { readonly index: bigint; readonly shown: Json };
    try {
      answer = await ask(api, plan, index, cancel);
    } catch (error) {
      if (cancel.aborted) return;
      failures++;
      index = 0n;
      const retry = Math.min(retryFirst * failures * failures, retryMax);
      complain(
        context,
        `[ERROR] watch: Watch errored: type=${type} error=${JSON.stringify(messageOf(error))} retry=${retry / 1000}s`,
      );
      await pause(context, retry, cancel);
      continue;
    }
    failures = 0;
    // Nothing new: the longest wait is over, or the query did not block at all, and then this must not spin.
    if (answer.index === index) await pause(context, unchangedPause, cancel);
    // An index that went back means that the state was restored: begin anew.
    const seen = index;
    index = plan.newsSince === undefined && answer.index < index ? 0n : answer.index;
    const shown = plan.newsSince?.(answer.shown, seen) ?? answer.shown;
    const text = formatJson(shown, "");
    if (text === last) continue;
    last = text;
    yield { index: answer.index, shown };
  }
}

async function ask(
  api: Api,
  plan: Plan,
  index: bigint,
  cancel: AbortSignal,
): Promise<{ readonly index: bigint; readonly shown: Json }> {
  const query = index > 0n ? { ...plan.query, index: String(index) } : plan.query;
  const response = await api.send({ method: "GET", path: plan.path, query, cancel });
  if (response.status !== 200 && response.status !== 404) {
    const body = new TextDecoder().decode(response.body);
    throw new ApiError(`Unexpected response code: ${response.status} (${body})`, response.status);
  }
  const told = response.headers["x-consul-index"] ?? "";
  const reached = /^\d{1,20}$/.test(told) ? BigInt(told) : 0n;
  // Without an index the next query would not block: an agent that answers so is asked as if its state never changed.
  if (reached < 1n) throw new ApiError("the answer has no X-Consul-Index");
  return { index: reached, shown: plan.show(response.status === 404 ? undefined : readBody(response)) };
}

/** Returns early when cancelled. */
function pause(context: CliContext, delay: Millis, cancel: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel();
      cancel.removeEventListener("abort", end);
      resolve();
    };
    const timer = context.clock.after(delay, end);
    cancel.addEventListener("abort", end);
    if (cancel.aborted) end();
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

/** On one line, as Go's json.Encoder writes it. */
function compactJson(value: Json): string {
  return formatJson(value, "").replace(/"(?:[^"\\]|\\.)*"|\n|: /g, (token) =>
    token === "\n" ? "" : token === ": " ? ":" : token,
  );
}
