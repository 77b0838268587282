/** Large commands in pieces: what goes in comes out, and what is broken off comes out nowhere. tests/cases/raft/pieces.txt has the group. */
import { fc } from "../../support/property.ts";
import { MemorySnapshotStore } from "../../../adapters/shared/memory.ts";
import { WriteReceiver, WriteSender } from "../../../core/agent/large-writes.ts";
import { type ServerRequest, decodeRequest, encodeRequest } from "../../../core/agent/forwarding.ts";
import { encode } from "../../../core/codec/cbor.ts";
import type { LogEntry } from "../../../core/ports/storage.ts";
import { entryCommand, entryNoop, entryPiece } from "../../../core/raft/messages.ts";
import { Assembler, commandBytesMax, cut, pieceBytesMax, wholeBytesMax } from "../../../core/raft/pieces.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { openSingle } from "../../support/raft-driver.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

const entriesOf = (command: Uint8Array, pieceBytes: number, from = 1, term = 1): LogEntry[] =>
  cut(command, pieceBytes).map((data, at) => ({ index: from + at, term, type: entryPiece, data }));
const wholes = (entries: readonly LogEntry[]): readonly LogEntry[] => entries.filter(({ type }) => type === entryCommand);

describe("a command in pieces", () => {
  it("comes out whole at its last piece, however the entries are handed over", () => {
    const command = fc.uint8Array({ minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(command, fc.integer({ min: 9, max: 40 }), fc.integer({ min: 1, max: 7 }), (bytes, size, slice) => {
        const entries = entriesOf(bytes, size, 5, 3);
        const assembler = new Assembler();
        const out: LogEntry[] = [];
        for (let at = 0; at < entries.length; at += slice) out.push(...assembler.assemble(entries.slice(at, at + slice)));
        const { index } = entries[entries.length - 1] as LogEntry;
        assert.deepEqual(wholes(out), [{ index, term: 3, type: entryCommand, data: bytes }]);
        assert.equal(assembler.midway, false);
      }),
    );
  });

  it("with a piece missing, of another term, or with anything between comes out nowhere, and the next one does", () => {
    const bytes = utf8("a command that is cut into five");
    const pieces = entriesOf(bytes, 16);
    const other = { index: 3, term: 1, type: entryNoop, data: new Uint8Array(0) };
    const [first, second, third, ...rest] = pieces as [LogEntry, LogEntry, LogEntry, ...LogEntry[]];
    for (const broken of [
      [first, third, ...rest],
      [second, third, ...rest],
      [first, second, { ...third, term: 2 }, ...rest.map((piece) => ({ ...piece, term: 2 }))],
      [first, second, other, ...rest.map((piece) => ({ ...piece, index: piece.index + 1 }))],
      [first, second, { ...second, index: 3 }, ...rest],
    ]) {
      const assembler = new Assembler();
      assert.deepEqual(wholes(assembler.assemble(broken)), []);
      assert.equal(wholes(assembler.assemble(entriesOf(bytes, 16, 100))).length, 1);
    }
  });

  it("made of anything never throws and holds no more than the largest command", () => {
    const entry = fc.record({
      index: fc.integer({ min: 1, max: 4 }),
      term: fc.integer({ min: 1, max: 2 }),
      type: fc.constantFrom(entryPiece, entryPiece, entryCommand, entryNoop),
      data: fc.oneof(
        fc.uint8Array({ maxLength: 12 }),
        fc.uint8Array({ minLength: 3, maxLength: 6 }).map((tail) => Uint8Array.from([0, 0, 0, 4, 0, 0, 0, ...tail])),
      ),
    });
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const out = new Assembler().assemble(entries);
        assert.equal(out.length, entries.length);
        assert.ok(out.every(({ data }) => data.length <= commandBytesMax));
      }),
    );
  });

  it("leaves the entries between commands as they are", () => {
    const entries = [{ index: 1, term: 1, type: entryCommand, data: utf8("x") }];
    assert.equal(new Assembler().assemble(entries), entries);
  });
});

