/** Keys of two datacenters in virtual time: one WAN pool, and two LAN pools, of which one has a client. */
import { fc } from "../../support/property.ts";
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { KeyringOperations } from "../../../core/agent/keyring.ts";
import { keyringHandlers } from "../../../core/agent/rpc-keyring.ts";
import { Fields } from "../../../core/codec/fields.ts";
import { decode, encode, Malformed } from "../../../core/codec/msgpack.ts";
import type { KeyringAnswer, KeyringRequest } from "../../../core/plugin/agent-api.ts";
import {
  decodeKeyringAnswers,
  decodeKeyringRequest,
  encodeKeyringAnswers,
  encodeKeyringRequest,
} from "../../../core/rpc/endpoints/keyring.ts";
import { createPool, type Pool } from "../../../core/serf/pool.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { toBase64 } from "../../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualWorld } from "../../support/virtual.ts";
import { platformCrypto } from "../swim/support.ts";

const key = (fill: number): string => toBase64(new Uint8Array(32).fill(fill));
const silent = { log() {}, enabled: () => false, child: () => silent };
const list: KeyringRequest = { operation: "list", key: "", relayFactor: 0, localOnly: false };

interface Server {
  readonly keyring: KeyringOperations;
  readonly lan: Pool;
  readonly wan: Pool | undefined;
}

class Federation {
  readonly world = new VirtualWorld();
  readonly servers = new Map<string, Server>();
  /** Datacenters nobody can reach. */
  readonly lost = new Set<string>();
  #hosts = 0;

  async pool(
    kind: "lan" | "wan",
    name: string,
    keys: readonly Uint8Array[],
  ): Promise<{ readonly pool: Pool; readonly at: string }> {
    const host = `10.0.0.${++this.#hosts}`;
    const pool = createPool({
      clock: this.world.clock,
      random: createRandom(seedOf(host)),
      crypto: platformCrypto,
      datagrams: this.world.datagrams(),
      streams: this.world.streams(host),
      logger: silent,
      kind,
      name,
      bind: { host, port: 8301 },
      tags: {},
      gossip: {
        gossipNodes: 3,
        gossipInterval: 200,
        probeInterval: 1000,
        probeTimeout: 500,
        suspicionMult: 4,
        retransmitMult: 4,
      },
      keyring: new Keyring(keys),
      onEvent: () => {},
    });
    await pool.start();
    return { pool, at: host };
  }

  async join(pool: Pool, at: string): Promise<void> {
    await this.world.settle(pool.join([at]));
  }

  server(datacenter: string, lan: Pool, wan: Pool | undefined): KeyringOperations {
    const keyring: KeyringOperations = new KeyringOperations({
      datacenter,
      pools: () => ({ lan, wan }),
      others: () => [...this.servers.keys()].filter((name) => name !== datacenter),
      ask: async (other, request) => {
        const there = this.servers.get(other);
        if (there === undefined || this.lost.has(other))
          throw new AgentError("no-datacenter", { message: "No path to datacenter" });
        const handler = new Map(keyringHandlers(there.keyring)).get("Internal.KeyringOperation");
        const args = new Fields(decode(encode(encodeKeyringRequest(request, other))));
        return decodeKeyringAnswers(decode(encode((await handler?.(args, {} as never)) ?? null)));
      },
    });
    this.servers.set(datacenter, { keyring, lan, wan });
    return keyring;
  }
}

async function federation(keys: readonly Uint8Array[] = [new Uint8Array(32).fill(1)]) {
  const all = new Federation();
  const [lan1, wan1] = [await all.pool("lan", "s1", keys), await all.pool("wan", "s1.dc1", keys)];
  const [lan2, wan2] = [await all.pool("lan", "s2", keys), await all.pool("wan", "s2.dc2", keys)];
  const client = await all.pool("lan", "c1", keys);
  await all.join(wan2.pool, wan1.at);
  await all.join(client.pool, lan1.at);
  await all.world.pass(3000);
  const keyring = all.server("dc1", lan1.pool, wan1.pool);
  all.server("dc2", lan2.pool, wan2.pool);
  const run = (request: KeyringRequest) => all.world.settle(keyring.run(request));
  return { all, run, rings: () => [lan1, wan1, client, lan2, wan2].map(({ pool }) => pool.ownKeys()) };
}

const brief = ({ wan, datacenter, keys, nodes, error }: KeyringAnswer) =>
  `${wan ? "WAN" : datacenter} ${Object.values(keys).join("+")}/${nodes}${error === "" ? "" : ` ${error}`}`;

