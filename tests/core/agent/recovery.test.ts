/** peers.json: what is read out of it, what is refused and in which words, and that a crash in between harms nothing. */
import { fc } from "../../support/property.ts";
import { MemoryRaftStore, memoryStorage } from "../../../adapters/shared/memory.ts";
import { parsePeers } from "../../../core/agent/peers-file.ts";
import { peersInfoName, peersName, recover, recoveredName } from "../../../core/agent/recovery.ts";
import type { FileStore, Logger } from "../../../core/ports/mod.ts";
import { loadRaft } from "../../../core/raft/driver.ts";
import { encodeConfiguration } from "../../../core/raft/membership.ts";
import { type Configuration, entryConfiguration, entryNoop } from "../../../core/raft/messages.ts";
import {
  decodeRecovered,
  encodeRecovered,
  type Held,
  isOutdated,
  recoveryTerm,
  recoveryTerms,
} from "../../../core/raft/recovery.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { constantRandom } from "../../support/virtual-clock.ts";

const voter = (id: string, port: number) => ({ id, address: `127.0.0.1:${port}`, voter: true });
const known: Configuration = { servers: [voter("a", 1), voter("b", 2), voter("c", 3)] };
const parse = (content: string): Configuration => parsePeers(utf8(content), known);

describe("peers.json", () => {
  it("names servers by ID, address and suffrage", () => {
    const content =
      '[{"id":"b","address":"127.0.0.1:2","non_voter":false},{"ID":"n","Address":"127.0.0.1:9","NON_VOTER":true,"x":1}] rest';
    assert.deepEqual(parse(content).servers, [voter("b", 2), { ...voter("n", 9), voter: false }]);
  });

  it("in the old form names servers by the addresses they have in the last configuration", () => {
    assert.deepEqual(parse('["127.0.0.1:3", "127.0.0.1:1"]').servers, [voter("c", 3), voter("a", 1)]);
  });

  for (const [content, problem] of [
    ["{not json", "invalid character 'n' looking for beginning of object key string"],
    ["", "EOF"],
    ['[{"id":', "unexpected EOF"],
    ["[]", "Need at least one voter in configuration: {[]}"],
    ["null", "Need at least one voter in configuration: {[]}"],
    ["[null]", "Empty ID in configuration: {[{Voter  }]}"],
    ['["127.0.0.1:4"]', 'the last configuration has no server at 127.0.0.1:4: name its "id" too, as peers.info explains'],
    ['["127.0.0.1:1","127.0.0.1:1"]', "Found duplicate ID in configuration: a"],
    ['["127.0.0.1:1",{"id":"b"}]', "json: cannot unmarshal string into Go value of type raft.configEntry"],
    ['[{"id":"","address":"127.0.0.1:2"}]', "Empty ID in configuration: {[{Voter  127.0.0.1:2}]}"],
    ['[{"id":"x","address":""}]', "Empty address in configuration: {Voter x }"],
    ['[{"id":"x","address":"q","non_voter":true}]', "Need at least one voter in configuration: {[{Nonvoter x q}]}"],
    ['[{"id":"x","address":"p"},{"id":"x","address":"q"}]', "Found duplicate ID in configuration: x"],
    ['[{"id":"x","address":"p"},{"id":"y","address":"p"}]', "Found duplicate address in configuration: p"],
    ['{"id":"x"}', "json: cannot unmarshal object into Go value of type []raft.configEntry"],
    ['[{"id":5}]', "json: cannot unmarshal number into Go struct field configEntry.id of type raft.ServerID"],
    ['[{"address":[]}]', "json: cannot unmarshal array into Go struct field configEntry.address of type raft.ServerAddress"],
    ['[{"non_voter":"yes"}]', "json: cannot unmarshal string into Go struct field configEntry.non_voter of type bool"],
  ] as const) {
    it(`with ${content === "" ? "nothing in it" : content} is refused in Consul's words`, () => {
      assert.throws(() => parse(content), { code: "config-invalid", message: `recovery failed to parse peers.json: ${problem}` });
    });
  }

  it("with anything in it gives a group that can decide, or is refused", () => {
    const refusedOrSound = (content: Uint8Array): void => {
      try {
        const { servers } = parsePeers(content, known);
        assert.ok(servers.some((server) => server.voter) && servers.every(({ id, address }) => id !== "" && address !== ""));
        assert.equal(new Set(servers.map(({ id }) => id)).size, servers.length);
      } catch (error) {
        assert.ok(error instanceof AgentError, messageOf(error));
      }
    };
    fc.assert(fc.property(fc.uint8Array(), refusedOrSound));
    const field = fc.oneof(fc.string({ maxLength: 3 }), fc.boolean(), fc.integer(), fc.constant(null));
    const entry = fc.record({ id: field, address: field, non_voter: field }, { requiredKeys: [] });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.array(entry).map((list) => JSON.stringify(list)),
        ),
        (content) => refusedOrSound(utf8(content)),
      ),
    );
  });

  it("of any size is read or refused without holding more than a megabyte", () => {
    assert.throws(() => parsePeers(new Uint8Array(1024 * 1024 + 1), known), { message: /exceeds 1048576 bytes/ });
  });
});

