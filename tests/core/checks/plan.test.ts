import { checkTypeProblem } from "../../../core/config/definitions-validate.ts";
import { fc } from "../../support/property.ts";
import { keepFront } from "../../../core/agent/check-output.ts";
import { planCheck, unsupportedCheck } from "../../../core/agent/check-plan.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { noCheck } from "./script.ts";

describe("a check's definition", () => {
  it("with several triggers is the first of TTL, HTTP, TCP, script, alias", () => {
    const all = { ...noCheck, id: "c", ttl: 1, http: "http://x", tcp: "x:1", args: ["x"], aliasService: "s", interval: 5000 };
    assert.equal(planCheck(all)?.kind, "ttl");
    assert.equal(planCheck({ ...all, ttl: 0 })?.kind, "http");
    assert.equal(planCheck({ ...all, ttl: 0, http: "" })?.kind, "tcp");
    assert.equal(planCheck({ ...all, ttl: 0, http: "", tcp: "" })?.kind, "script");
    assert.equal(planCheck({ ...all, ttl: 0, http: "", tcp: "", args: [], interval: 0 })?.kind, "alias");
  });

  it("of a kind that is not built is refused with what to do instead", () => {
    assert.match(unsupportedCheck({ ...noCheck, grpc: "x:1", interval: 1000 }) ?? "", /^gRPC checks are not supported yet/);
    assert.match(
      unsupportedCheck({ ...noCheck, dockerContainerId: "d", args: ["x"], interval: 1000 }) ?? "",
      /^Docker checks are not supported yet/,
    );
    assert.match(unsupportedCheck({ ...noCheck, aliasNode: "other" }, "me") ?? "", /^Alias checks of another node/);
    assert.equal(unsupportedCheck({ ...noCheck, aliasNode: "ME" }, "me"), undefined);
    assert.equal(unsupportedCheck({ ...noCheck, aliasService: "web" }), undefined);
    assert.equal(unsupportedCheck({ ...noCheck, http: "http://x", grpc: "x:1", interval: 1000 }), undefined);
  });

  it("is refused in Consul's words when it contradicts itself", () => {
    assert.equal(checkTypeProblem({ ...noCheck, http: "http://x" }), "Interval must be > 0 for Script, HTTP, or TCP checks");
    assert.equal(checkTypeProblem({ ...noCheck, ttl: 1, interval: 1 }), "Interval and TTL cannot both be specified");
    assert.equal(checkTypeProblem(noCheck), "TTL must be > 0 for TTL checks");
    assert.equal(
      checkTypeProblem({ ...noCheck, aliasService: "x", http: "http://x", interval: 1 }),
      "Interval cannot be set for Alias checks",
    );
    assert.equal(checkTypeProblem({ ...noCheck, aliasService: "x", ttl: 1 }), "TTL must be not be set for Alias checks");
    assert.equal(checkTypeProblem({ ...noCheck, ttl: 1, outputMaxSize: -1 }), "MaxOutputMaxSize must be positive");
    assert.equal(checkTypeProblem({ ...noCheck, ttl: 1 }), undefined);
  });

  it("gives a service up after a minute at the earliest, and only for a check of a service", () => {
    const dead = { ...noCheck, ttl: 1, deregisterCriticalServiceAfter: 1000 };
    assert.equal(planCheck(dead)?.reapAfter, Number.POSITIVE_INFINITY);
    assert.equal(planCheck({ ...dead, serviceId: "s" })?.reapAfter, 60_000);
    assert.equal(planCheck({ ...dead, serviceId: "s", deregisterCriticalServiceAfter: 61_000 })?.reapAfter, 61_000);
  });
});

describe("the output of a TTL update", () => {
  it("is kept whole, or cut in front of a remark, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), fc.integer({ min: 1, max: 80 }), (output, max) => {
        const kept = keepFront(output, max);
        const total = utf8(output).length;
        if (total <= max) assert.equal(kept, output);
        else assert.ok(kept.endsWith(` ... (captured ${max} of ${total} bytes)`));
      }),
    );
  });
});
