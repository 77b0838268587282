import { Catalog } from "../../../core/catalog/catalog.ts";
import { SharedReads, type SharedReadsOptions } from "../../../core/agent/shared-reads.ts";
import type { SharedRead } from "../../../core/plugin/agent-api.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { constantRandom, settle, VirtualClock } from "../../support/virtual-clock.ts";

interface Page {
  readonly shown: string;
  readonly bytes: number;
}

class World {
  readonly catalog = new Catalog();
  readonly clock: VirtualClock;
  readonly shared: SharedReads;
  lastContact = 0;
  rendered = 0;
  #index = 0;

  constructor(limits: Partial<SharedReadsOptions["limits"]> = {}, jitter = 0, clock = new VirtualClock()) {
    this.clock = clock;
    this.shared = new SharedReads({
      catalog: this.catalog,
      clock: this.clock,
      random: constantRandom(jitter),
      limits: { defaultWait: 300_000, maxWait: 600_000, ...limits },
      meta: (index) => ({ index, knownLeader: true, lastContact: this.lastContact }),
    });
  }

  set(key: string, value: string): void {
    this.catalog.apply(++this.#index, { kind: "kv", op: { op: "set", key, value: utf8(value), flags: 0 }, now: 0 });
    this.catalog.watches.flush();
  }

  key(key: string, bytes = 100): SharedRead<"kvGet", Page> {
    return {
      key: `kv/${key}`,
      query: { kind: "kvGet", key },
      options: { consistency: "default" },
      render: (record) => {
        this.rendered++;
        return { shown: record === undefined ? "missing" : `${record.value.length} bytes at ${record.modifyIndex}`, bytes };
      },
    };
  }

  /** The state of a read that may block. */
  begin(request: SharedRead<"kvGet", Page>, minIndex: number, options: { wait?: number; cancel?: AbortSignal } = {}) {
    const state: { page?: Page; index?: number; error?: unknown; at?: number } = {};
    const blocking =
      options.cancel === undefined
        ? { minIndex, wait: options.wait ?? 0 }
        : { minIndex, wait: options.wait ?? 0, cancel: options.cancel };
    this.shared.read(request, blocking).then(
      ({ rendered, meta }) => {
        state.page = rendered;
        state.index = meta.index;
        state.at = this.clock.monotonic();
      },
      (error: unknown) => {
        state.error = error;
      },
    );
    return state;
  }
}

const nothingHeld = { entries: 0, waiters: 0, rendered: 0, renderedBytes: 0 };

describe("shared reads", () => {
  it("answer at once and render once for all who ask between two changes", async () => {
    const world = new World();
    world.set("k", "v");
    const first = await world.shared.read(world.key("k"));
    const second = await world.shared.read(world.key("k"));
    assert.equal(first, second);
    assert.equal(world.shared.now("kv/k"), first);
    assert.equal(world.rendered, 1);
    world.set("k", "vv");
    assert.equal(world.shared.now("kv/k"), undefined);
    assert.equal((await world.shared.read(world.key("k"))).rendered.shown, "2 bytes at 2");
    assert.equal(world.rendered, 2);
  });

  it("show how fresh the server is now, over the same rendering", async () => {
    const world = new World();
    world.set("k", "v");
    const first = await world.shared.read(world.key("k"));
    world.lastContact = 7;
    const second = world.shared.now<Page>("kv/k");
    assert.equal(second?.meta.lastContact, 7);
    assert.equal(second?.rendered, first.rendered);
  });

  it("wake two thousand waiters of one key with one rendering", async () => {
    const world = new World();
    world.set("k", "v");
    const reads = Array.from({ length: 2000 }, () => world.begin(world.key("k"), 1));
    await settle();
    assert.equal(world.rendered, 0);
    assert.equal(world.shared.counts.waiters, 2000);
    world.set("k", "vv");
    await settle();
    assert.equal(world.rendered, 1);
    assert.equal(new Set(reads.map((read) => read.page)).size, 1);
    assert.equal(reads[0]?.index, 2);
    assert.equal(world.shared.counts.waiters, 0);
    assert.equal(world.catalog.watches.size, 1);
  });

  it("let whoever else is ready have a turn between a hundred waiters and the next", async () => {
    const turns: (() => void)[] = [];
    const clock = Object.assign(new VirtualClock(), { soon: (turn: () => void) => void turns.push(turn) });
    const world = new World({}, 0, clock);
    world.set("k", "v");
    const reads = Array.from({ length: 300 }, () => world.begin(world.key("k"), 1));
    await settle();
    world.set("k", "vv");
    const answered: number[] = [];
    for (;;) {
      await settle();
      answered.push(reads.filter((read) => read.page !== undefined).length);
      const turn = turns.shift();
      if (turn === undefined) break;
      world.set("k", "what is written meanwhile is not what they were woken for");
      turn();
    }
    assert.deepEqual(answered, [128, 256, 300]);
    assert.deepEqual(new Set(reads.map((read) => read.page?.shown)), new Set(["2 bytes at 2"]));
    assert.equal(world.shared.counts.waiters, 0);
  });

  it("leave waiters of other keys alone", async () => {
    const world = new World();
    world.set("a", "v");
    const read = world.begin(world.key("a"), 1);
    const missing = world.begin(world.key("missing"), 1);
    await settle();
    world.set("b", "v");
    await settle();
    assert.equal(read.page, undefined);
    assert.equal(missing.page, undefined);
    assert.equal(world.rendered, 0);
  });

  it("report the index of the table for a missing key to a new reader, without waking who waits", async () => {
    const world = new World();
    world.set("a", "v");
    await world.shared.read(world.key("missing"));
    const waiting = world.begin(world.key("missing"), 1);
    await settle();
    world.set("b", "v");
    assert.equal(world.shared.now("kv/missing"), undefined);
    assert.equal((await world.shared.read(world.key("missing"))).meta.index, 2);
    assert.equal(world.rendered, 2);
    world.set("missing", "v");
    await settle();
    assert.equal(waiting.page?.shown, "1 bytes at 3");
  });

  it("return what there is when the wait ends, an index that is too high included", async () => {
    const world = new World();
    world.set("k", "v");
    const read = world.begin(world.key("k"), 1000, { wait: 2000 });
    await world.clock.advance(1999);
    assert.equal(read.page, undefined);
    await world.clock.advance(1);
    assert.equal(read.index, 1);
    assert.equal(world.clock.pending, 0);
  });

  it("wait as long as asked, or the default, never longer than the longest, and a sixteenth more by chance", async () => {
    const world = new World({}, 0.5);
    world.set("k", "v");
    const asked = world.begin(world.key("k"), 1, { wait: 16_000 });
    const none = world.begin(world.key("k"), 1);
    const long = world.begin(world.key("k"), 1, { wait: 9_000_000 });
    await world.clock.advance(1_000_000);
    assert.deepEqual([asked.at, none.at, long.at], [16_500, 309_375, 618_750]);
  });

  it("keep a waiter whose index has not passed", async () => {
    const world = new World();
    world.set("k", "v");
    const early = world.begin(world.key("k"), 1);
    const late = world.begin(world.key("k"), 2);
    await settle();
    world.set("k", "vv");
    await settle();
    assert.equal(early.index, 2);
    assert.equal(late.index, undefined);
    world.set("k", "vvv");
    await settle();
    assert.equal(late.index, 3);
  });

  it("free a waiter at once when its client goes away", async () => {
    const world = new World();
    world.set("k", "v");
    const client = new AbortController();
    const read = world.begin(world.key("k"), 1, { cancel: client.signal });
    await settle();
    client.abort();
    await settle();
    assert.equal((read.error as { code?: string }).code, "cancelled");
    assert.deepEqual(world.shared.counts, nothingHeld);
    assert.equal(world.catalog.watches.topicCount, 0);
    const gone = world.begin(world.key("k"), 1, { cancel: client.signal });
    await settle();
    assert.equal((gone.error as { code?: string }).code, "cancelled");
    assert.deepEqual(world.shared.counts, nothingHeld);
  });

  it("listen to a client only while it waits", async () => {
    const world = new World();
    world.set("k", "v");
    let listeners = 0;
    const cancel = {
      aborted: false,
      reason: undefined,
      addEventListener: () => {
        listeners++;
      },
      removeEventListener: () => {
        listeners--;
      },
    };
    const read = world.shared.read(world.key("k"), { minIndex: 1, wait: 1000, cancel });
    await settle();
    assert.equal(listeners, 1);
    world.set("k", "vv");
    await read;
    assert.equal(listeners, 0);
  });

  it("forget an entry that changed and that nobody waits for", async () => {
    const world = new World();
    world.set("k", "v");
    await world.shared.read(world.key("k"));
    assert.equal(world.shared.counts.entries, 1);
    world.set("k", "vv");
    assert.deepEqual(world.shared.counts, nothingHeld);
    assert.equal(world.catalog.watches.topicCount, 0);
  });

  it("keep renderings within their number and bytes, those in use longest", async () => {
    const world = new World({ renderedMax: 3, renderedBytesMax: 1000 });
    for (const key of ["a", "b", "c", "d"]) await world.shared.read(world.key(key));
    assert.equal(world.shared.counts.rendered, 3);
    world.shared.now("kv/b");
    await world.shared.read(world.key("e"));
    await world.shared.read(world.key("f"));
    assert.ok(world.shared.counts.entries <= 3);
    await world.shared.read(world.key("large", 950));
    assert.ok(world.shared.counts.renderedBytes <= 1000);
    await world.shared.read(world.key("larger than all", 5000));
    assert.equal(world.shared.counts.rendered, 1);
  });

  it("refuse a broken query, and keep nothing of it", async () => {
    const world = new World();
    const request: SharedRead<"nodes", Page> = {
      key: "nodes?filter=x",
      query: { kind: "nodes", filter: "x" },
      options: { consistency: "default" },
      render: () => ({ shown: "", bytes: 0 }),
    };
    await assert.rejects(world.shared.read(request), { code: "rejected" });
    await assert.rejects(world.shared.read(request, { minIndex: 5, wait: 0 }), { code: "rejected" });
    assert.deepEqual(world.shared.counts, nothingHeld);
  });

  it("tell all who wait when rendering fails, and go on for others", async () => {
    const world = new World();
    world.set("k", "v");
    world.set("m", "v");
    const broken = { ...world.key("k"), key: "broken", render: () => assert.fail("cannot render") };
    const failing = world.begin(broken, 1);
    const sound = world.begin(world.key("m"), 2);
    await settle();
    world.catalog.apply(3, { kind: "kv", op: { op: "set", key: "k", value: utf8("x"), flags: 0 }, now: 0 });
    world.catalog.apply(4, { kind: "kv", op: { op: "set", key: "m", value: utf8("x"), flags: 0 }, now: 0 });
    world.catalog.watches.flush();
    await settle();
    assert.match(String(failing.error), /cannot render/);
    assert.equal(sound.index, 4);
  });

  it("answer everyone when the state is replaced by a snapshot, though the index may have gone back", async () => {
    const world = new World();
    const other = new World();
    other.set("k", "old");
    for (const value of ["v", "vv", "vvv"]) world.set("k", value);
    const read = world.begin(world.key("k"), 3);
    await settle();
    const restore = world.catalog.restore();
    for (const chunk of other.catalog.snapshot()) restore.push(chunk);
    restore.finish();
    world.catalog.watches.flush();
    await settle();
    assert.equal(read.index, 1);
  });

  it("let only so many wait", async () => {
    const world = new World({ waitersMax: 1 });
    world.set("k", "v");
    world.begin(world.key("k"), 1);
    const refused = world.begin(world.key("k"), 1);
    await settle();
    assert.equal((refused.error as { code?: string }).code, "rate-limited");
  });

  it("end every wait and hold nothing when stopped", async () => {
    const world = new World();
    world.set("k", "v");
    const read = world.begin(world.key("k"), 1);
    await settle();
    world.shared.stop();
    await settle();
    assert.equal((read.error as { code?: string }).code, "closed");
    assert.deepEqual(world.shared.counts, nothingHeld);
    assert.equal(world.clock.pending, 0);
    assert.equal(world.catalog.watches.topicCount, 0);
  });
});
