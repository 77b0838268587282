/** Every recorded request of tests/cases/http, through the application and through the direct path. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DirectRequest } from "../../../core/ports/http.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { type AgentUnderTest, createAgentUnderTest } from "./agent-under-test.ts";
import { type Exchange, readExchanges, type Reply, Shown } from "./recorded.ts";

const folder = join(process.env.TEST_ROOT!, "tests/cases/http");

/** How a request reaches the plugin. */
type Way = (agent: AgentUnderTest, request: Exchange) => Promise<Reply>;

const from = { host: "127.0.0.1", port: 40_000 };

const throughApplication: Way = async ({ app }, { method, target, headers, body }) => {
  const bodiless = method === "GET" || method === "HEAD";
  const request = new Request(`http://127.0.0.1:18700${target}`, {
    method,
    headers: bodiless ? headers : { ...headers, "Content-Length": String(utf8(body).length) },
    ...(bodiless ? {} : { body }),
  });
  const response = await app.fetch(request, from);
  return { status: response.status, headers: [...response.headers], body: await response.text() };
};

/** The direct path first, as every listener does; what it leaves is the application's. */
const throughDirect: Way = async (agent, exchange) => {
  const { method, target, headers, body } = exchange;
  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  if (method === "PUT") lower.set("content-length", String(utf8(body).length));
  const request: DirectRequest = {
    method,
    target,
    header: (name) => lower.get(name),
    from,
    body: async () => utf8(body),
    cancel: new AbortController().signal,
  };
  const response = await agent.direct.handle(request);
  if (response === undefined) return throughApplication(agent, exchange);
  const pairs: [string, string][] = [];
  for (let at = 0; at < response.headers.length; at += 2)
    pairs.push([response.headers[at] as string, response.headers[at + 1] as string]);
  return { status: response.status, headers: pairs, body: text(response.body) };
};

/** The URL of a Request is cleaned by its own rules before anyone sees it: these targets only the direct path sees. */
function isCleanedByUrl({ target }: Exchange): boolean {
  return new URL(target, "http://x").href !== `http://x${target}`;
}

async function replay(name: string, way: Way, skip: (exchange: Exchange) => boolean): Promise<void> {
  const agent = await createAgentUnderTest();
  const shown = new Shown();
  const differences: string[] = [];
  for (const exchange of readExchanges(readFileSync(join(folder, name), "utf8"))) {
    const target = shown.fill(exchange.target);
    const body = shown.fill(exchange.body);
    if (skip({ ...exchange, target })) continue;
    // Twice where nothing changes: the second time the answer is remembered.
    const repeated = exchange.method === "GET" ? 2 : 1;
    for (let time = 0; time < repeated; time++) {
      const answer = way(agent, { ...exchange, target, body });
      // The clock stands still: whoever waits is let wait in vain.
      if (target.includes("wait=")) await agent.clock.advance(1000);
      const given = shown.write(await answer);
      if (given !== exchange.expected) {
        differences.push(
          `${name}:${exchange.line} ${exchange.method} ${target} ${body.slice(0, 200)}\n${exchange.expected}${given}`,
        );
        break;
      }
    }
  }
  assert.equal(differences.join("\n"), "");
}

describe("the HTTP API answers as Consul 1.8.7 did", () => {
  for (const name of readdirSync(folder)
    .filter((file) => file.endsWith(".txt"))
    .sort()) {
    it(`${name}, through the application`, () => replay(name, throughApplication, isCleanedByUrl));
    it(`${name}, through the direct path`, () => replay(name, throughDirect, () => false));
  }
});
