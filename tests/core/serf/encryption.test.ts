/** Encrypted pools in virtual time: keys that rotate while members crash, and encryption enabled member by member. */
import { MemoryFileStore } from "../../../adapters/shared/memory.ts";
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import type { Datagrams } from "../../../core/ports/datagrams.ts";
import type { FileStore } from "../../../core/ports/storage.ts";
import type { Address } from "../../../core/ports/net.ts";
import { shuffle } from "../../../core/ports/random.ts";
import type { Logger } from "../../../core/ports/telemetry.ts";
import type { KeyOperation } from "../../../core/serf/keys.ts";
import { createPool, type Pool, type PoolEvent, type PoolOptions } from "../../../core/serf/pool.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { fromBase64, toBase64 } from "../../../core/types/bytes.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualWorld } from "../../support/virtual.ts";
import { platformCrypto } from "../swim/support.ts";

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const [old, fresh] = [key(1), key(2)];
const names = (...keys: readonly Uint8Array[]): readonly string[] => keys.map(toBase64);
const host = (name: string): string => `10.0.0.${name.charCodeAt(0) - 96}`;

interface Started {
  readonly pool: Pool;
  readonly log: string[];
}

async function started(world: VirtualWorld, name: string, options: Partial<PoolOptions>): Promise<Started> {
  const log: string[] = [];
  const logger: Logger = {
    log: (level, message) => void log.push(`${level} ${message}`),
    enabled: () => true,
    child: () => logger,
  };
  const pool = createPool({
    clock: world.clock,
    random: createRandom(seedOf(name)),
    crypto: platformCrypto,
    datagrams: world.datagrams(),
    streams: world.streams(host(name)),
    logger,
    kind: "lan",
    name,
    bind: { host: host(name), port: 8301 },
    tags: {},
    gossip: { gossipNodes: 3, gossipInterval: 200, probeInterval: 1000, probeTimeout: 500, suspicionMult: 4, retransmitMult: 4 },
    onEvent: () => {},
    ...options,
  });
  await pool.start();
  return { pool, log };
}

const status = (pool: Pool, name: string): string | undefined => pool.members().find((member) => member.name === name)?.status;
const outcome = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "done",
    (error: unknown) => messageOf(error),
  );

describe("a change of the keys", () => {
  it("is answered when it is stored, not before", async () => {
    const world = new VirtualWorld();
    const asks: (() => void)[] = [];
    const storeKeys = () => new Promise<void>((resolve) => asks.push(resolve));
    const { pool } = await started(world, "a", { keyring: new Keyring([old]), storeKeys });
    let done = false;
    const change = pool.keys("install", fresh).then(() => {
      done = true;
    });
    await world.pass(500);
    assert.deepEqual([asks.length, done], [1, false]);
    asks[0]?.();
    await world.pass(1);
    await change;
    assert.equal(done, true);
  });

  it("that cannot be stored is refused with the reason, and may be asked for again", async () => {
    const world = new VirtualWorld();
    let full = true;
    const storeKeys = async () => {
      if (full) throw new Error("no space left on device");
    };
    const { pool, log } = await started(world, "a", { keyring: new Keyring([old]), storeKeys });
    const failure = await world.settle(pool.keys("install", fresh).catch((error: unknown) => error));
    assert.equal(messageOf(failure), "1/1 nodes reported failure");
    assert.deepEqual((failure as { cause: { messages: unknown } }).cause.messages, {
      a: "Failed to write keyring file: no space left on device",
    });
    assert.ok(log.includes("error serf: Failed to write keyring file: no space left on device"));
    full = false;
    assert.equal(await world.settle(outcome(pool.keys("install", fresh))), "done");
  });

  it("that a hanging disk keeps waiting is bounded: further ones are refused", async () => {
    const world = new VirtualWorld();
    const { pool, log } = await started(world, "a", { keyring: new Keyring([old]), storeKeys: () => new Promise(() => {}) });
    const asked = Array.from({ length: 70 }, () => outcome(pool.keys("use", old)));
    const outcomes = await world.settle(Promise.all(asked));
    assert.equal(outcomes.filter((text) => text === "1/1 nodes reported failure").length, 6);
    assert.equal(outcomes.filter((text) => text === "0/1 nodes reported success").length, 64);
    assert.ok(
      log.some((line) => line === "error serf: Failed to change primary key: too many changes of the keyring are being stored"),
    );
  });

  for (const crashing of ["install", "use", "remove"] as const)
    for (const moment of ["before its file is replaced", "after its file was replaced, before it answers"] as const)
      it(`survives a member that is killed at ${crashing}, ${moment}`, async () => {
        const world = new VirtualWorld();
        const files = new Map(["a", "b", "c"].map((name) => [name, names(old)]));
        let fatal = false;
        const begin = (name: string): Promise<Started> => {
          const keys = (files.get(name) as readonly string[]).map((text) => (fromBase64(text) as { bytes: Uint8Array }).bytes);
          const storeKeys = (changed: readonly string[]): Promise<void> => {
            const dies = name === "b" && fatal;
            if (!dies || moment.startsWith("after")) files.set(name, changed);
            return dies ? new Promise(() => {}) : Promise.resolve();
          };
          return started(world, name, { keyring: new Keyring(keys), storeKeys });
        };
        const a = await begin("a");
        let b = await begin("b");
        const c = await begin("c");
        for (const { pool } of [b, c]) await world.settle(pool.join([host("a")]));
        await world.pass(3000);

        const steps: readonly (readonly [KeyOperation, Uint8Array])[] = [
          ["install", fresh],
          ["use", fresh],
          ["remove", old],
        ];
        for (const [operation, changed] of steps) {
          fatal = operation === crashing;
          const said = await world.settle(outcome(a.pool.keys(operation, changed)));
          assert.equal(said, fatal ? "2/3 nodes reported success" : "done");
          if (!fatal) continue;
          fatal = false;
          await b.pool.stop();
          await world.pass(60_000);
          assert.equal(status(a.pool, "b"), "failed");
          b = await begin("b");
          assert.equal(await world.settle(b.pool.join([host("a")])), 1, "it still understands the others");
          await world.pass(10_000);
          assert.equal(await world.settle(outcome(a.pool.keys(operation, changed))), "done", "the step is repeated");
        }
        await world.pass(30_000);
        for (const { pool } of [a, b, c]) {
          assert.deepEqual(pool.ownKeys(), names(fresh));
          assert.ok(pool.members().every((member) => member.status === "alive"));
        }
        assert.deepEqual([...files.values()], [names(fresh), names(fresh), names(fresh)]);
      });
});

