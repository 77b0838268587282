/** The file of a pool's snapshot: added to line by line, written anew beyond a bound, read back whatever a crash left of it. */
import { fc } from "../../support/property.ts";
import type { Address } from "../../../core/ports/net.ts";
import type { FileStore } from "../../../core/ports/storage.ts";
import { emptySnapshot, parseSnapshot, renderChange, renderSnapshot, type SnapshotContent } from "../../../core/serf/snapshot.ts";
import { loadSnapshot, SnapshotFile } from "../../../core/serf/snapshot-file.ts";
import { type Bytes, concat, emptyBytes, text, utf8 } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualWorld } from "../../support/virtual.ts";

const name = "serf/local.snapshot";
const options = { rejoinAfterLeave: false };

class Place {
  readonly world = new VirtualWorld();
  readonly calls: string[] = [];
  readonly log: string[] = [];
  content: SnapshotContent = emptySnapshot;
  held: Bytes | undefined;
  full = false;
  file: SnapshotFile | undefined;

  readonly files: FileStore = {
    get: async () => this.held,
    put: async (_, content) => {
      this.calls.push(this.full ? "put fails" : "put");
      if (this.full) throw new AgentError("storage-failed", { message: "no space left on device" });
      this.held = content.slice();
    },
    append: async (_, content, { sync = false } = {}) => {
      this.calls.push(`append ${JSON.stringify(text(content))}${sync ? " sync" : ""}`);
      const part = this.full ? content.subarray(0, content.length >> 1) : content;
      this.held = concat([this.held ?? emptyBytes, part]);
      if (this.full) throw new AgentError("storage-failed", { message: "no space left on device" });
    },
    delete: async () => {},
    list: async () => [],
  };

  get text(): string {
    return this.held === undefined ? "" : text(this.held);
  }

  async open(): Promise<void> {
    const logger = { log: (_: string, message: string) => void this.log.push(message), enabled: () => true, child: () => logger };
    const { files } = this;
    const found = await loadSnapshot(files, name, { ...options, logger });
    this.file = new SnapshotFile({ files, name, clock: this.world.clock, logger, found, content: () => this.content });
  }

  /** Gives what was done to the file meanwhile. */
  async become(content: Partial<SnapshotContent>, wait = 600): Promise<readonly string[]> {
    this.content = { ...this.content, ...content };
    this.calls.length = 0;
    this.file?.touch();
    await this.world.pass(wait);
    return [...this.calls];
  }
}

const alive = (...names: readonly string[]) => new Map(names.map((one) => [one, { host: "10.0.0.1", port: 8301 }]));

