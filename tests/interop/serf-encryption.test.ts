/** Our pool and real Serf agents with encrypted gossip: files, both versions of the encryption, strangers. */
import { createSocket } from "node:dgram";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createCrypto } from "../../adapters/node-api/crypto.ts";
import { Keyring } from "../../core/swim/keyring.ts";
import type { Ack, Ping } from "../../core/swim/messages.ts";
import { openPacket, packPacket } from "../../core/swim/packets.ts";
import { encodeStream, readStream, type StreamMessage } from "../../core/swim/streams.ts";
import { encodeMessage } from "../../core/swim/wire.ts";
import { type Bytes, concat, fromBase64, toBase64 } from "../../core/types/bytes.ts";
import { messageOf } from "../../core/types/errors.ts";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { patience } from "../support/patience.ts";
import { temporaryFolder } from "../support/program.ts";
import { eventually, findPeer, freePort, type Peer, runPeer, startPeer } from "./peers.ts";
import { ownPool, statusOf } from "./ports.ts";

/** Of this process alone. */
const { network } = await ownGround();

const found = findPeer("serf");
const serf = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

const crypto = createCrypto();
const keyOf = (encoded: string): Bytes => (fromBase64(encoded) as { bytes: Bytes }).bytes;
const [old, fresh] = ["tbLJg26ZJyJ9pK3qhc9jig==", "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="] as const;

interface Theirs extends Peer {
  readonly host: string;
  readonly port: number;
  command(verb: string, ...rest: readonly string[]): Promise<string>;
}

async function theirs(name: string, host: string, ...extra: readonly string[]): Promise<Theirs> {
  return theirsAt(await freePort(), name, host, ...extra);
}

async function theirsAt(port: number, name: string, host: string, ...extra: readonly string[]): Promise<Theirs> {
  const rpc = `${host}:${await freePort()}`;
  const settings = [`-bind=${host}:${port}`, `-rpc-addr=${rpc}`, "-profile=local", "-log-level=debug"];
  const peer = startPeer(serf, ["agent", `-node=${name}`, ...settings, ...extra]);
  const command = (verb: string, ...rest: readonly string[]) => runPeer(serf, [verb, `-rpc-addr=${rpc}`, ...rest]);
  const up = () =>
    command("members").then(
      (printed) => printed.includes(name),
      () => false,
    );
  await eventually(`${name} is up`, up, peer.output);
  return { ...peer, host, port, command };
}

/** Version 0: padded to whole blocks, as members of memberlist's first protocol send it. */
function sealOld(key: Bytes, plain: Bytes, extra: (length: number) => Bytes): Bytes {
  const padding = 16 - (plain.length % 16);
  const padded = concat([plain, new Uint8Array(padding).fill(padding)]);
  const nonce = crypto.randomBytes(12);
  const head = extra(1 + nonce.length + padded.length + 16);
  return concat([head, Uint8Array.of(0), nonce, crypto.seal(key, nonce, padded, head)]);
}

const frameHead = (length: number): Bytes => Uint8Array.of(10, length >>> 24, length >>> 16, length >>> 8, length);
const sealerOf = (...keys: readonly string[]) => ({ crypto, keyring: new Keyring(keys.map(keyOf)) });

/** How long nothing must come back, in ms. */
const silence = 500;

/** Sends one datagram from `host`; what comes back, opened, or undefined when nothing does in `wait` ms. */
async function ask(
  host: string,
  to: { readonly host: string; readonly port: number },
  pack: (port: number) => Bytes,
  wait: number,
) {
  const socket = createSocket("udp4");
  let again: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  try {
    const reply = new Promise<Bytes | undefined>((resolve) => {
      socket.once("message", (message) => resolve(new Uint8Array(message)));
      setTimeout(() => resolve(undefined), wait).unref();
    });
    const packet = pack(socket.address().port);
    const send = (): void => socket.send(packet, to.port, to.host);
    send();
    // Datagrams may be lost.
    again = setInterval(send, 1000);
    const bytes = await reply;
    return bytes === undefined ? undefined : openPacket(bytes, { sealer: sealerOf(old), verifyIncoming: true });
  } finally {
    clearInterval(again);
    socket.close();
  }
}

/** Sends one frame over a connection and reads the answer. */
async function converse(to: { readonly host: string; readonly port: number }, frame: Bytes): Promise<StreamMessage | undefined> {
  const socket = connect(to.port, to.host);
  try {
    socket.write(frame);
    const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const read = async () => {
      const { value, done } = await chunks.next();
      return done === true ? undefined : new Uint8Array(value);
    };
    return await readStream({ read }, { sealer: sealerOf(old), compress: true, verifyIncoming: true });
  } finally {
    socket.destroy();
  }
}