describe("a server in the middle of a command", () => {
  it("takes the snapshot that is due after the rest was applied", async () => {
    const assembler = new Assembler();
    const snapshots = new MemorySnapshotStore();
    let held: Uint8Array | undefined;
    const { driver } = await openSingle({
      machine: { limits: { snapshotThreshold: 4 } },
      driver: {
        snapshots,
        apply: (entries) =>
          assembler.assemble(entries).map((entry) => {
            if (entry.type === entryCommand) held = entry.data;
            return entry.data;
          }),
        content: {
          midway: () => assembler.midway,
          capture: () =>
            (async function* () {
              yield held ?? utf8("nothing");
            })(),
          restore: async () => {},
        },
      },
    });
    await settle();
    const [first, second, third] = cut(utf8("abcdefghij"), 12) as [Uint8Array, Uint8Array, Uint8Array];
    for (const data of [first, second]) await driver.proposeAll([{ type: entryPiece, data }]);
    await settle();
    assert.ok(assembler.midway);
    assert.equal(await snapshots.latest(), undefined);
    await assert.rejects(driver.takeSnapshot(), { code: "closed" });
    const { result, index } = await driver.proposeAll([{ type: entryPiece, data: third }]);
    assert.deepEqual(result, utf8("abcdefghij"));
    await settle();
    assert.equal((await snapshots.latest())?.index, index);
    await driver.stop();
  });
});

describe("a large write of a follower", () => {
  const command = encode({ kind: "barrier", filler: new Uint8Array(3 * wholeBytesMax) });

  function pair(lose: (request: Extract<ServerRequest, { kind: "writePiece" }>) => AgentError | undefined = () => undefined) {
    const clock = new VirtualClock();
    const written: Uint8Array[] = [];
    const receiver = new WriteReceiver({ clock, write: async (whole) => written.push(whole) });
    const sender = new WriteSender(async (_leader, request) => {
      const arrived = decodeRequest(encodeRequest(request));
      assert.ok(arrived?.kind === "writePiece" && arrived.piece.length <= pieceBytesMax);
      const lost = lose(arrived);
      if (lost !== undefined) throw lost;
      return receiver.take("follower", arrived);
    });
    return { clock, written, receiver, sender };
  }

  it("arrives in pieces and is proposed once, whole", async () => {
    const { sender, written } = pair();
    assert.equal(await sender.send("leader", command, 1000), 1);
    assert.deepEqual(written, [command]);
  });

  it("two at a time do not mix", async () => {
    const { sender, written } = pair();
    const other = encode({ kind: "barrier", filler: new Uint8Array(2 * wholeBytesMax).fill(7) });
    await Promise.all([sender.send("leader", command, 1000), sender.send("leader", other, 1000)]);
    assert.deepEqual(new Set(written), new Set([command, other]));
  });

  it("whose leader forgot the beginning is to be sent again", async () => {
    let forget = true;
    const { receiver, sender, written } = pair(({ number }) => {
      if (forget && number === 3) receiver.stop();
      return undefined;
    });
    await assert.rejects(sender.send("leader", command, 1000), { code: "no-leader" });
    forget = false;
    await sender.send("leader", command, 1000);
    assert.equal(written.length, 1);
  });

  it("that breaks off is forgotten after a while", async () => {
    const { clock, sender, written } = pair(({ number }) =>
      number === 2 ? new AgentError("timeout", { message: "late" }) : undefined,
    );
    await assert.rejects(sender.send("leader", command, 1000), { code: "timeout" });
    assert.equal(clock.pending, 1);
    await clock.advance(31_000);
    assert.deepEqual([clock.pending, written], [0, []]);
  });

  it("of pieces that make no command is refused", async () => {
    const { receiver } = pair();
    const [piece] = cut(utf8("not a command"));
    await assert.rejects(receiver.take("x", { kind: "writePiece", id: 1, number: 0, piece: piece as Uint8Array }), {
      code: "bad-request",
    });
  });

  it("beyond the largest command is refused before anything is sent", async () => {
    const { sender } = pair();
    await assert.rejects(sender.send("leader", new Uint8Array(commandBytesMax + 1), 1000), { code: "too-large" });
  });
});