describe("the file of a snapshot", () => {
  it("is made at first, and then added to", async () => {
    const place = new Place();
    await place.open();
    assert.deepEqual(await place.become({ alive: alive("a"), clock: 1 }), ["put"]);
    assert.deepEqual(await place.become({ alive: alive("a", "b"), clock: 2 }), ['append "alive: b 10.0.0.1:8301\\nclock: 2\\n"']);
    assert.deepEqual(await place.become({ alive: alive("b"), eventClock: 7 }), ['append "not-alive: a\\nevent-clock: 7\\n"']);
    assert.deepEqual(await place.become({}), []);
    assert.equal(
      place.text,
      "alive: a 10.0.0.1:8301\nclock: 1\nevent-clock: 0\nquery-clock: 0\nalive: b 10.0.0.1:8301\nclock: 2\nnot-alive: a\nevent-clock: 7\n",
    );
    assert.deepEqual(parseSnapshot(place.text, options), place.content);
  });

  it("is written at most twice a second, however much changes", async () => {
    const place = new Place();
    await place.open();
    await place.become({ clock: 1 });
    place.calls.length = 0;
    for (let clock = 2; clock < 100; clock++) await place.become({ clock }, 10).then(() => undefined);
    await place.world.pass(1000);
    assert.ok(place.text.split("\n").length <= 4 + 3, place.text);
  });

  it("is gone on with by the next life, which adds what differs", async () => {
    const place = new Place();
    place.held = utf8("alive: a 10.0.0.1:8301\nalive: gone 10.0.0.9:8301\nclock: 3\nevent-clock: 2\nquery-clock: 0\n");
    await place.open();
    assert.deepEqual(await place.become({ alive: alive("a"), clock: 5, eventClock: 2 }), [
      'append "not-alive: gone\\nclock: 5\\n"',
    ]);
  });

  it("of which a part of the last line is missing is written anew", async () => {
    const place = new Place();
    place.held = utf8("alive: a 10.0.0.1:8301\nalive: b 10.0.0.2:83");
    await place.open();
    assert.deepEqual(await place.become({ alive: alive("a") }), ["put"]);
    assert.equal(place.text, "alive: a 10.0.0.1:8301\nclock: 0\nevent-clock: 0\nquery-clock: 0\n");
  });

  it("is written anew when it has grown beyond its bound, which grows with the members", async () => {
    const place = new Place();
    await place.open();
    let largest = 0;
    let puts = 0;
    for (let round = 0; round < 40; round++) {
      const members = Array.from({ length: 400 }, (_, at) => `node-${round % 2}-${at}`);
      puts += (await place.become({ alive: alive(...members) })).filter((call) => call === "put").length;
      largest = Math.max(largest, place.text.length);
      assert.deepEqual(parseSnapshot(place.text, options), place.content);
    }
    assert.ok(largest <= 128 * 1024, `${largest} bytes`);
    assert.ok(puts > 2 && puts < 20, `${puts} times`);
    for (let port = 1; port <= 5; port++) {
      const many = Array.from({ length: 2000 }, (_, at) => [`node-${at}`, { host: "10.0.0.1", port }] as const);
      await place.become({ alive: new Map(many) });
    }
    assert.ok(place.text.length > 2 * 128 * 1024 && place.text.length <= 2000 * 256, `${place.text.length} bytes`);
  });

  it("takes a goodbye durably, and what the end still finds", async () => {
    const place = new Place();
    await place.open();
    await place.become({ alive: alive("a"), clock: 1 });
    assert.deepEqual(await place.become({ clock: 2, left: true }), ['append "clock: 2\\nleave\\n" sync']);
    assert.deepEqual(parseSnapshot(place.text, options).alive, new Map());
    assert.deepEqual(parseSnapshot(place.text, { rejoinAfterLeave: true }).alive, alive("a"));

    const other = new Place();
    await other.open();
    await other.become({ clock: 1 });
    await other.become({ clock: 2 });
    other.calls.length = 0;
    await other.world.settle(other.file?.close() ?? Promise.resolve());
    assert.deepEqual(other.calls, ['append "" sync']);
  });

  it("after a goodbye a later life counts", async () => {
    const place = new Place();
    place.held = utf8("alive: a 10.0.0.1:8301\nclock: 3\nleave\n");
    await place.open();
    await place.become({ alive: alive("b"), clock: 9 });
    assert.deepEqual(parseSnapshot(place.text, options), { ...emptySnapshot, alive: alive("b"), clock: 9 });
  });

  it("on a full disk is left alone for half a minute, and then written anew", async () => {
    const place = new Place();
    await place.open();
    await place.become({ alive: alive("a") });
    place.full = true;
    assert.deepEqual(await place.become({ alive: alive("a", "b") }), ['append "alive: b 10.0.0.1:8301\\n"']);
    // Half of that line is there, and does not count.
    assert.deepEqual(parseSnapshot(place.text, options).alive, alive("a"));
    assert.deepEqual(await place.become({ clock: 2 }, 29_000), []);
    assert.deepEqual(await place.become({ clock: 3 }, 2000), ["put fails"]);
    place.full = false;
    assert.deepEqual(await place.become({ clock: 4 }, 31_000), ["put"]);
    assert.deepEqual(parseSnapshot(place.text, options), place.content);
    assert.deepEqual(place.log, [
      "serf: Failed to update snapshot: no space left on device",
      "serf: Attempting compaction to recover from error...",
      "serf: Compaction failed, will reattempt after 30s: no space left on device",
      "serf: Attempting compaction to recover from error...",
      "serf: Finished compaction, successfully recovered from error state",
    ]);
    assert.deepEqual(await place.become({ clock: 5 }), ['append "clock: 5\\n"']);
  });

  it("too large to be one is passed over", async () => {
    const place = new Place();
    place.files.get = async () => {
      throw new AgentError("too-large", { message: "Cannot read it" });
    };
    await place.open();
    assert.match(place.log[0] ?? "", /^serf: Snapshot is passed over/);
    assert.deepEqual(await place.become({ clock: 1 }), ["put"]);
  });

  it("does not remember a member whose name would write lines of its own", async () => {
    const place = new Place();
    await place.open();
    await place.become({ alive: alive("a", "x\nleave", "y ", "") });
    assert.deepEqual(parseSnapshot(place.text, options).alive, alive("a"));
  });

  it("cut at any byte says what it said at some time before, and loses no earlier line", () => {
    const address = fc.record(
      { host: fc.constantFrom("10.0.0.1", "::1"), port: fc.integer({ min: 1, max: 65_535 }) },
      { noNullPrototype: true },
    );
    const members = fc.dictionary(fc.constantFrom("a", "b c", "node:8301"), address, { noNullPrototype: true });
    const state = fc.record(
      { alive: members, clock: fc.nat(), eventClock: fc.nat(), queryClock: fc.nat() },
      { noNullPrototype: true },
    );
    const contentOf = (one: { alive: Record<string, Address>; clock: number; eventClock: number; queryClock: number }) => ({
      ...one,
      alive: new Map(Object.entries(one.alive)),
      left: false,
    });
    fc.assert(
      fc.property(fc.array(state, { minLength: 1, maxLength: 5 }), (states) => {
        const contents = states.map(contentOf);
        let file = renderSnapshot(contents[0] as SnapshotContent);
        const ends = [file.length];
        for (let at = 1; at < contents.length; at++) {
          file += renderChange(contents[at - 1] as SnapshotContent, contents[at] as SnapshotContent);
          ends.push(file.length);
        }
        for (const [at, end] of ends.entries()) assert.deepEqual(parseSnapshot(file.slice(0, end), options), contents[at]);
        for (let length = 0; length <= file.length; length++) {
          const whole = file.slice(0, file.slice(0, length).lastIndexOf("\n") + 1);
          assert.deepEqual(parseSnapshot(file.slice(0, length), options), parseSnapshot(whole, options));
        }
      }),
      { numRuns: 100 },
    );
  });
});
