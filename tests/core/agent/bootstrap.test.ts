/**
 * Founding a group: what is durable before it is said, who is bound to what, and who goes on when a founder is silent.
 * Whole groups of them under faults are in tests/sim/founding.test.ts.
 */
import { Bootstrap, type BootstrapOptions } from "../../../core/agent/bootstrap.ts";
import type { ServerRequest } from "../../../core/agent/forwarding.ts";
import { answerClaim, answerFounding, type MemberView } from "../../../core/agent/founding-member.ts";
import {
  compareBallots,
  type Founding,
  type FoundingAnswer,
  type FoundingMessage,
  readFoundingAnswer,
  readFoundingMessage,
} from "../../../core/agent/founding-messages.ts";
import {
  decodeRecord,
  emptyRecord,
  encodeRecord,
  foundingName,
  type FoundingRecord,
  foundingRecords,
} from "../../../core/agent/founding-record.ts";
import { tryDecode } from "../../../core/codec/cbor.ts";
import type { Member } from "../../../core/plugin/agent-api.ts";
import type { FileStore } from "../../../core/ports/storage.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { fc } from "../../support/property.ts";
import { silent } from "../../support/raft-driver.ts";
import { constantRandom, settle, VirtualClock } from "../../support/virtual-clock.ts";

function member(id: string): Member {
  const numbers = { protocolMin: 1, protocolMax: 5, protocolCur: 2, delegateMin: 2, delegateMax: 5, delegateCur: 4 };
  const tags = { role: "consul", dc: "dc1", id, port: "8300", expect: "3" };
  return { name: id, address: "10.0.0.1", port: 8301, tags, status: "alive", ...numbers };
}

function files(content = new Map<string, Uint8Array>()): Pick<FileStore, "get" | "put"> {
  return {
    get: async (name) => content.get(name),
    put: async (name, bytes) => void content.set(name, bytes),
  };
}

const founding = (by: string, ids: string, number = 1): Founding => ({
  number,
  by,
  servers: ids.split("").map((id) => ({ id, address: "10.0.0.1:8300", voter: true })),
});

interface Asked {
  readonly to: string;
  readonly message: FoundingMessage;
  readonly answer: (answer: FoundingAnswer) => void;
}

/** A server in a pool of `pool`, with what it asked, and what it has founded. */
async function server(self: string, pool = "abc", more: Partial<BootstrapOptions> = {}) {
  const clock = new VirtualClock();
  const founded: string[] = [];
  const asked: Asked[] = [];
  const seen = { pool };
  const bootstrap = new Bootstrap({
    clock,
    random: constantRandom(),
    logger: silent,
    records: foundingRecords(files()),
    self,
    expect: 3,
    datacenter: "dc1",
    members: () => seen.pool.split("").map(member),
    hasData: () => false,
    ask: (to, request: ServerRequest) =>
      new Promise((resolve) => {
        assert.ok(request.kind === "founding");
        asked.push({ to, message: request.message, answer: resolve });
      }),
    found: (servers) => founded.push(servers.map(({ id }) => id).join("")),
    ...more,
  });
  await bootstrap.load();
  bootstrap.start();
  await settle();
  /** Answers all that was asked, in order; gives what it was. */
  const reply = async (answer: (asked: Asked) => FoundingAnswer): Promise<string> => {
    const questions = asked.splice(0);
    for (const question of questions) question.answer(answer(question));
    await settle();
    return questions.map(({ to, message }) => `${message.kind} ${to}`).join(", ");
  };
  return { clock, bootstrap, founded, asked, seen, reply };
}

const enrolled: FoundingAnswer = { kind: "enrolled", others: [] };
const accepted: FoundingAnswer = { kind: "accepted" };