describe("the record of a recovery", () => {
  it("comes back as it was written, and other bytes are no record", () => {
    const recovered = { configuration: known, term: recoveryTerms };
    assert.deepEqual(decodeRecovered(encodeRecovered(recovered)), recovered);
    fc.assert(fc.property(fc.uint8Array(), (bytes) => decodeRecovered(bytes) === undefined));
  });

  it("begins in a term that is above all of the old group's, the same on servers some terms apart", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(1_000_000), (one, other) => {
        const [first, second] = [one, other].map((term) =>
          recoveryTerm({ ...held, hardState: { term, votedFor: "x" } }, undefined),
        );
        assert.ok(first === second && (first as number) > Math.max(one, other));
      }),
    );
  });
});

const logger: Logger = { log: () => {}, child: () => logger, enabled: () => true } as unknown as Logger;
const configurationData = encodeConfiguration(known);
const held: Held = {
  hardState: { term: 4, votedFor: "b" },
  entries: [
    { index: 1, term: 1, type: entryConfiguration, data: configurationData },
    { index: 2, term: 4, type: entryNoop, data: new Uint8Array(0) },
  ],
  snapshot: undefined,
};
const nothing: Held = { hardState: { term: 0, votedFor: undefined }, entries: [], snapshot: undefined };

/** A disk that stops for good after `changes` changes: what was changed before stays. */
function stopping(files: FileStore, changes: number): FileStore {
  let left = changes;
  const change = (act: () => Promise<void>): Promise<void> => (left-- > 0 ? act() : Promise.reject(new Error("killed")));
  return {
    get: (name) => files.get(name),
    list: (prefix) => files.list(prefix),
    put: (name, content) => change(() => files.put(name, content)),
    append: (name, content) => change(() => files.append(name, content)),
    delete: (name) => change(() => files.delete(name)),
  };
}

