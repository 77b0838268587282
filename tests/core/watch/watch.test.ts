import { utf8 } from "../../../core/types/bytes.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { WatchParameters } from "../../../core/watch/parameters.ts";
import { watchQuery } from "../../../core/watch/query.ts";
import { followState, type WatchAnswer } from "../../../core/watch/watch.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

/** An answer with this index and value, an error's text, or "hang": no answer before the watch is stopped. */
type Scripted = readonly [index: number, value: string] | string;

function watched(answers: readonly Scripted[]) {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const asked: { readonly at: number; readonly index: string | undefined }[] = [];
  const failures: string[] = [];
  const seen: string[] = [];
  const ask = async (query: Readonly<Record<string, unknown>>): Promise<WatchAnswer> => {
    const answer = answers[asked.length] ?? "hang";
    asked.push({ at: clock.monotonic(), index: query["index"] as string | undefined });
    if (answer === "hang") {
      return new Promise((_, reject) => stop.signal.addEventListener("abort", () => reject(new Error("stopped"))));
    }
    if (typeof answer === "string") throw new Error(answer);
    const [index, value] = answer;
    return { status: value === "" ? 404 : 200, index: String(index), body: utf8(JSON.stringify([{ Key: "a", Value: value }])) };
  };
  const news = followState({
    watch: watchQuery("key", new WatchParameters({ key: "a" })),
    ask,
    clock,
    cancel: stop.signal,
    onFailure: (error, retry) => failures.push(`${messageOf(error)} ${retry / 1000}s`),
  });
  const ended = (async () => {
    for await (const { index, shown } of news) seen.push(`${index} ${(shown as { Value: string } | null)?.Value ?? "none"}`);
  })();
  return { clock, stop, asked, failures, seen, ended };
}

describe("following a part of the state", () => {
  it("hands on each new content with its index, and passes over indexes at which nothing changed", async () => {
    const { seen, asked, stop, ended } = watched([
      [3, ""],
      [5, "x"],
      [6, "x"],
      [9, "y"],
    ]);
    await settle();
    assert.deepEqual(seen, ["3 none", "5 x", "9 y"]);
    assert.deepEqual(
      asked.map(({ index }) => index),
      [undefined, "3", "5", "6", "9"],
    );
    stop.abort();
    await ended;
  });

  it("failures are told and tried again after 5 s times their number squared, at most 3 min; a success begins anew", async () => {
    const { clock, failures, asked, stop, ended } = watched([...Array.from({ length: 8 }, () => "refused"), [1, "x"], "refused"]);
    await settle();
    await clock.advance(2_000_000);
    assert.deepEqual(
      failures.map((failure) => failure.replace("refused ", "")),
      ["5s", "20s", "45s", "80s", "125s", "180s", "180s", "180s", "5s"],
    );
    assert.equal(asked.length, 11);
    stop.abort();
    await ended;
  });

  it("after a failure the whole state is asked for, and what was known is no news", async () => {
    const { clock, seen, asked, stop, ended } = watched([[5, "x"], "gone", [5, "x"], [7, "y"]]);
    await settle();
    await clock.advance(10_000);
    assert.deepEqual(seen, ["5 x", "7 y"]);
    assert.deepEqual(
      asked.map(({ index }) => index),
      [undefined, "5", undefined, "5", "7"],
    );
    stop.abort();
    await ended;
  });

  it("stopped while it waits for an answer or for its next attempt, it ends at once and says nothing", async () => {
    for (const answers of [["hang"], ["refused"]] as const) {
      const { stop, ended, failures, clock } = watched(answers);
      await settle();
      const told = failures.length;
      stop.abort();
      await ended;
      assert.equal(failures.length, told);
      assert.equal(clock.pending, 0);
    }
  });
});
