/** What is called with each new state: a program with it on its standard input, or a URL it is sent to. Never rejects. */
import { compactJson } from "../../core/codec/exact-json.ts";
import type { HttpClient, Logger, ProcessRunner } from "../../core/ports/mod.ts";
import type { CommandResult } from "../../core/ports/process-runner.ts";
import { type Bytes, text, utf8 } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { messageOf, unreachable } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { WatchHandler, WatchRequest } from "../../core/watch/definition.ts";
import type { News } from "../../core/watch/watch.ts";

export interface HandlerPorts {
  readonly processes?: ProcessRunner;
  readonly httpClient?: HttpClient;
  readonly shell: string;
  readonly logger: Logger;
}

/** Of what a handler prints or answers, the last so many bytes are logged. */
export const outputBytesMax = 4 * 1024;
/** Of a response's body so much is read to find its last few kilobytes; what follows is not looked at. */
const bodyBytesMax = 1024 * 1024;
/** Consul sets none; this only keeps a program that hangs from stopping its watch for ever. */
export const programTimeout: Millis = 24 * 3_600_000;
/** As Go's http client. */
const redirectsMax = 10;

export async function runHandler(handler: WatchHandler, news: News, ports: HandlerPorts, cancel: Cancel): Promise<void> {
  switch (handler.kind) {
    case "program":
      return runProgram(handler.argv, handler.argv, news, ports, cancel);
    case "script":
      return runProgram([ports.shell, "-c", handler.script], handler.script, news, ports, cancel);
    case "http":
      return sendNews(handler.request, news, ports, cancel);
    default:
      return unreachable(handler);
  }
}

async function runProgram(
  argv: readonly [string, ...string[]],
  shown: string | readonly string[],
  { index, shown: state }: News,
  { processes, logger }: HandlerPorts,
  cancel: Cancel,
): Promise<void> {
  if (processes === undefined) {
    logger.log("error", "Failed to run watch handler", { watch_handler: shown, error: "this runtime runs no programs" });
    return;
  }
  const command = {
    argv,
    env: { CONSUL_INDEX: String(index) },
    timeout: programTimeout,
    outputBytesMax,
    stdin: utf8(`${compactJson(state)}\n`),
  };
  const result = await processes.run(command, cancel);
  if (cancel.aborted) return;
  const problem = problemOf(result);
  if (problem !== undefined) logger.log("error", "Failed to run watch handler", { watch_handler: shown, error: problem });
  const output = result.kind === "failed" ? "" : captured(result.output, result.outputBytesTotal);
  logger.log("debug", "watch handler output", { watch_handler: shown, output });
}

function problemOf(result: CommandResult): string | undefined {
  switch (result.kind) {
    case "exited":
      return result.code === 0 ? undefined : `exit status ${result.code}`;
    case "signalled":
      return `signal: ${result.signal}`;
    case "timeout":
      return `still running after ${programTimeout / 3_600_000} hours`;
    case "failed":
      return result.error.message;
    default:
      return unreachable(result);
  }
}

async function sendNews(
  request: WatchRequest,
  { index, shown }: News,
  { httpClient, logger }: HandlerPorts,
  cancel: Cancel,
): Promise<void> {
  const { path, method } = request;
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method)) {
    logger.log("error", "Failed to setup http watch", { error: `net/http: invalid method ${JSON.stringify(method)}` });
    return;
  }
  const failed = (error: string): void => logger.log("error", "Failed to invoke http watch handler", { watch: path, error });
  if (httpClient === undefined) return failed("this runtime has no HTTP client");
  if (request.timeout <= 0) return failed(`${capitalized(method)} "${path}": context deadline exceeded`);
  try {
    const response = await httpClient.request({
      method,
      url: path,
      headers: headersOf(request, index),
      body: utf8(`${compactJson(shown)}\n`),
      timeout: request.timeout,
      ...(request.tlsSkipVerify ? { tls: { skipVerify: true } } : {}),
      redirectsMax,
      closeAfter: true,
      responseBytesMax: bodyBytesMax,
      cancel,
    });
    const output = captured(response.body.subarray(-outputBytesMax), response.body.length);
    if (response.status >= 200 && response.status <= 299) {
      logger.log("debug", "http watch handler output", { watch: path, output });
    } else {
      const status = `${response.status} ${response.statusText}`;
      logger.log("error", "http watch handler failed with output", { watch: path, status, output });
    }
  } catch (error) {
    if (!cancel.aborted) failed(messageOf(error));
  }
}

/** Ours come first; a name that the configuration gives as well is there twice, as in Consul. */
function headersOf({ header }: WatchRequest, index: bigint): Readonly<Record<string, readonly string[]>> {
  const headers = new Map<string, readonly [name: string, values: readonly string[]]>([
    ["content-type", ["Content-Type", ["application/json"]]],
    ["x-consul-index", ["X-Consul-Index", [String(index)]]],
  ]);
  for (const [name, values] of Object.entries(header)) {
    const before = headers.get(name.toLowerCase());
    headers.set(name.toLowerCase(), [before?.[0] ?? name, [...(before?.[1] ?? []), ...values]]);
  }
  return Object.fromEntries(headers.values());
}

function captured(kept: Bytes, bytesTotal: number): string {
  const output = text(kept);
  return bytesTotal > kept.length ? `Captured ${kept.length} of ${bytesTotal} bytes\n...\n${output}` : output;
}

function capitalized(method: string): string {
  return method.slice(0, 1) + method.slice(1).toLowerCase();
}
