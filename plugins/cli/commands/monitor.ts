/** `consul monitor`: the agent's log as it is written, until interrupted. */
import { type Bytes, concat, emptyBytes } from "../../../core/types/bytes.ts";
import { ApiError, openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, say } from "../command.ts";
import { messageOf } from "../../../core/types/errors.ts";

const flags = {
  "log-json": { kind: "bool", initial: false, help: "Print each line as a JSON object." },
  "log-level": {
    kind: "string",
    initial: "INFO",
    placeholder: "level",
    help: "Lowest level shown: trace, debug, info, warn or err. May be lower than that of the agent's own log.",
  },
  ...clientFlags,
} as const;

export const command = defineCommand({
  usage: "consul monitor [options]",
  description: "Prints what the agent logs, from now on, until interrupted or until the agent ends.",
  examples: [{ purpose: "See what an agent does in detail", line: "consul monitor -log-level=debug" }],
  flags,
  run,
});

/** A line longer than this is printed in parts. */
const lineBytesMax = 1024 * 1024;
const lineBreak = 10;

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags } = call;
  const api = await openApi(call);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) context.host.onSignal(signal, () => stop.abort(), stop.signal);
  const query = { loglevel: flags["log-level"], ...(flags["log-json"] && { logjson: "true" }) };
  let started = false;
  let rest: Bytes = emptyBytes;
  const receive = (piece: Bytes): void => {
    started = true;
    const whole = rest.length === 0 ? piece : concat([rest, piece]);
    const end = whole.length > lineBytesMax ? whole.length : whole.lastIndexOf(lineBreak) + 1;
    if (end > 0) context.host.stdout(whole.slice(0, end));
    rest = whole.slice(end);
  };
  try {
    await api.request({ method: "GET", path: "/v1/agent/monitor", query, cancel: stop.signal, receive });
  } catch (error) {
    if (stop.signal.aborted) return 0;
    // After the first line there is nothing more to say than that it ended.
    if (!started && (error instanceof ApiError || error instanceof CommandError))
      throw new CommandError(`Error starting ${flags["log-json"] ? "JSON monitor" : "monitor"}: ${messageOf(error)}`);
  } finally {
    stop.abort();
  }
  say(context, "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.");
  return 1;
}
