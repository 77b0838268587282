import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fc } from "../../support/property.ts";
import { compileFilter } from "../../../core/catalog/filter.ts";
import { checkedInstanceFields, instanceFields, nodeFields } from "../../../core/catalog/filter-fields.ts";
import { parseFilter } from "../../../core/catalog/filter-parser.ts";
import type { ServiceInstance } from "../../../core/catalog/records.ts";
import { AgentError, messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";

/** The four instances that tests/cases/filter.txt was recorded over. */
const instances: readonly ServiceInstance[] = [1, 2, 3, 4].map((number) => ({
  node: {
    id: "",
    node: `f${number}`,
    address: `127.0.0.${number}`,
    datacenter: "dc1",
    taggedAddresses: number === 4 ? { lan: "1.1.1.1" } : undefined,
    meta: number === 1 ? undefined : { rack: `r${number}`, os: "linux" },
    createIndex: 1,
    modifyIndex: 1,
  },
  service: {
    node: `f${number}`,
    kind: "",
    id: `web${number}`,
    service: "web",
    tags: number === 1 ? [] : [`v${number}`, "primary"],
    address: number === 2 ? "" : `10.0.0.${number}`,
    taggedAddresses: number === 4 ? { lan: { address: "1.2.3.4", port: 99 } } : undefined,
    meta: number === 3 ? undefined : { env: `prod${number}` },
    port: 8000 + number,
    weights: { passing: number, warning: 1 },
    enableTagOverride: number === 2,
    proxy: undefined,
    connectNative: false,
    createIndex: 1,
    modifyIndex: 1,
  },
}));

function outcome(expression: string): string {
  try {
    const matches = compileFilter(expression, instanceFields);
    const matching = instances.filter((instance) => matches === undefined || matches(instance));
    return matching.map((instance) => instance.service.id).join(" ") || "none";
  } catch (error) {
    assert.ok(error instanceof AgentError && error.code === "rejected", messageOf(error));
    return error.message.replaceAll("\n", "\\n");
  }
}

describe("filter expressions", () => {
  const lines = readFileSync(join(process.env.TEST_ROOT as string, "tests/cases/filter.txt"), "utf8")
    .split("\n")
    .slice(2);
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const expression = (lines[at] as string).replaceAll("\\n", "\n");
    it(JSON.stringify(expression), () => assert.equal(`  ${outcome(expression)}`, lines[at + 1]));
  }

  it("select through lists: one element that matches is enough, also for not", () => {
    const checked = (...statuses: string[]) => ({
      ...(instances[0] as ServiceInstance),
      checks: statuses.map((status, at) => ({
        node: "f1",
        checkId: `c${at}`,
        name: "",
        status,
        notes: "",
        output: "",
        serviceId: "",
        serviceName: "",
        serviceTags: [],
        type: "",
        definition: {},
        createIndex: 1,
        modifyIndex: 1,
      })),
    });
    const unlike = compileFilter("Checks.Status != passing", checkedInstanceFields);
    assert.equal(unlike?.(checked("passing", "critical")), true);
    assert.equal(unlike?.(checked("passing")), false);
    assert.equal(unlike?.(checked()), false);
    assert.equal(compileFilter("Checks is empty", checkedInstanceFields)?.(checked()), true);
    assert.equal(compileFilter('Node.Address == "127.0.0.1" and Service.Port == 8001', checkedInstanceFields)?.(checked()), true);
  });

  it("keep the agent's shorter wording where that is asked for", () => {
    assert.throws(() => compileFilter("zz == 1", nodeFields, ""), { message: 'Selector "zz" is not valid' });
  });

  it("are not found in what every object inherits", () => {
    assert.throws(() => compileFilter("constructor == 1", nodeFields), /Selector "constructor" is not valid/);
    assert.equal(outcome("toString in ServiceMeta"), "none");
    assert.equal(outcome("ServiceMeta.constructor == x"), "none");
  });

  it("nest only so deep, and are read in linear time", () => {
    const deep = parseFilter(`${"(".repeat(5000)}Node == x`);
    assert.ok("fault" in deep && deep.fault.includes("nests more than"));
    const unclosed = parseFilter(`${"(".repeat(90)}Node == x`);
    assert.ok("fault" in unclosed && unclosed.fault.includes("Unmatched parentheses"));
    assert.ok("expression" in parseFilter(Array.from({ length: 3000 }, () => "Node == x").join(" and ")));
    assert.ok("expression" in parseFilter(`${"not ".repeat(3000)}Node == x`));
    assert.ok("fault" in parseFilter("a".repeat(100_000)));
  });

  it("are read or refused, whatever the text, never throwing anything else", () => {
    const words = fc.constantFrom(
      "Node",
      "ServiceTags",
      "==",
      "!=",
      "in",
      "not",
      "is",
      "empty",
      "and",
      "or",
      "(",
      ")",
      '"',
      "`",
      "[",
      "]",
      ".",
      "1",
      "x",
      " ",
      "matches",
      "\n",
      "é",
    );
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.array(words, { maxLength: 20 }).map((parts) => parts.join(" ")),
      fc.array(words, { maxLength: 20 }).map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (expression) => {
        const parsed = parseFilter(expression);
        assert.ok("expression" in parsed || parsed.fault !== "");
        outcome(expression);
      }),
      { numRuns: 2000 },
    );
  });
});