describe("a server that founds a group", () => {
  it("asks all others to enrol, then a majority to agree, and founds", async () => {
    const { reply, founded } = await server("a");
    assert.equal(await reply(() => enrolled), "enrol b, enrol c");
    assert.deepEqual(founded, []);
    assert.equal(
      await reply(({ to }) => (to === "b" ? accepted : { kind: "behind", promised: { round: 1, by: "c" } })),
      "accept b, accept c",
    );
    assert.deepEqual(founded, ["abc"]);
  });

  it("says nothing before its own promise is durable", async () => {
    let stored: () => void = () => {};
    const store = {
      ...files(),
      put: () =>
        new Promise<void>((resolve) => {
          stored = resolve;
        }),
    };
    const { asked } = await server("a", "abc", { records: foundingRecords(store) });
    assert.equal(asked.length, 0);
    stored();
    await settle();
    assert.equal(asked.length, 2);
  });

  it("does not go on while one is silent, and asks again", async () => {
    const { reply, asked, founded, clock } = await server("a");
    asked.find(({ to }) => to === "b")?.answer(enrolled);
    asked
      .splice(0)
      .find(({ to }) => to === "c")
      ?.answer({ kind: "noted" });
    await settle();
    await clock.advance(100);
    assert.equal(await reply(() => enrolled), "accept b, accept c".replaceAll("accept", "enrol"));
    await reply(() => accepted);
    assert.deepEqual(founded, ["abc"]);
  });

  it("waits while a server of the set sees one alive that it does not see itself, and then takes that in", async () => {
    const { reply, asked, seen, clock, founded } = await server("a");
    await reply(() => ({ kind: "enrolled", others: ["d"] }));
    await clock.advance(100);
    assert.equal(await reply(() => ({ kind: "enrolled", others: ["d"] })), "enrol b, enrol c");
    assert.deepEqual(founded, []);
    seen.pool = "abcd";
    await clock.advance(100);
    // The founding of three is declared void by a majority; then there is one of four.
    assert.equal(await reply(() => ({ kind: "promised", accepted: undefined })), "prepare b, prepare c");
    const outcomes = asked.map(({ message }) => message.kind === "accept" && message.outcome);
    assert.deepEqual(outcomes, ["void", "void"]);
    await reply(() => accepted);
    await reply(() => ({ kind: "noted" }));
    await clock.advance(100);
    assert.equal(await reply(() => enrolled), "enrol b, enrol c, enrol d");
    await reply(() => accepted);
    assert.deepEqual(founded, ["abcd"]);
  });

  it("founds nothing any more where a server has data", async () => {
    const { reply, asked, clock, founded } = await server("a");
    await reply(({ to }) => (to === "c" ? { kind: "refused", highest: 1, hasData: true } : enrolled));
    assert.deepEqual(
      asked.map(({ message }) => message.kind),
      ["voided", "voided"],
    );
    asked.splice(0);
    await clock.advance(60_000);
    assert.deepEqual([asked.length, founded.length], [0, 0]);
  });

  it("stays bound to its founding over a restart, and completes it", async () => {
    const store = files();
    const first = await server("a", "abc", { records: foundingRecords(store) });
    await first.reply(() => enrolled);
    first.bootstrap.stop();
    const second = await server("a", "abc", { records: foundingRecords(store) });
    assert.equal(second.asked[0]?.message.founding.number, 1);
    await second.reply(() => enrolled);
    await second.reply(() => accepted);
    assert.deepEqual(second.founded, ["abc"]);
  });
});

describe("a server whose founder is silent", () => {
  const orphan = async () => {
    const one = await server("b");
    await one.bootstrap.onFounding("a", { kind: "enrol", founding: founding("a", "abc") });
    await one.clock.advance(4900);
    assert.equal(one.asked.length, 0);
    await one.clock.advance(200);
    return one;
  };

  it("has the founding declared void, when nobody of a majority agreed to it", async () => {
    const { reply, founded, bootstrap } = await orphan();
    const promised: FoundingAnswer = { kind: "promised", accepted: undefined };
    assert.equal(await reply(() => promised), "prepare a, prepare c");
    await reply(() => accepted);
    assert.deepEqual(founded, []);
    assert.deepEqual(bootstrap.enrolledWith, []);
  });

  it("founds in its stead, when one did", async () => {
    const { reply, founded } = await orphan();
    await reply(() => ({ kind: "promised", accepted: { ballot: { round: 0, by: "a" }, outcome: "found" } }));
    await reply(() => accepted);
    assert.deepEqual(founded, ["abc"]);
  });

  it("waits for a majority, however long it takes", async () => {
    const { asked, founded, clock, bootstrap } = await orphan();
    for (let times = 0; times < 20; times++) {
      for (const { answer } of asked.splice(0)) answer({ kind: "noted" });
      await clock.advance(10_000);
    }
    assert.deepEqual(founded, []);
    assert.equal(bootstrap.enrolledWith.length, 3);
  });

  it("learns from one that is not of it that it failed", async () => {
    const { reply, founded, bootstrap } = await orphan();
    await reply(() => ({ kind: "refused", highest: 7, hasData: false }));
    assert.deepEqual([founded.length, bootstrap.enrolledWith.length], [0, 0]);
  });
});