describe("the keys of all pools", () => {
  it("are listed for the WAN, the own datacenter, and the others by name", async () => {
    const { run } = await federation();
    const answers = await run(list);
    assert.deepEqual(answers.map(brief), ["WAN 2/2", "dc1 2/2", "dc2 1/1"]);
    assert.deepEqual(answers[1], {
      wan: false,
      datacenter: "dc1",
      segment: "",
      messages: {},
      keys: { [key(1)]: 2 },
      primaryKeys: { [key(1)]: 2 },
      nodes: 2,
      error: "",
    });
    assert.deepEqual((await run({ ...list, localOnly: true })).map(brief), ["dc1 2/2"]);
    assert.deepEqual((await run({ ...list, forwarded: true })).map(brief), ["dc1 2/2"]);
  });

  it("rotate everywhere, clients included", async () => {
    const { run, rings } = await federation();
    for (const [operation, of] of [
      ["install", 2],
      ["use", 2],
      ["remove", 1],
    ] as const) {
      const answers = await run({ ...list, operation, key: key(of) });
      assert.deepEqual(
        answers.map(({ error }) => error),
        ["", "", ""],
      );
    }
    assert.deepEqual(
      rings(),
      Array.from({ length: 5 }, () => [key(2)]),
    );
  });

  it("what members refuse is told by pool and member", async () => {
    const { run, rings } = await federation();
    const answers = await run({ ...list, operation: "remove", key: key(1) });
    assert.deepEqual(answers.map(brief), [
      "WAN /2 2/2 nodes reported failure",
      "dc1 /2 2/2 nodes reported failure",
      "dc2 /1 1/1 nodes reported failure",
    ]);
    assert.deepEqual(answers[1]?.messages, {
      c1: "Removing the primary key is not allowed",
      s1: "Removing the primary key is not allowed",
    });
    assert.deepEqual(rings()[0], [key(1)]);
  });

  it("without encryption each pool says so, in Serf's words", async () => {
    const { run } = await federation([]);
    const said = (answers: readonly KeyringAnswer[]) => new Set(answers.flatMap(({ messages }) => Object.values(messages)));
    assert.deepEqual(said(await run(list)), new Set(["Keyring is empty (encryption not enabled)"]));
    const install = await run({ ...list, operation: "install", key: key(2) });
    assert.deepEqual(said(install), new Set(["No keyring to modify (encryption not enabled)"]));
  });

  it("a key that is not base64 reaches nobody", async () => {
    const { run, rings } = await federation();
    const answers = await run({ ...list, operation: "install", key: "zz" });
    assert.deepEqual(answers.map(brief), [
      "WAN /0 illegal base64 data at input byte 0",
      "dc1 /0 illegal base64 data at input byte 0",
      "dc2 /0 illegal base64 data at input byte 0",
    ]);
    assert.deepEqual(rings()[3], [key(1)]);
  });

  it("a datacenter that cannot be reached fails the whole: whoever rotates keys must know", async () => {
    const { all, run } = await federation();
    all.lost.add("dc2");
    assert.equal(await run(list).catch(messageOf), "No path to datacenter");
    assert.equal((await run({ ...list, localOnly: true })).length, 1);
  });

  it("change everywhere or nowhere: one datacenter alone can only be listed", async () => {
    const { run } = await federation();
    const refused = await run({ ...list, operation: "use", key: key(1), localOnly: true }).catch(messageOf);
    assert.equal(refused, "argument error: LocalOnly can only be used for List operations");
  });

  it("a server without a WAN pool has its LAN alone; one without any pool refuses", async () => {
    const all = new Federation();
    const { pool } = await all.pool("lan", "s1", [new Uint8Array(16)]);
    assert.deepEqual((await all.world.settle(all.server("dc1", pool, undefined).run(list))).map(brief), ["dc1 1/1"]);
    const none = new KeyringOperations({
      datacenter: "dc1",
      pools: () => ({ lan: undefined, wan: undefined }),
      others: () => [],
      ask: () => assert.fail(),
    });
    assert.match(await none.run(list).then(() => "listed", messageOf), /need gossip/);
  });
});

describe("Internal.KeyringOperation", () => {
  it("requests and answers are read as they were written", () => {
    const request: KeyringRequest = { operation: "use", key: key(1), relayFactor: 3, localOnly: false, forwarded: true };
    assert.deepEqual(decodeKeyringRequest(new Fields(decode(encode(encodeKeyringRequest(request, "dc2"))))), request);
    const answer: KeyringAnswer = {
      wan: true,
      datacenter: "dc1",
      segment: "",
      messages: JSON.parse(`{"__proto__":"x","a":"truncated"}`),
      keys: { [key(1)]: 2 },
      primaryKeys: {},
      nodes: 2,
      error: "1/2 nodes reported failure",
    };
    assert.deepEqual(decodeKeyringAnswers(decode(encode(encodeKeyringAnswers([answer, answer])))), [answer, answer]);
  });

  it("an operation that is none, and random fields, are malformed or read, never anything else", () => {
    const malformed = (fields: Record<string, unknown>) => decodeKeyringRequest(new Fields(decode(encode(fields as never))));
    assert.throws(() => malformed({ Operation: "drop" }), Malformed);
    assert.throws(() => malformed({}), Malformed);
    assert.throws(() => malformed({ Operation: "list", RelayFactor: 256 }), Malformed);
    const value = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.dictionary(fc.string(), fc.integer()));
    const fields = fc.record(
      {
        Responses: fc.array(fc.dictionary(fc.constantFrom("Keys", "Messages", "NumNodes", "WAN", "Error", "PrimaryKeys"), value)),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fields, (random) => {
        try {
          decodeKeyringAnswers(decode(encode(random as never)));
        } catch (error) {
          assert.ok(error instanceof Malformed, String(error));
        }
      }),
    );
  });
});
