/** Requests to an agent under test, by either way in. */
import { assert } from "../../support/harness.ts";
import { AgentError } from "../../../core/types/errors.ts";
import type { DirectRequest, DirectResponse } from "../../../core/ports/http.ts";
import { type Bytes, utf8 } from "../../../core/types/bytes.ts";
import type { AgentUnderTest } from "./agent-under-test.ts";

export interface Asked {
  readonly method?: string;
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Bytes;
  readonly from?: string;
  readonly signal?: AbortSignal;
}

export const origin = "http://127.0.0.1:18700";

export async function ask({ app }: AgentUnderTest, asked: Asked): Promise<Response> {
  const { method = "GET", target, headers = {}, from = "127.0.0.1", signal } = asked;
  const body = bytesOf(asked.body);
  const bodiless = method === "GET" || method === "HEAD";
  const request = new Request(`${origin}${target}`, {
    method,
    headers: bodiless ? headers : { "Content-Length": String(body.length), ...headers },
    ...(bodiless ? {} : { body: body as Uint8Array<ArrayBuffer> }),
    ...(signal === undefined ? {} : { signal }),
  });
  return app.fetch(request, { host: from, port: 40_000 });
}

/** Of a route that does not stream, which alone is left to the application. */
export async function askDirectly({ direct }: AgentUnderTest, asked: Asked): Promise<DirectResponse> {
  const answer = await direct.handle(directRequest(asked));
  assert.ok(answer !== undefined);
  return answer;
}

export function directRequest({ method = "GET", target, headers = {}, body, from = "127.0.0.1", signal }: Asked): DirectRequest {
  const content = bytesOf(body);
  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  if (method !== "GET" && !lower.has("content-length")) lower.set("content-length", String(content.length));
  return {
    method,
    target,
    header: (name) => lower.get(name),
    from: { host: from, port: 40_000 },
    body: async (bytesMax) => {
      if (content.length > bytesMax) throw new AgentError("too-large", { message: `more than ${bytesMax} bytes` });
      return content;
    },
    cancel: signal ?? new AbortController().signal,
  };
}

export function headerOf(response: DirectResponse, name: string): string | undefined {
  for (let at = 0; at < response.headers.length; at += 2) {
    if ((response.headers[at] as string).toLowerCase() === name.toLowerCase()) return response.headers[at + 1];
  }
  return undefined;
}

function bytesOf(body: string | Bytes | undefined): Bytes {
  return body === undefined ? new Uint8Array(0) : typeof body === "string" ? utf8(body) : body;
}
