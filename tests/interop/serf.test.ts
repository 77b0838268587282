/** Our pool and real Serf agents in one: they must not notice a difference. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeFileStore } from "../../adapters/node-api/files.ts";
import { Keyring } from "../../core/swim/keyring.ts";
import { fromBase64, text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { eventually, findPeer, freePort, type Peer, runPeer, startPeer } from "./peers.ts";
import { ownPool, statusOf } from "./ports.ts";

/** Of this process alone. */
const { network } = await ownGround();

const found = findPeer("serf");
const serf = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

const key = "tbLJg26ZJyJ9pK3qhc9jig==";

interface Theirs extends Peer {
  readonly address: string;
  command(verb: string, ...rest: readonly string[]): Promise<string>;
}

async function theirs(name: string, host: string, ...extra: readonly string[]): Promise<Theirs> {
  const address = `${host}:${await freePort()}`;
  const rpc = `${host}:${await freePort()}`;
  const peer = startPeer(serf, [
    "agent",
    `-node=${name}`,
    `-bind=${address}`,
    `-rpc-addr=${rpc}`,
    "-profile=local",
    "-log-level=debug",
    ...extra,
  ]);
  const command = (verb: string, ...rest: readonly string[]) => runPeer(serf, [verb, `-rpc-addr=${rpc}`, ...rest]);
  const answers = () =>
    command("members").then(
      (printed) => printed.includes(name),
      () => false,
    );
  await eventually(`${name} is up`, answers, peer.output);
  return { ...peer, address, command };
}

