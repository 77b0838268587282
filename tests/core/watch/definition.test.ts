import { fc } from "../../support/property.ts";
import { encodeQuery, escapePath } from "../../../core/codec/go-url.ts";
import { emptySources, loadConfig } from "../../../core/config/load.ts";
import { AgentError, messageOf } from "../../../core/types/errors.ts";
import { type WatchHandler, watchDefinition } from "../../../core/watch/definition.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { readCases } from "../config/cases.ts";
import { configHost } from "../config/host.ts";

function shown(handler: WatchHandler): string {
  if (handler.kind === "program") return `program ${handler.argv.join("|")}`;
  if (handler.kind === "script") return `script ${handler.script}`.trim();
  const { method, path, timeout, header, tlsSkipVerify } = handler.request;
  return `${method} ${path} ${timeout}ms ${JSON.stringify(header)}${tlsSkipVerify ? " unverified" : ""}`;
}

async function readAs(fragment: string): Promise<string> {
  const sources = { ...emptySources, devMode: true, fragments: [`watches = [${fragment}]`] };
  const { watches } = await loadConfig(sources, configHost());
  const warnings: string[] = [];
  try {
    const { type, watch, handler, datacenter, token } = watchDefinition(watches[0] ?? {}, (warning) => warnings.push(warning));
    return [
      `${type} ${escapePath(watch.path)}${encodeQuery(watch.query)}`,
      shown(handler),
      ...(datacenter === "" ? [] : [`in ${datacenter}`]),
      ...(token === "" ? [] : [`token ${token}`]),
      ...(warnings.length === 0 ? [] : ["warns"]),
    ].join(", ");
  } catch (error) {
    return messageOf(error);
  }
}

describe("an element of `watches`", () => {
  for (const { kind, title, input, outcome } of readCases("watches.txt")) {
    it(`${kind}: ${title}`, async () => assert.equal(await readAs(input), outcome));
  }

  it("whatever it is, is read or refused, and never breaks anything", () => {
    const names = ["type", "key", "tag", "args", "handler", "handler_type", "http_handler_config", "stale", "token", "service"];
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom("key", "service", "http", "script", "checks", "__proto__"));
    fc.assert(
      fc.property(fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), value), (given) => {
        try {
          watchDefinition(given, () => {});
        } catch (error) {
          assert.ok(error instanceof AgentError && error.code === "config-invalid", String(error));
        }
      }),
    );
  });
});
