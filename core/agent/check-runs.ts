/** One run of a check through a port, and its result in Consul's words. Never rejects. */
import type { CheckStatus } from "../catalog/records.ts";
import type { CheckDefinition } from "../config/definitions.ts";
import type { Address } from "../ports/net.ts";
import type { HttpClient, ProcessRunner, Streams } from "../ports/mod.ts";
import { text, utf8 } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError, messageOf, unreachable } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { keepBack, scriptOutput, timedOutOutput } from "./check-output.ts";
import type { CheckOutcome } from "./checks.ts";

export interface RunPorts {
  readonly httpClient?: HttpClient;
  readonly streams?: Streams;
  readonly processes?: ProcessRunner;
}

export interface RunLimits {
  readonly timeout: Millis;
  readonly outputBytesMax: number;
  readonly cancel: Cancel;
}

/** Of a response's body so much is read to find its last few kilobytes; what follows is not looked at. */
const bodyBytesMax = 1024 * 1024;
/** As Go's http client. */
const redirectsMax = 10;

export async function runHttp(ports: RunPorts, definition: CheckDefinition, limits: RunLimits): Promise<CheckOutcome> {
  const { httpClient } = ports;
  if (httpClient === undefined) return unavailable("HTTP");
  const method = definition.method === "" ? "GET" : definition.method;
  try {
    const response = await httpClient.request({
      method,
      url: definition.http,
      headers: checkHeaders(definition.header),
      ...(definition.body === "" ? {} : { body: utf8(definition.body) }),
      timeout: limits.timeout,
      ...(definition.tlsSkipVerify ? { tls: { skipVerify: true } } : {}),
      redirectsMax,
      closeAfter: true,
      cancel: limits.cancel,
      responseBytesMax: bodyBytesMax,
    });
    const body = text(keepBack(response.body, limits.outputBytesMax));
    const output = `HTTP ${method} ${definition.http}: ${response.status} ${response.statusText} Output: ${body}`;
    return { status: httpStatus(response.status), output, certain: false };
  } catch (error) {
    return { status: "critical", output: messageOf(error), certain: false };
  }
}

/** The definition's headers, and Consul's own where it names none. */
function checkHeaders(given: CheckDefinition["header"]): Readonly<Record<string, readonly string[]>> {
  const names = new Set(Object.keys(given).map((name) => name.toLowerCase()));
  return {
    ...given,
    ...(names.has("user-agent") ? {} : { "User-Agent": ["Consul Health Check"] }),
    ...(names.has("accept") ? {} : { Accept: ["text/plain, text/*, */*"] }),
  };
}

function httpStatus(code: number): CheckStatus {
  if (code >= 200 && code <= 299) return "passing";
  return code === 429 ? "warning" : "critical";
}

export async function runTcp(ports: RunPorts, definition: CheckDefinition, limits: RunLimits): Promise<CheckOutcome> {
  const { streams } = ports;
  if (streams === undefined) return unavailable("TCP");
  try {
    const stream = await streams.connect(dialAddress(definition.tcp), { timeout: limits.timeout, cancel: limits.cancel });
    stream.abort(new AgentError("closed", { message: "The check only connects" }));
    return { status: "passing", output: `TCP connect ${definition.tcp}: Success`, certain: false };
  } catch (error) {
    return { status: "critical", output: messageOf(error), certain: false };
  }
}

/** "host:port" or "[host]:port". Throws in Go's words. */
function dialAddress(target: string): Address {
  const bad = (problem: string): AgentError =>
    new AgentError("bad-request", { message: `dial tcp: address ${target}: ${problem}` });
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(target);
  if (match === null) throw bad(/^[^:]*$|^\[[^\]]*\]$/.test(target) ? "missing port in address" : "too many colons in address");
  const port = match[3] as string;
  if (!/^\d+$/.test(port) || Number(port) > 65535) {
    throw new AgentError("bad-request", {
      message: `dial tcp: ${/^\d+$/.test(port) ? `address ${port}: invalid port` : `lookup tcp/${port}: Servname not supported for ai_socktype`}`,
    });
  }
  // No host is this one, as for Go.
  return { host: match[1] || match[2] || "127.0.0.1", port: Number(port) };
}

export async function runScript(ports: RunPorts, definition: CheckDefinition, limits: RunLimits): Promise<CheckOutcome> {
  const { processes } = ports;
  const [file, ...rest] = definition.args;
  if (processes === undefined || file === undefined) return unavailable("Script");
  const { timeout, outputBytesMax } = limits;
  const result = await processes.run({ argv: [file, ...rest], env: {}, timeout, outputBytesMax }, limits.cancel);
  switch (result.kind) {
    case "exited":
      return { status: exitStatus(result.code), output: scriptOutput(result.output, result.outputBytesTotal), certain: false };
    case "signalled":
      return { status: "critical", output: scriptOutput(result.output, result.outputBytesTotal), certain: false };
    case "timeout": {
      const written = scriptOutput(result.output, result.outputBytesTotal);
      return { status: "critical", output: timedOutOutput(timeout, written), certain: true };
    }
    case "failed":
      return { status: "critical", output: messageOf(result.error), certain: true };
    default:
      return unreachable(result);
  }
}

function exitStatus(code: number): CheckStatus {
  return code === 0 ? "passing" : code === 1 ? "warning" : "critical";
}

function unavailable(kind: string): CheckOutcome {
  return { status: "critical", output: `${kind} checks are not possible on this runtime`, certain: true };
}
