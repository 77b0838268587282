import { RateLimit } from "../../../core/types/rate-limit.ts";
import { assert, describe, it } from "../../support/harness.ts";

describe("a rate limit", () => {
  const takes = (limit: RateLimit, now: number, rate: number, burst: number, times: number): number =>
    Array.from({ length: times }, () => limit.take(now, rate, burst)).filter(Boolean).length;

  it("allows its burst at once, then as many as time brings", () => {
    const limit = new RateLimit(3, 0);
    assert.equal(takes(limit, 0, 2, 3, 10), 3);
    assert.equal(takes(limit, 499, 2, 3, 10), 0);
    assert.equal(takes(limit, 500, 2, 3, 10), 1);
    assert.equal(takes(limit, 60_000, 2, 3, 10), 3);
  });

  it("of nothing allows the burst alone, and unlimited allows everything", () => {
    const limit = new RateLimit(2, 0);
    assert.equal(takes(limit, 0, 0, 2, 5), 2);
    assert.equal(takes(limit, 1e9, 0, 2, 5), 0);
    assert.equal(takes(limit, 1e9, Number.POSITIVE_INFINITY, 2, 50), 50);
  });

  it("follows when rate and burst are changed", () => {
    const limit = new RateLimit(2, 0);
    assert.equal(takes(limit, 0, 1, 2, 5), 2);
    assert.equal(takes(limit, 10_000, 1, 5, 9), 5);
    assert.equal(takes(limit, 10_100, 100, 5, 9), 5);
    assert.equal(takes(limit, 20_000, 1, -1, 9), 0);
  });
});