describe("answers about keys", () => {
  it("come through others when the direct way loses them, if that is asked for", async () => {
    const world = new VirtualWorld();
    let lossy = false;
    const deaf: Datagrams = {
      bind: async (at, receive) => {
        const socket = await world.datagrams().bind(at, receive);
        return { ...socket, send: (to, payload) => (lossy && to.host === host("a") ? undefined : socket.send(to, payload)) };
      },
    };
    const ring = () => new Keyring([old]);
    const a = await started(world, "a", { keyring: ring() });
    for (const name of ["b", "c", "d"]) {
      const options = name === "b" ? { keyring: ring(), datagrams: deaf } : { keyring: ring() };
      const { pool } = await started(world, name, options);
      await world.settle(pool.join([host("a")]));
    }
    await world.pass(10_000);
    lossy = true;
    assert.equal(await world.settle(outcome(a.pool.keys("list"))), "3/4 nodes reported success");
    const relayed = await world.settle(a.pool.keys("list", undefined, { relayFactor: 2 }));
    assert.deepEqual([relayed.responses, relayed.keys], [4, { [toBase64(old)]: 4 }]);
  });
});

describe("enabling encryption member by member", () => {
  const phases = {
    "without a key": {},
    "with a key, sending and taking plain text": { keyring: [old], verifyIncoming: false, verifyOutgoing: false },
    "with a key, sending sealed, taking plain text": { keyring: [old], verifyIncoming: false, verifyOutgoing: true },
    "with a key, refusing plain text": { keyring: [old], verifyIncoming: true, verifyOutgoing: true },
    "with another key": { keyring: [fresh], verifyIncoming: true, verifyOutgoing: true },
    "with another key, taking plain text": { keyring: [fresh], verifyIncoming: false, verifyOutgoing: true },
  } as const;
  type Phase = keyof typeof phases;
  const all = Object.keys(phases) as Phase[];
  /** Adjacent steps of the way understand one another, and nobody else. */
  const understanding: ReadonlySet<string> = new Set(
    [
      [0, 0],
      [0, 1],
      [1, 1],
      [1, 2],
      [2, 2],
      [2, 3],
      [3, 3],
      [4, 4],
      [5, 5],
      [4, 5],
    ].map((pair) => pair.join()),
  );

  for (const [left, one] of all.entries())
    for (const [right, other] of all.slice(left).entries()) {
      const pair = [left, left + right].join();
      const understand = understanding.has(pair);
      it(`${one}, and ${other}: ${understand ? "a pool" : "strangers"}`, async () => {
        const world = new VirtualWorld();
        const begin = (name: string, phase: Phase) => {
          const options: { keyring?: readonly Uint8Array[]; verifyIncoming?: boolean; verifyOutgoing?: boolean } = phases[phase];
          return started(world, name, { ...options, keyring: new Keyring(options.keyring ?? []) });
        };
        const a = await begin("a", one);
        const b = await begin("b", other);
        const joined = [
          await world.settle(outcome(a.pool.join([host("b")]))),
          await world.settle(outcome(b.pool.join([host("a")]))),
        ];
        await world.pass(60_000);
        const seen = [status(a.pool, "b"), status(b.pool, "a")];
        if (understand)
          assert.deepEqual(
            [joined, seen],
            [
              ["done", "done"],
              ["alive", "alive"],
            ],
          );
        else assert.deepEqual([joined.includes("done"), seen.includes("alive")], [false, false], joined.join("\n"));
      });
    }

  it("refusals say who came with what", async () => {
    const world = new VirtualWorld();
    const sealed = await started(world, "a", { keyring: new Keyring([old]) });
    const plain = await started(world, "b", {});
    const wrong = await started(world, "c", { keyring: new Keyring([fresh]) });
    const refused = (reason: string) => `1 error occurred:\n\t* Failed to join 10.0.0.1: ${reason}\n\n`;
    assert.equal(
      await world.settle(outcome(plain.pool.join([host("a")]))),
      refused("Remote state is encrypted and encryption is not configured"),
    );
    await world.pass(2000);
    assert.equal(
      await world.settle(outcome(wrong.pool.join([host("a")]))),
      refused("No installed keys could decrypt the message"),
    );
    const told = sealed.log.filter((line) => line.startsWith("error")).map((line) => line.replace(/:\d+$/, ":PORT"));
    assert.deepEqual(told, [
      "error memberlist: failed to receive: Encryption is configured but remote state is not encrypted from=10.0.0.2:PORT",
      "error memberlist: failed to receive: No installed keys could decrypt the message from=10.0.0.3:PORT",
    ]);
  });

  it("refusals that come fast are told once a second, the last for all", async () => {
    const world = new VirtualWorld();
    const sealed = await started(world, "a", { keyring: new Keyring([old]) });
    const plain = await started(world, "b", {});
    const told = () => sealed.log.filter((line) => line.startsWith("error"));
    for (let attempt = 1; attempt <= 4; attempt++) await world.settle(outcome(plain.pool.join([host("a")])));
    assert.equal(told().length, 1);
    await world.pass(1000);
    assert.equal(told().length, 2);
    assert.match(told()[1] as string, /is not encrypted from=10\.0\.0\.2:\d+ \(and 2 more like it\)$/);
    await world.pass(10_000);
    assert.equal(told().length, 2);
  });
});