describe("our pool with real serf agents and encryption", { skip }, () => {
  it("keys rotated by ours are in the keyring file of theirs, with which it comes back", async () => {
    const folder = temporaryFolder();
    mkdirSync(folder, { recursive: true });
    const file = join(folder, "keyring.json");
    writeFileSync(file, JSON.stringify([old]));
    const stored: (readonly string[])[] = [];
    const keyring = new Keyring([keyOf(old)]);
    const { pool, address } = await ownPool(`${network}.81.2`, { keyring, storeKeys: async (keys) => void stored.push(keys) });
    let peer = await theirs("real", `${network}.81.1`, `-keyring-file=${file}`, `-join=${address}`);
    try {
      await eventually("they joined", () => statusOf(pool, "real") === "alive", peer.output);
      await pool.keys("install", keyOf(fresh));
      await pool.keys("use", keyOf(fresh));
      await pool.keys("remove", keyOf(old));
      assert.deepEqual(JSON.parse(readFileSync(file, "utf8")), [fresh]);
      assert.deepEqual(stored, [[old, fresh], [fresh, old], [fresh]]);
      // Byte for byte what our agent writes.
      assert.equal(readFileSync(file, "utf8"), JSON.stringify(stored.at(-1), null, 2));
      await peer.stop();
      await eventually("they are gone", () => statusOf(pool, "real") === "failed", peer.output);
      peer = await theirsAt(peer.port, "real", `${network}.81.1`, `-keyring-file=${file}`, `-join=${address}`);
      await eventually("they are back", () => statusOf(pool, "real") === "alive", peer.output);
    } finally {
      await pool.stop();
      await peer.stop();
    }
  });

  it("either side reads packets and exchanges of both versions of the encryption, and answers in the newer one", async () => {
    const peer = await theirs("real", `${network}.82.1`, `-encrypt=${old}`);
    const own = await ownPool(`${network}.82.2`, { keyring: new Keyring([keyOf(old)]) });
    const ours = { host: own.pool.local.host, port: own.pool.local.port };
    try {
      for (const [name, to] of [
        ["real", peer],
        ["ours", ours],
      ] as const) {
        const host = `${network}.82.3`;
        const ping = (sequence: number, port: number): Ping => ({
          kind: "ping",
          sequence,
          node: name,
          origin: { address: Uint8Array.of(...host.split(".").map(Number)), port, node: "asker" },
        });
        const packers: readonly ((sequence: number, port: number) => Bytes)[] = [
          (sequence, port) => sealOld(keyOf(old), encodeMessage(ping(sequence, port)), () => new Uint8Array(0)),
          (sequence, port) =>
            packPacket([encodeMessage(ping(sequence, port))], { checksum: true, compress: true, sealer: sealerOf(old) }),
        ];
        for (const [at, pack] of packers.entries()) {
          const opened = await ask(host, to, (port) => pack(70 + at, port), patience);
          const [ack] = opened?.messages ?? [];
          assert.deepEqual([ack?.kind, (ack as Ack | undefined)?.sequence], ["ack", 70 + at], `${name} ${opened?.problems}`);
        }
        const message: StreamMessage = ping(9, 0);
        const plain = encodeStream(message, { sealer: sealerOf(), compress: false });
        for (const frame of [
          sealOld(keyOf(old), plain, frameHead),
          encodeStream(message, { sealer: sealerOf(old), compress: true }),
        ]) {
          const reply = await converse(to, frame);
          assert.deepEqual([reply?.kind, (reply as Ack | undefined)?.sequence], ["ack", 9], name);
        }
      }
    } finally {
      await own.pool.stop();
      await peer.stop();
    }
  });

  it("neither side answers a packet sealed with another key, and each tells the log who sent it", async () => {
    const peer = await theirs("real", `${network}.83.1`, `-encrypt=${old}`);
    const own = await ownPool(`${network}.83.2`, { keyring: new Keyring([keyOf(old)]) });
    try {
      for (const [name, to, log] of [
        ["real", peer, peer.output],
        ["ours", own.pool.local, () => own.log.join("\n")],
      ] as const) {
        const ping: Ping = { kind: "ping", sequence: 1, node: name, origin: undefined };
        for (const sealer of [sealerOf(fresh), sealerOf()])
          assert.equal(
            await ask(
              `${network}.83.3`,
              to,
              () => packPacket([encodeMessage(ping)], { checksum: false, compress: false, sealer }),
              silence,
            ),
            undefined,
          );
        const told = new RegExp(String.raw`memberlist: Decrypt packet failed: .* from=${network}\.83\.3:\d+`);
        await eventually(`${name} tells`, () => told.test(log()), log);
      }
    } finally {
      await own.pool.stop();
      await peer.stop();
    }
  });

  it("whoever has another key, or none, is refused by either side, in the same words", async () => {
    const peer = await theirs("real", `${network}.84.1`, `-encrypt=${old}`);
    const own = await ownPool(`${network}.84.2`, { keyring: new Keyring([keyOf(old)]) });
    const strangers = [
      await ownPool(`${network}.84.3`, { name: "wrong", keyring: new Keyring([keyOf(fresh)]) }),
      await ownPool(`${network}.84.4`, { name: "plain" }),
    ] as const;
    const realStrangers = [
      await theirs("wrong-real", `${network}.84.5`, `-encrypt=${toBase64(keyOf(fresh))}`),
      await theirs("plain-real", `${network}.84.6`),
    ] as const;
    try {
      const reasons = [
        "No installed keys could decrypt the message",
        "Remote state is encrypted and encryption is not configured",
      ];
      for (const [at, reason] of reasons.entries()) {
        for (const { host, port } of [peer, own.pool.local]) {
          const refused = await (strangers[at] as (typeof strangers)[0]).pool
            .join([`${host}:${port}`])
            .then(() => "joined", messageOf);
          assert.equal(refused, `1 error occurred:\n\t* Failed to join ${host}: ${reason}\n\n`);
        }
        const real = realStrangers[at] as (typeof realStrangers)[0];
        await assert.rejects(real.command("join", `${own.pool.local.host}:${own.pool.local.port}`));
        await eventually("theirs says why", () => real.output().includes(reason), real.output);
      }
      assert.deepEqual(
        own.pool.members().map(({ name }) => name),
        ["ours"],
      );
      assert.doesNotMatch(await peer.command("members"), /wrong|plain/);
    } finally {
      for (const { pool } of [own, ...strangers]) await pool.stop();
      for (const each of [peer, ...realStrangers]) await each.stop();
    }
  });
});