describe("our pool with real serf agents", { skip }, () => {
  it("we join them, they see our tags and status, and we see theirs", async () => {
    const peer = await theirs("real", `${network}.71.1`, "-tag=role=db");
    const { pool } = await ownPool(`${network}.71.2`);
    try {
      assert.equal(await pool.join([peer.address]), 1);
      assert.equal(statusOf(pool, "real"), "alive");
      assert.deepEqual(pool.members().find((member) => member.name === "real")?.tags, { role: "db" });
      await eventually(
        "they list us alive",
        async () => /ours\s+\S+\s+alive\s+role=ours/.test(await peer.command("members")),
        peer.output,
      );
    } finally {
      await pool.stop();
      await peer.stop();
    }
  });

  it("they join us, events cross both ways, and reach nobody twice", async () => {
    const { pool, events, address } = await ownPool(`${network}.72.2`);
    const peer = await theirs("real", `${network}.72.1`, `-join=${address}`);
    try {
      await eventually("they joined", () => statusOf(pool, "real") === "alive", peer.output);
      await peer.command("event", "-coalesce=false", "deploy", "v1");
      await eventually("we hear of it", () => events.some((event) => event.kind === "user"), peer.output);
      await pool.userEvent("restart", utf8("now"), false);
      await eventually("they hear of it", () => peer.output().includes("restart"), peer.output);
      const heard = events.flatMap((event) => (event.kind === "user" ? [`${event.name} ${text(event.payload)}`] : []));
      assert.deepEqual(heard, ["deploy v1", "restart now"]);
    } finally {
      await pool.stop();
      await peer.stop();
    }
  });

  it("they leave and are left, crash and are failed, come back and are alive; we leave and are left", async () => {
    const { pool, address } = await ownPool(`${network}.73.3`);
    const leaver = await theirs("leaver", `${network}.73.1`, `-join=${address}`);
    const crasher = await theirs("crasher", `${network}.73.2`, `-join=${address}`);
    let again: Theirs | undefined;
    try {
      await eventually(
        "both joined",
        () => statusOf(pool, "leaver") === "alive" && statusOf(pool, "crasher") === "alive",
        crasher.output,
      );
      await leaver.stop("SIGINT");
      await eventually("the leaver left", () => statusOf(pool, "leaver") === "left", leaver.output);
      await crasher.stop();
      await eventually("the crasher failed", () => statusOf(pool, "crasher") === "failed", crasher.output);
      again = await theirs("leaver", `${network}.73.1`, `-join=${address}`);
      await eventually("the leaver is back", () => statusOf(pool, "leaver") === "alive", again.output);
      await pool.leave();
      await eventually(
        "they saw us leave",
        async () => /ours\s+\S+\s+left/.test((await again?.command("members")) ?? ""),
        again.output,
      );
    } finally {
      await pool.stop();
      await again?.stop();
      await crasher.stop();
      await leaver.stop();
    }
  });

  it("with a key they and we understand one another; without it joining fails in memberlist's words", async () => {
    const decoded = fromBase64(key);
    assert.ok("bytes" in decoded);
    const peer = await theirs("real", `${network}.74.1`, `-encrypt=${key}`);
    const { pool } = await ownPool(`${network}.74.2`, { keyring: new Keyring([decoded.bytes]) });
    const stranger = await ownPool(`${network}.74.3`, { name: "stranger" });
    try {
      assert.equal(await pool.join([peer.address]), 1);
      await eventually("they list us alive", async () => /ours\s+\S+\s+alive/.test(await peer.command("members")), peer.output);
      await assert.rejects(stranger.pool.join([peer.address]), {
        code: "rejected",
        message: `1 error occurred:\n\t* Failed to join ${network}.74.1: Remote state is encrypted and encryption is not configured\n\n`,
      });
    } finally {
      await pool.stop();
      await stranger.pool.stop();
      await peer.stop();
    }
  });

  it("their reachability check, their queries and their key rotation include us, and ours include them", async () => {
    const decoded = fromBase64(key);
    const fresh = fromBase64("pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=");
    assert.ok("bytes" in decoded && "bytes" in fresh);
    const keyring = new Keyring([decoded.bytes]);
    const peer = await theirs("real", `${network}.76.1`, `-encrypt=${key}`);
    const { pool, events } = await ownPool(`${network}.76.2`, { keyring });
    try {
      await pool.join([peer.address]);
      await eventually("they list us alive", async () => /ours\s+\S+\s+alive/.test(await peer.command("members")), peer.output);
      // Its own questions wait for answers for a second or two, which may be too short: then it asks again.
      const shows = (wanted: RegExp, ...words: readonly [string, ...string[]]) =>
        eventually(`${words.join(" ")} shows ${wanted}`, async () => wanted.test(await peer.command(...words)), peer.output);
      await shows(/live members: 2[\s\S]*Successfully contacted all live nodes/, "reachability");
      await shows(/Ack from 'ours'/, "query", "-timeout=1s", "load");
      assert.ok(events.some((event) => event.kind === "query" && event.name === "load"));
      await shows(/Successfully installed/, "keys", "-install=pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=");
      await pool.keys("use", fresh.bytes);
      await shows(/Successfully removed/, "keys", `-remove=${key}`);
      await shows(/pUqJrVyVRj5jsiYEkM\/tFQYfWyJIv4s3XkvDwy7Cu5s=\s+\[2\/2\]/, "keys", "-list");
      assert.deepEqual(keyring.encoded(), ["pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="]);
      await eventually("nobody lost anybody", () => statusOf(pool, "real") === "alive", peer.output);
    } finally {
      await pool.stop();
      await peer.stop();
    }
  });

  it("for ten seconds beside two of them nobody suspects anybody, and coordinates move", async () => {
    const { pool, events, address } = await ownPool(`${network}.75.3`);
    const peers = await Promise.all([
      theirs("one", `${network}.75.1`, "-profile=lan", `-join=${address}`),
      theirs("two", `${network}.75.2`, "-profile=lan", `-join=${address}`),
    ]);
    try {
      const trouble = (): readonly string[] => [
        ...peers.flatMap((peer) =>
          peer
            .output()
            .split("\n")
            .filter((line) => /[Ss]uspect|Failed|Refuting a|\[ERR\]/.test(line)),
        ),
        ...events.map((event) => event.kind).filter((kind) => kind !== "join" && kind !== "update"),
      ];
      // A machine that stands still makes each of them late, and doubted; nothing else does, so it can be waited for.
      const pause = () => new Promise((resolve) => setTimeout(resolve, 10_000));
      await eventually(
        "ten seconds without a doubt",
        async () => {
          const before = trouble().length;
          await pause();
          return trouble().length === before;
        },
        () => trouble().join("\n"),
      );
      assert.deepEqual(
        pool
          .members()
          .map(({ name, status }) => `${name} ${status}`)
          .sort(),
        ["one alive", "ours alive", "two alive"],
      );
      assert.ok(pool.coordinate().vec.some((value) => value !== 0));
      await eventually(
        "it trusts itself",
        () => pool.stats().health_score === "0",
        () => `${pool.stats().health_score}`,
      );
    } finally {
      await pool.stop();
      for (const peer of peers) await peer.stop();
    }
  });

  it("one snapshot file serves both, one life after the other", async () => {
    const folder = await mkdtemp(join(tmpdir(), "proconsul-serf-"));
    const snapshot = { files: new NodeFileStore(folder, []), name: "local.snapshot", rejoinAfterLeave: false };
    const content = () => readFile(join(folder, snapshot.name), "utf8").catch(() => "");
    const keeper = await theirs("keeper", `${network}.75.1`);
    try {
      const first = await ownPool(`${network}.75.2`, { snapshot });
      await first.pool.join([keeper.address]);
      await eventually("we noted whom we know", async () => (await content()).includes("alive: keeper"), keeper.output);
      await first.pool.userEvent("deploy", utf8("v1"), false);
      await eventually("we added what we heard", async () => (await content()).endsWith("event-clock: 1\n"), keeper.output);
      await first.pool.stop();

      const second = await theirs("ours", `${network}.75.2`, `-snapshot=${join(folder, snapshot.name)}`);
      await eventually(
        "they join again by it",
        () => second.output().includes("Re-joined to previously known node: keeper"),
        second.output,
      );
      assert.doesNotMatch(second.output(), /Unrecognized snapshot line/);
      await second.stop();

      const third = await ownPool(`${network}.75.2`, { snapshot });
      await eventually("we join again by what they added", () => statusOf(third.pool, "keeper") === "alive", keeper.output);
      await third.pool.stop();
    } finally {
      await keeper.stop();
      await rm(folder, { recursive: true });
    }
  });
});