describe("recovery", () => {
  it("at the first start removes a left-over peers.json and explains the file", async () => {
    const { files } = memoryStorage();
    await files.put(peersName, utf8("[]"));
    assert.equal(await recover({ files, logger }, nothing), undefined);
    assert.deepEqual(await files.list("raft/"), [peersInfoName]);
  });

  it("is refused where there never was a group", async () => {
    const { files } = memoryStorage();
    await files.put(peersInfoName, utf8(""));
    await files.put(peersName, utf8('[{"id":"a","address":"127.0.0.1:1"}]'));
    await assert.rejects(recover({ files, logger }, nothing), {
      message: "recovery failed: refused to recover cluster with no initial state, this is probably an operator error",
    });
    assert.deepEqual(await files.list("raft/"), [peersInfoName, peersName]);
  });

  it("leaves a file that it cannot follow, and the configuration as it was", async () => {
    const { files } = memoryStorage();
    await files.put(peersInfoName, utf8(""));
    await files.put(peersName, utf8("[]"));
    await assert.rejects(recover({ files, logger }, held), { code: "config-invalid" });
    await files.delete(peersName);
    assert.equal(await recover({ files, logger }, held), undefined);
  });

  it("killed at any step leaves the old configuration or the new, and comes to the new when started again", async () => {
    const content = utf8('["127.0.0.1:2"]');
    const expected = { configuration: { servers: [voter("b", 2)] }, term: recoveryTerms };
    for (let changes = 0; changes <= 2; changes++) {
      const { files } = memoryStorage();
      await files.put(peersInfoName, utf8(""));
      await files.put(peersName, content);
      const outcome = await recover({ files: stopping(files, changes), logger }, held).catch(() => "killed");
      assert.equal(outcome === "killed", changes < 2);
      const record = await files.get(recoveredName);
      // The operator's word is never lost: it is in one of the two.
      assert.ok((await files.get(peersName)) !== undefined || record !== undefined);
      assert.deepEqual(record === undefined ? undefined : decodeRecovered(record), changes === 0 ? undefined : expected);
      assert.deepEqual(await recover({ files, logger }, held), expected);
      assert.deepEqual(await files.list("raft/"), [peersInfoName, recoveredName]);
    }
  });

  it("a second time, after the first group went on, begins in a later term", () => {
    const first = { configuration: known, term: recoveryTerms };
    const since = { ...held, hardState: { term: recoveryTerms + 7, votedFor: "b" } };
    assert.equal(recoveryTerm(since, first), 2 * recoveryTerms);
    assert.equal(recoveryTerm({ ...since, hardState: { term: recoveryTerms, votedFor: undefined } }, first), recoveryTerms);
  });

  it("is over once a later snapshot has the configuration", async () => {
    const { files } = memoryStorage();
    await files.put(peersInfoName, utf8(""));
    const recovered = { configuration: { servers: [voter("b", 2)] }, term: recoveryTerms };
    await files.put(recoveredName, encodeRecovered(recovered));
    const at = (term: number): Held => ({
      ...held,
      snapshot: { index: 2, term, configuration: configurationData, configurationIndex: 1 },
    });
    assert.deepEqual(await recover({ files, logger }, at(4)), recovered);
    assert.ok(isOutdated(recovered, at(recoveryTerms + 1)));
    assert.equal(await recover({ files, logger }, at(recoveryTerms + 1)), undefined);
    assert.deepEqual(await files.list("raft/"), [peersInfoName]);
  });

  it("whose record is damaged stops the start instead of resuming the lost group", async () => {
    const { files } = memoryStorage();
    await files.put(recoveredName, utf8("rubbish"));
    await assert.rejects(recover({ files, logger }, held), { code: "storage-failed", message: /raft\/recovered/ });
  });

  it("gives the machine the new configuration and term, which it writes before it says anything", async () => {
    const store = new MemoryRaftStore();
    await store.write({ hardState: held.hardState, entries: held.entries });
    const { machine } = await loadRaft(store, memoryStorage().snapshots, {
      id: "b",
      random: constantRandom(),
      timing: { heartbeat: 100, election: 100, lease: 50 },
      now: 0,
      recover: async () => ({ configuration: { servers: [voter("b", 2)] }, term: recoveryTerms }),
    });
    assert.deepEqual(machine.configuration.servers, [voter("b", 2)]);
    machine.step(machine.wakeAt, { kind: "wake" });
    assert.deepEqual(machine.takeMessages(), []);
    assert.deepEqual(machine.takeWrite(0)?.write.hardState, { term: recoveryTerms + 1, votedFor: "b" });
  });
});
