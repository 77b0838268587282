/** /v1/agent/monitor: the agent's log from now on, as it is written. */
import type { LogLevel } from "../../../core/ports/telemetry.ts";
import { emptyBytes, utf8 } from "../../../core/types/bytes.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest } from "../extension.ts";
import { parseQueryString } from "../query-string.ts";
import { Refusal } from "../reply.ts";
import { notSupported } from "./unbuilt.ts";

const logLevels: ReadonlyMap<string, LogLevel> = new Map([
  ["TRACE", "trace"],
  ["DEBUG", "debug"],
  ["INFO", "info"],
  ["WARN", "warn"],
  ["ERR", "error"],
  ["ERROR", "error"],
]);
/** What a client that reads too slowly may be behind; beyond it lines are dropped, and counted. */
const linesMax = 512;

function levelOf(given: string): LogLevel | undefined {
  return logLevels.get(given === "" ? "INFO" : given.toUpperCase());
}

/** Whether there will be a stream: refusals are none. */
export function isMonitored(method: string, rawQuery: string): boolean {
  return method === "GET" && levelOf(parseQueryString(rawQuery)?.get("loglevel") ?? "") !== undefined;
}

export function monitor({ logFollow, logger }: ApiContext, request: HttpRequest): HttpReply {
  const given = request.query.get("loglevel");
  const level = levelOf(given);
  if (level === undefined) throw new Refusal(400, `Bad request: Unknown log level: ${given}`);
  if (logFollow === undefined) throw notSupported("/v1/agent/monitor on this runtime");
  const lines = new FollowedLines();
  const unfollow = logFollow.follow({ level, json: request.query.has("logjson") }, (line) => lines.add(line));
  const end = (): void => {
    unfollow();
    request.cancel.removeEventListener("abort", end);
    const dropped = lines.end();
    if (dropped > 0) logger.log("warn", "Dropped logs during monitor request", { dropped_count: dropped });
  };
  request.cancel.addEventListener("abort", end);
  if (request.cancel.aborted) end();
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await lines.next();
        if (next === undefined) controller.close();
        else controller.enqueue(utf8(next));
      },
      cancel: end,
    },
    // Nothing is taken from the lines before the client asks for it.
    { highWaterMark: 0 },
  );
  return { status: 200, headers: [], body: emptyBytes, stream };
}

/** Lines between the log, which does not wait, and a client that may be slow. */
class FollowedLines {
  #waiting: string[] = [];
  #dropped = 0;
  #ended = false;
  #wake: () => void = () => {};

  add(line: string): void {
    if (this.#ended) return;
    if (this.#waiting.length >= linesMax) this.#dropped++;
    else this.#waiting.push(line);
    this.#wake();
  }

  /** All that wait, each with its line break; undefined at the end. One call at a time. */
  async next(): Promise<string | undefined> {
    if (this.#waiting.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended) return undefined;
    const text = this.#waiting.map((line) => `${line}\n`).join("");
    this.#waiting = [];
    return text;
  }

  /** How many were dropped since this was asked last. */
  end(): number {
    const dropped = this.#dropped;
    this.#ended = true;
    this.#dropped = 0;
    this.#waiting = [];
    this.#wake();
    return dropped;
  }
}