describe("recorded gossip played again", () => {
  it("changes nothing, not even for a member that restarted since: no event, query, goodbye or change of keys happens twice", async () => {
    const world = new VirtualWorld();
    const random = createRandom(seedOf("replay"));
    const recorded: { readonly to: Address; readonly payload: Uint8Array }[] = [];
    const tapped: Datagrams = {
      bind: async (at, receive) => {
        const socket = await world.datagrams().bind(at, receive);
        return {
          ...socket,
          send: (to, payload) => {
            recorded.push({ to, payload: payload.slice() });
            socket.send(to, payload);
          },
        };
      },
    };
    const events: string[] = [];
    const files = new Map<string, FileStore>();
    const filesOf = (name: string): FileStore => {
      const own = files.get(name) ?? new MemoryFileStore();
      files.set(name, own);
      return own;
    };
    const begin = async (name: string): Promise<Pool> => {
      const onEvent = (event: PoolEvent) => {
        if (event.kind === "user" || event.kind === "query") events.push(`${name} ${event.kind} ${event.name}`);
        else if (event.kind === "keys") events.push(`${name} keys`);
      };
      const snapshot = { files: filesOf(name), name: "serf/local.snapshot", rejoinAfterLeave: false };
      const { pool } = await started(world, name, { keyring: new Keyring([old, fresh]), datagrams: tapped, onEvent, snapshot });
      if (name !== "a") await world.settle(pool.join([host("a")]));
      return pool;
    };
    const [a, b, d] = [await begin("a"), await begin("b"), await begin("d")];
    let c = await begin("c");
    await world.pass(3000);
    await a.userEvent("deploy", new Uint8Array(0), false);
    await world.settle(b.query("load", undefined));
    await world.settle(a.keys("use", fresh));
    await world.settle(d.leave());
    await d.stop();
    await world.settle(a.keys("use", old));
    await world.pass(2000);
    await c.stop();
    c = await begin("c");
    await world.pass(20_000);
    const state = () => ({
      keys: [a, b, c].map((pool) => pool.ownKeys()),
      members: [a, b, c].map((pool) => pool.members().map(({ name, status }) => `${name} ${status}`)),
    });
    const [before, heard] = [state(), events.slice()];
    const agreed = ["a alive", "b alive", "c alive", "d left"];
    for (const seen of before.members.slice(0, 2)) assert.deepEqual([...seen].sort(), agreed);

    const stranger = await world.datagrams().bind({ host: "10.0.0.9", port: 1 }, () => {});
    assert.ok(recorded.length > 200, `${recorded.length}`);
    // Others' answers to what is played must not be played again.
    const played = shuffle(random, recorded.slice());
    for (const [at, { to, payload }] of [...played, ...played].entries()) {
      stranger.send(to, payload);
      if (at % 5 === 0) await world.pass(20);
    }
    await world.pass(60_000);
    assert.deepEqual(events, heard);
    assert.deepEqual(state().keys, before.keys);
    const after = state().members;
    for (const seen of after.slice(0, 2)) assert.deepEqual([...seen].sort(), agreed);
    // Nobody had told c that there was a d: it believes the recording until d does not answer.
    assert.deepEqual(after[2]?.filter((seen) => seen.endsWith("alive")).sort(), ["a alive", "b alive", "c alive"]);
  });
});