describe("what a server promised", () => {
  const free: MemberView = { hasData: false, othersThan: () => [] };
  const enrol = (record: FoundingRecord, to: Founding, view = free) =>
    answerFounding(record, { kind: "enrol", founding: to }, view);

  it("binds it to one founding, until that is void", () => {
    const first = enrol(emptyRecord, founding("a", "abc"));
    assert.equal(first.answer.kind, "enrolled");
    assert.equal(enrol(first.record, founding("a", "abc")).answer.kind, "enrolled");
    const second = enrol(first.record, founding("d", "bde", 5));
    assert.deepEqual(second.answer, { kind: "refused", highest: 5, hasData: false });
    const { record } = answerFounding(second.record, { kind: "voided", founding: founding("a", "abc") }, free);
    assert.equal(enrol(record, founding("d", "bde", 5)).answer.kind, "refused", "what it refused it never enrols in");
    assert.equal(enrol(record, founding("d", "bde", 6)).answer.kind, "enrolled");
  });

  it("never binds it where it has data, or is being taken into a group", () => {
    assert.deepEqual(enrol(emptyRecord, founding("a", "abc"), { ...free, hasData: true }).answer, {
      kind: "refused",
      highest: 1,
      hasData: true,
    });
    const claimed = answerClaim(emptyRecord, ["x", "y"]);
    assert.deepEqual(claimed.answer, []);
    assert.deepEqual(enrol(claimed.record, founding("a", "abc")).answer, { kind: "refused", highest: 1, hasData: true });
    assert.deepEqual(answerClaim(claimed.record, ["y", "z"]).answer, [], "the same group, with another server");
    assert.deepEqual(answerClaim(claimed.record, ["p", "q"]).answer, ["x", "y"], "another group");
    const bound = enrol(emptyRecord, founding("a", "abc"));
    assert.deepEqual(answerClaim(bound.record, ["p", "q"]).answer, ["a", "b", "c"]);
  });

  it("is not taken back for a lower ballot", () => {
    const of = founding("a", "abc");
    const { record } = enrol(emptyRecord, of);
    const prepared = answerFounding(record, { kind: "prepare", founding: of, ballot: { round: 1, by: "b" } }, free);
    assert.deepEqual(prepared.answer, { kind: "promised", accepted: undefined });
    const late: FoundingMessage = { kind: "accept", founding: of, ballot: { round: 0, by: "a" }, outcome: "found" };
    assert.deepEqual(answerFounding(prepared.record, late, free).answer, { kind: "behind", promised: { round: 1, by: "b" } });
    assert.ok(compareBallots({ round: 1, by: "c" }, { round: 1, by: "b" }) > 0);
  });

  it("is heard from servers of the set only, each for itself", async () => {
    const { bootstrap } = await server("b");
    const of = founding("a", "abc");
    await assert.rejects(bootstrap.onFounding("c", { kind: "enrol", founding: of }), { code: "bad-request" });
    await assert.rejects(bootstrap.onFounding("d", { kind: "voided", founding: of }), { code: "bad-request" });
    await assert.rejects(bootstrap.onFounding("a", { kind: "enrol", founding: founding("a", "acd") }), { code: "bad-request" });
  });
});

describe("the file of promises", () => {
  const full: FoundingRecord = {
    highest: 3,
    claimed: ["x"],
    enrolment: {
      founding: founding("a", "abc", 3),
      promised: { round: 2, by: "c" },
      accepted: { ballot: { round: 0, by: "a" }, outcome: "found" },
    },
  };

  it("comes back as it was written", () => {
    for (const record of [emptyRecord, full]) assert.deepEqual(decodeRecord(encodeRecord(record)), record);
  });

  it("is not believed with a bit turned, nor without its end", () => {
    const file = encodeRecord(full);
    for (let at = 0; at < file.length; at++) {
      const hurt = file.slice();
      hurt[at] = (hurt[at] as number) ^ 4;
      assert.equal(decodeRecord(hurt), undefined);
      assert.equal(decodeRecord(file.subarray(0, at)), undefined);
    }
  });

  it("stops the start of a server without data when it is damaged, and says what to do", async () => {
    const store = files(new Map([[foundingName, new Uint8Array(20)]]));
    await assert.rejects(
      server("a", "abc", { records: foundingRecords(store) }),
      /raft\/founding in the data directory is damaged/,
    );
    const { bootstrap } = await server("a", "abc", { records: foundingRecords(store), hasData: () => true });
    await assert.rejects(bootstrap.onFounding("b", { kind: "enrol", founding: founding("b", "abc") }), {
      code: "storage-failed",
    });
  });
});

describe("bytes that are no message about a founding", () => {
  it("are none, whatever they are", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything(),
          fc.uint8Array().map((bytes) => tryDecode(bytes)?.value),
        ),
        (value) => {
          readFoundingMessage(value);
          readFoundingAnswer(value);
          const message = readFoundingMessage({ kind: "accept", founding: value, ballot: value, outcome: value });
          return message === undefined;
        },
      ),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => decodeRecord(bytes) === undefined));
  });
});
