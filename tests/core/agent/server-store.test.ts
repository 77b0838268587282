/** A follower's store: what it asks of its leader, what it answers itself, what it tries again, and when it gives up. */
import { ServerStore, type ServerStoreOptions } from "../../../core/agent/server-store.ts";
import { SharedReads } from "../../../core/agent/shared-reads.ts";
import type { ServerRequest } from "../../../core/agent/forwarding.ts";
import { decodeRequest, encodeRequest } from "../../../core/agent/forwarding.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { StoreApi } from "../../../core/plugin/agent-api.ts";
import { encode } from "../../../core/codec/cbor.ts";
import { leadershipLost } from "../../../core/raft/waiters.ts";
import { pieceBytesMax } from "../../../core/raft/pieces.ts";
import { CancelSource } from "../../../core/rpc/cancel-source.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { AgentError, type ErrorCode } from "../../../core/types/errors.ts";
import { fc } from "../../support/property.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { constantRandom, settle, VirtualClock } from "../../support/virtual-clock.ts";

const barrier = { kind: "barrier" } as const;

class Follower {
  readonly clock = new VirtualClock();
  readonly catalog = new Catalog();
  leader: string | undefined = "leader";
  applied = 10;
  readonly asked: { readonly to: string; readonly request: ServerRequest }[] = [];
  /** What the leader answers, or how asking fails; the last one stays. */
  answers: (unknown | AgentError)[] = [];
  readonly #behind: { readonly index: number; readonly resolve: () => void }[] = [];
  readonly store: ServerStore;
  /** What was asked of the store of dc2, which answers with the question. */
  readonly elsewhere: unknown[] = [];
  readonly dc2 = new Proxy({} as StoreApi, {
    get:
      (_, method) =>
      async (...args: readonly unknown[]) => {
        this.elsewhere.push([method, ...args]);
        return `dc2 ${String(method)}`;
      },
  });

  constructor() {
    const raft = {
      isLeader: () => false,
      propose: () => Promise.reject(new AgentError("no-leader", { message: "No cluster leader" })),
      leader: () => this.leader,
      knowsLeader: () => this.leader !== undefined,
      lastContact: () => (this.leader === undefined ? Number.POSITIVE_INFINITY : 12.5),
      whenApplied: (index: number) =>
        new Promise<void>((resolve) => {
          this.#behind.push({ index, resolve });
          this.apply(this.applied);
        }),
    };
    const { catalog, clock } = this;
    const shared = new SharedReads({
      catalog,
      clock,
      random: constantRandom(),
      limits: { defaultWait: 300_000, maxWait: 600_000 },
      meta: (index) => this.store.meta(index),
    });
    this.store = new ServerStore({
      catalog,
      clock,
      shared,
      raft: raft as unknown as ServerStoreOptions["raft"],
      leader: { leading: false } as ServerStoreOptions["leader"],
      elsewhere: (datacenter) => {
        if (datacenter !== "dc2") throw new AgentError("no-datacenter", { message: "No path to datacenter" });
        return this.dc2;
      },
      config: () => ({ datacenter: "dc1", rpcHoldTimeout: 7000 }) as ReturnType<ServerStoreOptions["config"]>,
      ask: async (to, request) => {
        this.asked.push({ to, request });
        const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
        if (answer instanceof AgentError) throw answer;
        return answer;
      },
    });
  }

  /** Lets time go by in small steps, since what is asked next is asked only then. */
  async pass(time: number): Promise<void> {
    await settle();
    for (let passed = 0; passed < time; passed += 50) await this.clock.advance(50);
  }

