import { fc } from "../../support/property.ts";
import { topics, Watches } from "../../../core/catalog/watch.ts";
import { assert, describe, it } from "../../support/harness.ts";

/** Names of the watchers that fired. */
function watched(watches: Watches, names: Readonly<Record<string, readonly string[]>>): string[] {
  const fired: string[] = [];
  for (const [name, watchedTopics] of Object.entries(names)) watches.watch(watchedTopics, () => fired.push(name));
  return fired;
}

describe("watches", () => {
  it("fire once per flush, however often and on however many of their topics they are touched", () => {
    const watches = new Watches();
    const fired = watched(watches, { both: ["nodes", "services"] });
    watches.touch("nodes");
    watches.touch("services");
    watches.touch("nodes");
    assert.deepEqual(fired, []);
    watches.flush();
    assert.deepEqual(fired, ["both"]);
    watches.flush();
    assert.deepEqual(fired, ["both"]);
    watches.touch("nodes");
    watches.flush();
    assert.deepEqual(fired, ["both", "both"]);
  });

  it("of a key fire for that key; of a prefix for all below it, and for the prefix itself", () => {
    const watches = new Watches();
    const fired = watched(watches, {
      key: [topics.kvKey("a/b")],
      other: [topics.kvKey("a/bc")],
      root: [topics.kvPrefix("")],
      above: [topics.kvPrefix("a/")],
      self: [topics.kvPrefix("a/b")],
      below: [topics.kvPrefix("a/b/")],
      table: [topics.kv],
    });
    watches.touchKey("a/b");
    watches.flush();
    assert.deepEqual(fired.sort(), ["above", "key", "root", "self", "table"]);
  });

  it("agree with comparing every key with every prefix", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "/"), maxLength: 4 });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 8 }), fc.array(text, { maxLength: 4 }), (prefixes, keys) => {
        const watches = new Watches();
        const fired = new Set<number>();
        const unwatches = prefixes.map((prefix, at) => watches.watch([topics.kvPrefix(prefix)], () => fired.add(at)));
        for (const key of keys) watches.touchKey(key);
        watches.flush();
        prefixes.forEach((prefix, at) => {
          assert.equal(
            fired.has(at),
            keys.some((key) => key.startsWith(prefix)),
          );
        });
        for (const unwatch of unwatches) unwatch();
        assert.equal(watches.topicCount, 0);
        assert.equal(watches.size, 0);
      }),
    );
  });

  it("do not fire after unwatch, not even when they were due", () => {
    const watches = new Watches();
    const fired: string[] = [];
    const unwatch = watches.watch(["nodes"], () => fired.push("first"));
    watches.watch(["nodes"], () => fired.push("second"));
    watches.touch("nodes");
    unwatch();
    unwatch();
    watches.flush();
    assert.deepEqual(fired, ["second"]);
  });

  it("may be made and ended while others fire", () => {
    const watches = new Watches();
    const fired: string[] = [];
    let unwatchLast = (): void => {};
    watches.watch(["nodes"], () => {
      fired.push("first");
      unwatchLast();
      watches.watch(["nodes"], () => fired.push("made"));
    });
    unwatchLast = watches.watch(["nodes"], () => fired.push("last"));
    watches.touch("nodes");
    watches.flush();
    assert.deepEqual(fired, ["first"]);
    watches.touch("nodes");
    watches.flush();
    assert.deepEqual(fired, ["first", "first", "made"]);
  });

  it("are all told when the state is replaced", () => {
    const watches = new Watches();
    const told: boolean[] = [];
    watches.watch(["nodes"], (abandoned) => told.push(abandoned));
    const follower = watches.follow([topics.kvKey("k")]);
    watches.abandon();
    assert.equal(follower.changed, true);
    watches.flush();
    watches.touch("nodes");
    watches.flush();
    assert.deepEqual(told, [true, false]);
  });

  it("let followers compare without being woken", () => {
    const watches = new Watches();
    watches.touch("nodes");
    const follower = watches.follow(["nodes", topics.kvPrefix("a")]);
    assert.equal(follower.changed, false);
    watches.touchKey("b");
    assert.equal(follower.changed, false);
    watches.touchKey("ab");
    assert.equal(follower.changed, true);
    follower.close();
    follower.close();
    assert.equal(watches.topicCount, 0);
  });

  it("cost a write nothing where nobody watches its rows", () => {
    const watches = new Watches();
    let fired = 0;
    for (let at = 0; at < 50_000; at++)
      watches.watch([topics.kvKey(`idle/${at}`), topics.kvPrefix(`idle/${at}/`)], () => fired++);
    // Half a million writes pass in well under the time that one walk over the watchers per write would take.
    for (let at = 0; at < 500_000; at++) watches.touchKey(`busy/${at % 1000}`);
    watches.flush();
    assert.equal(fired, 0);
  });
});