  apply(index: number): void {
    this.applied = index;
    for (const waiter of this.#behind) if (waiter.index <= index) waiter.resolve();
  }
}

/** Whether a promise has settled, without waiting for it. */
function watched<Value>(promise: Promise<Value>): { readonly promise: Promise<Value>; done: boolean } {
  const watch = { promise, done: false };
  const mark = (): void => {
    watch.done = true;
  };
  promise.then(mark, mark);
  return watch;
}

const failure = (code: ErrorCode, message: string): AgentError => new AgentError(code, { message });

describe("a request for another datacenter", () => {
  const where = { datacenter: "dc2", token: "t" };
  const query = { kind: "kvGet", key: "k" } as const;
  const options = { ...where, consistency: "stale" } as const;
  const request = { key: "x", query, options, render: () => ({}) };
  const blocking = { minIndex: 5, wait: 1000 };
  const acts: readonly (readonly [string, readonly unknown[], (store: ServerStore) => Promise<unknown>])[] = [
    ["read", [query, options], (store) => store.read<"kvGet">(query, options)],
    ["readShared", [request, blocking], (store) => store.readShared(request, blocking)],
    ["write", [barrier, where], (store) => store.write(barrier, where)],
    ["renewSession", ["s", where], (store) => store.renewSession("s", where)],
  ];
  for (const [method, args, act] of acts)
    it(`is put to that datacenter as it is: ${method}; without a leader here, too`, async () => {
      const follower = new Follower();
      follower.leader = undefined;
      assert.equal(await act(follower.store), `dc2 ${method}`);
      assert.deepEqual([follower.elsewhere, follower.asked], [[[method, ...args]], []]);
    });

  it("that nobody knows is refused in Consul's words", async () => {
    const unknown = { datacenter: "dc9", consistency: "default" } as const;
    await assert.rejects(new Follower().store.read<"kvGet">(query, unknown), {
      code: "no-datacenter",
      message: "No path to datacenter",
    });
  });
});

describe("a leader's renewal of a session", () => {
  const leader = (leaseValid: () => boolean) => {
    const clock = new VirtualClock();
    const renewed: string[] = [];
    const store = new ServerStore({
      clock,
      raft: { isLeader: () => true, leader: () => "self", leaseValid } as unknown as ServerStoreOptions["raft"],
      leader: { leading: true, renewSession: (id: string) => renewed.push(id) > 0 } as unknown as ServerStoreOptions["leader"],
      config: () => ({ datacenter: "dc1", rpcHoldTimeout: 7000 }) as ReturnType<ServerStoreOptions["config"]>,
    } as unknown as ServerStoreOptions);
    return { clock, renewed, store };
  };

  it("is confirmed while its lease holds", async () => {
    const { renewed, store } = leader(() => true);
    assert.equal(await store.renewSession("s"), true);
    assert.deepEqual(renewed, ["s"]);
  });

  it("waits for the lease, and is refused when it does not come back", async () => {
    let valid = false;
    const { clock, renewed, store } = leader(() => valid);
    const kept = watched(store.renewSession("s"));
    await settle();
    for (let passed = 0; passed < 1000; passed += 50) await clock.advance(50);
    assert.deepEqual([kept.done, renewed], [false, []]);
    valid = true;
    await clock.advance(50);
    assert.equal(await kept.promise, true);

    valid = false;
    const refused = store.renewSession("t");
    const refusal = assert.rejects(refused, { code: "no-leader", message: "No cluster leader" });
    await settle();
    for (let passed = 0; passed < 8000; passed += 50) await clock.advance(50);
    await refusal;
    assert.deepEqual(renewed, ["s"]);
  });
});

describe("a follower's write", () => {
  it("is carried out by the leader, whose answer comes back", async () => {
    const follower = new Follower();
    follower.answers = [{ kind: "took", effect: true }];
    assert.deepEqual(await follower.store.write(barrier), { kind: "took", effect: true });
    assert.deepEqual(follower.asked, [{ to: "leader", request: { kind: "write", command: encode(barrier) } }]);
  });

  it("that is refused there says that it was forwarded, as a value and as an error", async () => {
    const follower = new Follower();
    follower.answers = [{ kind: "rejected", message: "Missing node registration" }];
    assert.deepEqual(await follower.store.write(barrier), {
      kind: "rejected",
      message: "rpc error making call: Missing node registration",
    });
    follower.answers = [failure("too-large", "too much")];
    await assert.rejects(follower.store.write(barrier), { code: "too-large", message: "rpc error making call: too much" });
  });

  for (const [name, error] of [
    ["was never sent", failure("connection-refused", "no connection")],
    ["met a server that does not lead", failure("no-leader", "No cluster leader")],
  ] as const)
    it(`that ${name} is tried again`, async () => {
      const follower = new Follower();
      follower.answers = [error, error, { kind: "done" }];
      const write = watched(follower.store.write(barrier));
      await follower.pass(200);
      assert.ok(write.done);
      assert.equal(follower.asked.length, 3);
    });

  for (const [name, error] of [
    ["whose answer was lost", failure("connection-closed", "EOF")],
    ["that took too long", failure("timeout", "late")],
    ["that may be committed by the next leader", failure("no-leader", leadershipLost)],
  ] as const)
    it(`${name} is not tried again: it may have been carried out`, async () => {
      const follower = new Follower();
      follower.answers = [error];
      await assert.rejects(follower.store.write(barrier), { message: `rpc error making call: ${error.message}` });
      assert.equal(follower.asked.length, 1);
    });

  it("waits for a leader, goes on when there is one, and gives up after rpc_hold_timeout", async () => {
    const follower = new Follower();
    follower.leader = undefined;
    follower.answers = [{ kind: "done" }];
    const patient = watched(follower.store.write(barrier));
    await follower.pass(6000);
    assert.equal(patient.done, false);
    follower.leader = "other";
    follower.store.onLeader();
    assert.deepEqual(await patient.promise, { kind: "done" });
    assert.deepEqual(
      follower.asked.map(({ to }) => to),
      ["other"],
    );

    follower.leader = undefined;
    const late = assert.rejects(follower.store.write(barrier), { code: "no-leader", message: "No cluster leader" });
    await follower.pass(7000);
    await late;
    assert.equal(follower.clock.pending, 0);
  });

  it("of a leader's own decision is never put to its successor, who gave every session its full time anew", async () => {
    const deposed = new Follower();
    deposed.answers = [{ kind: "done" }];
    const end = { kind: "sessionDestroy", id: "5e7a2c1e-0000-4000-8000-000000000001", now: 0 } as const;
    await assert.rejects(deposed.store.propose(end), { message: "No cluster leader" });
    assert.deepEqual(deposed.asked, []);
    assert.equal(deposed.clock.pending, 0);
  });

  it("that nobody takes ends after rpc_hold_timeout, and with the agent", async () => {
    const follower = new Follower();
    follower.answers = [failure("connection-refused", "no connection")];
    const refused = assert.rejects(follower.store.write(barrier), { code: "no-leader" });
    await follower.pass(7100);
    await refused;
    follower.leader = undefined;
    const stopped = assert.rejects(follower.store.write(barrier), { code: "closed" });
    await settle();
    follower.store.stop();
    await stopped;
  });
});

describe("a follower's read", () => {
  const keys = { kind: "kvKeys", prefix: "", separator: "" } as never;

  it("that may be stale asks nobody and says how stale", async () => {
    const follower = new Follower();
    const nodes = await follower.store.read({ kind: "nodes" } as never, { consistency: "stale" });
    assert.deepEqual([nodes.meta.knownLeader, nodes.meta.lastContact], [true, 12]);
    follower.leader = undefined;
    assert.deepEqual(follower.store.meta(1), { index: 1, knownLeader: false, lastContact: 9_223_372_036_854 });
    assert.deepEqual(follower.asked, []);
  });

  for (const consistency of ["default", "consistent"] as const)
    it(`of ${consistency} consistency waits until its catalog has what the leader had`, async () => {
      const follower = new Follower();
      follower.answers = [12];
      const read = watched(follower.store.read(keys, { consistency }));
      await settle();
      assert.equal(read.done, false);
      follower.apply(12);
      const { meta } = await read.promise;
      assert.deepEqual([meta.knownLeader, meta.lastContact], [true, 0]);
      assert.deepEqual(follower.asked[0]?.request, { kind: "readIndex", consistent: consistency === "consistent" });
    });

  it("shares the question with all that come while one is out, but not the one that is out", async () => {
    const follower = new Follower();
    let answer: (index: number) => void = () => {};
    follower.answers = [new Promise((resolve) => (answer = resolve as never)), 10];
    const first = watched(follower.store.read(keys, { consistency: "default" }));
    await settle();
    const others = Array.from({ length: 50 }, () => watched(follower.store.read(keys, { consistency: "default" })));
    await settle();
    assert.equal(follower.asked.length, 1);
    answer(10);
    await Promise.all([first.promise, ...others.map(({ promise }) => promise)]);
    assert.equal(follower.asked.length, 2);
  });

  it("is tried again after a lost answer, since that does no harm", async () => {
    const follower = new Follower();
    follower.answers = [failure("connection-closed", "EOF"), 10];
    const read = watched(follower.store.read(keys, { consistency: "default" }));
    await follower.pass(100);
    assert.ok(read.done);
  });
});

describe("a follower whose leader is deposed", () => {
  const keys = { kind: "kvKeys", prefix: "", separator: "" } as never;
  const never = new Promise(() => {});
  const depose = (follower: Follower, successor: string | undefined): void => {
    follower.leader = successor;
    follower.store.onLeader();
  };

  it("asks the successor at once what it had asked the old one in order to read, and what waited behind that", async () => {
    const follower = new Follower();
    follower.answers = [never, 10];
    const reads = Array.from({ length: 3 }, () => watched(follower.store.read(keys, { consistency: "default" })));
    await settle();
    depose(follower, undefined);
    await settle();
    assert.deepEqual(
      reads.map(({ done }) => done),
      [false, false, false],
    );
    depose(follower, "successor");
    await settle();
    assert.ok(reads.every(({ done }) => done));
    assert.deepEqual(follower.asked[0]?.to, "leader");
    assert.ok(follower.asked.slice(1).every(({ to }) => to === "successor"));
    assert.equal(follower.clock.pending, 0);
  });

  it("waits for the old leader's word on a write as long as nobody else leads, then rpc_hold_timeout, and never asks another", async () => {
    const follower = new Follower();
    follower.answers = [never];
    const write = watched(follower.store.write(barrier));
    await settle();
    depose(follower, undefined);
    await follower.pass(20_000);
    assert.equal(write.done, false);
    depose(follower, "successor");
    await follower.pass(6900);
    assert.equal(write.done, false);
    const failed = assert.rejects(write.promise, { message: `rpc error making call: ${leadershipLost}` });
    await follower.pass(200);
    await failed;
    assert.equal(follower.asked.length, 1);
    assert.equal(follower.clock.pending, 0);
  });

  it("tells what the old leader says of a write, though another leads", async () => {
    const follower = new Follower();
    let answer: (result: unknown) => void = () => {};
    follower.answers = [new Promise((resolve) => (answer = resolve))];
    const write = follower.store.write(barrier);
    await settle();
    depose(follower, "successor");
    answer({ kind: "took", effect: true });
    assert.deepEqual(await write, { kind: "took", effect: true });
    assert.equal(follower.clock.pending, 0);
  });

  it("reads again when the old leader said that it ends; a write may have been carried out", async () => {
    const follower = new Follower();
    const ends = failure("closed", "The agent is shutting down");
    follower.answers = [ends, 10];
    const read = watched(follower.store.read(keys, { consistency: "consistent" }));
    await follower.pass(100);
    assert.ok(read.done);
    follower.answers = [ends];
    await assert.rejects(follower.store.write(barrier), { message: `rpc error making call: ${ends.message}` });
  });
});

describe("a leader whose disk is behind those of its followers", () => {
  const keys = { kind: "kvKeys", prefix: "", separator: "" } as never;
  class Leading {
    applied = 5;
    readonly store: ServerStore;
    #release: () => void = () => {};

    constructor() {
      const follower = new Follower();
      const raft = {
        isLeader: () => true,
        isSoleVoter: () => false,
        leader: () => "self",
        knowsLeader: () => true,
        lastContact: () => 0,
        leaseValid: () => true,
        // The others made it committed, and may show it: it is on their disks.
        commitIndex: 6,
        readIndex: () => assert.fail("the lease makes a round needless"),
        whenApplied: (index: number) =>
          new Promise<void>((resolve) => {
            assert.equal(index, 6);
            this.#release = resolve;
          }),
      };
      Object.defineProperty(raft, "appliedIndex", { get: () => this.applied });
      this.store = new ServerStore({
        catalog: follower.catalog,
        clock: follower.clock,
        shared: {} as ServerStoreOptions["shared"],
        raft: raft as unknown as ServerStoreOptions["raft"],
        leader: { leading: true } as ServerStoreOptions["leader"],
        elsewhere: () => follower.dc2,
        config: () => ({ datacenter: "dc1", rpcHoldTimeout: 7000 }) as ReturnType<ServerStoreOptions["config"]>,
        ask: () => assert.fail("it leads itself"),
      });
    }

    apply(): void {
      this.applied = 6;
      this.#release();
    }
  }

  it("answers a default read once it has applied what is committed, since a follower may have shown it", async () => {
    const leading = new Leading();
    assert.equal(leading.store.readNow(keys, "default"), undefined);
    const read = watched(leading.store.read(keys, { consistency: "default" }));
    await settle();
    assert.equal(read.done, false);
    leading.apply();
    await read.promise;
    assert.notEqual(leading.store.readNow(keys, "default"), undefined);
  });

  it("sends followers that ask to what is committed", async () => {
    assert.equal(await new Leading().store.serve({ kind: "readIndex", consistent: false }, "other"), 6);
  });
});

describe("a request that waits for a leader, when its client goes", () => {
  const query = { kind: "kvGet", key: "k" } as const;
  const request = { key: "x", query, options: { consistency: "default" }, render: () => ({}) } as const;
  const acts: readonly (readonly [string, number, (store: ServerStore, cancel: CancelSource) => Promise<unknown>])[] = [
    ["a read", 1000, (store, cancel) => store.read<"kvGet">(query, { consistency: "consistent", cancel })],
    ["a shared read", 1000, (store, cancel) => store.readShared(request, { minIndex: 0, wait: 0, cancel })],
    ["a write", 1000, (store, cancel) => store.write(barrier, { cancel })],
    ["a renewal", 1000, (store, cancel) => store.renewSession("s", { cancel })],
    ["a blocking query", 0, (store, cancel) => store.readShared(request, { minIndex: 5, wait: 1000, cancel })],
  ];
  for (const [what, grace, act] of acts)
    it(`is given up ${grace === 0 ? "at once" : "a second later"}, and leaves no timer: ${what}`, async () => {
      const follower = new Follower();
      follower.leader = undefined;
      const client = new CancelSource();
      const asked = watched(act(follower.store, client));
      await follower.pass(2000);
      client.abort("gone");
      if (grace > 0) {
        await follower.pass(grace - 50);
        assert.equal(asked.done, false);
        await follower.pass(50);
      }
      await assert.rejects(asked.promise, /The client went away/);
      assert.equal(follower.clock.pending, 0);
    });

  it("is answered, when there is a leader in time", async () => {
    const follower = new Follower();
    follower.leader = undefined;
    follower.answers = [5];
    const client = new CancelSource();
    const read = watched(follower.store.read<"kvGet">(query, { consistency: "default", cancel: client }));
    await follower.pass(1000);
    client.abort("gone");
    await follower.pass(500);
    follower.leader = "leader";
    follower.store.onLeader();
    await read.promise;
    assert.equal(follower.clock.pending, 0);
  });
});

describe("requests between servers", () => {
  it("come back as they went out; anything else is none", () => {
    const founding = { number: 1, by: "a", servers: [{ id: "a", address: "10.0.0.1:8300", voter: true }] };
    const requests: ServerRequest[] = [
      { kind: "write", command: encode(barrier) },
      { kind: "writePiece", id: 3, number: 0, piece: utf8("part") },
      { kind: "readIndex", consistent: true },
      { kind: "renewSession", id: "x" },
      { kind: "removeServer", id: "y" },
      { kind: "belonging", servers: ["a", "b"] },
      { kind: "founding", message: { kind: "enrol", founding } },
      { kind: "founding", message: { kind: "prepare", founding, ballot: { round: 1, by: "b" } } },
      { kind: "founding", message: { kind: "accept", founding, ballot: { round: 0, by: "a" }, outcome: "found" } },
      { kind: "founding", message: { kind: "voided", founding } },
    ];
    for (const request of requests) assert.deepEqual(decodeRequest(encodeRequest(request)), request);
    for (const bad of [
      { kind: "write", command: utf8("\x1f") },
      { kind: "write", command: encode({ no: "kind" }) },
      { kind: "writePiece", id: 3, number: -1, piece: utf8("part") },
      { kind: "writePiece", id: 3, number: 0, piece: new Uint8Array(pieceBytesMax + 1) },
      { kind: "readIndex" },
      { kind: "renewSession", id: "x".repeat(129) },
      { kind: "belonging" },
      { kind: "belonging", servers: [] },
      { kind: "founding" },
      { kind: "founding", message: { kind: "prepare", founding } },
      { kind: "founding", message: { kind: "enrol", founding: { ...founding, by: "b" } } },
      { kind: "other" },
      null,
      [],
    ])
      assert.equal(decodeRequest(encode(bad)), undefined);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        decodeRequest(bytes);
      }),
    );
  });
});
