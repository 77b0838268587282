/**
 * Encrypted gossip among agents of both kinds:
 *
 *     dc1   a real server, our client       dc2   our server, a real client       both servers in one WAN pool
 *
 * The order of the tests is that of an operator's day: list, rotate from either side, crash and come back, refuse strangers.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { insist } from "../support/patience.ts";
import { consulPath, RunningAgent, run, temporaryFolder } from "../support/program.ts";
import { eventually, findPeer } from "./peers.ts";

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

const old = "tbLJg26ZJyJ9pK3qhc9jig==";
const fresh = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";
const last = "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=";

interface Kept {
  readonly agent: RunningAgent;
  readonly folder: string;
  readonly command: string;
  readonly args: readonly string[];
}

async function begin(command: string, name: string, args: readonly string[], kept?: Kept): Promise<Kept> {
  const folder = kept?.folder ?? join(temporaryFolder(), name);
  const agent = await RunningAgent.start({
    command,
    args: [`-node=${name}`, "-bind=127.0.0.1", `-data-dir=${folder}`, "-hcl=ports { grpc = -1 }", ...args],
    ...(kept === undefined ? {} : { ports: kept.agent.ports }),
    ready: args.includes("-server") ? /New leader elected/ : /Synced node info|agent: Started|Consul agent running/,
  });
  return { agent, folder, command, args };
}

const keyring = async ({ agent, command }: Kept, ...args: readonly string[]): Promise<string> => {
  const env = { CONSUL_HTTP_ADDR: `127.0.0.1:${agent.ports.http}` };
  const { stdout, stderr } = await run(command, ["keyring", ...args], { env });
  return stdout + stderr;
};

/** "WAN KEY [2/2]", … in the order told. */
const listed = async (kept: Kept): Promise<readonly string[]> => {
  const lines = (await keyring(kept, "-list")).split("\n");
  let pool = "";
  const out: string[] = [];
  for (const line of lines) {
    if (/^\S.*:$/.test(line)) pool = line.slice(0, -1);
    else if (line.startsWith("  ")) out.push(`${pool} ${line.trim()}`);
  }
  return out.sort();
};

const keysIn = ({ folder }: Kept, name: "local" | "remote"): readonly string[] =>
  JSON.parse(readFileSync(join(folder, "serf", `${name}.keyring`), "utf8"));

const members = async ({ agent }: Kept): Promise<string> => {
  const list = (await agent.json("/v1/agent/members")) as { Name: string; Status: number }[];
  return list
    .map(({ Name, Status }) => `${Name} ${Status === 1 ? "alive" : Status}`)
    .sort()
    .join(", ");
};

describe("encrypted gossip of our agents and real ones", { skip }, () => {
  let realServer: Kept;
  let ourClient: Kept;
  let ourServer: Kept;
  let realClient: Kept;
  const all = (): readonly Kept[] => [realServer, ourClient, ourServer, realClient];
  const tell = (): string =>
    all()
      .map((kept) => kept?.agent.output.slice(-4000))
      .join("\n=====\n");
  const everyone = (...keys: readonly string[]): readonly string[] =>
    ["WAN", "dc1 (LAN)", "dc2 (LAN)"].flatMap((pool) => keys.map((key) => `${pool} ${key} [2/2]`)).sort();

  /** A server waits a few seconds for the answers of all members, which may be too short: then it is told again. */
  const says = (kept: Kept, wanted: (said: string) => boolean, ...args: readonly string[]): Promise<unknown> =>
    insist(
      () => keyring(kept, ...args),
      wanted,
      (said) => `${args.join(" ")}: ${said}\n${tell()}`,
    );
  const lists = (kept: Kept, ...keys: readonly string[]): Promise<unknown> =>
    insist(
      () => listed(kept),
      (told) => told.join() === everyone(...keys).join(),
      (told) => `${told}\n${tell()}`,
    );

  before(async () => {
    const encrypted = [`-encrypt=${old}`];
    [realServer, ourServer] = await Promise.all([
      begin(consul, "rs", ["-server", "-bootstrap", ...encrypted]),
      begin(consulPath, "os", ["-server", "-bootstrap", "-datacenter=dc2", ...encrypted]),
    ]);
    [ourClient, realClient] = await Promise.all([
      begin(consulPath, "oc", [...encrypted, `-retry-join=127.0.0.1:${realServer.agent.ports.serfLan}`]),
      begin(consul, "rc", ["-datacenter=dc2", ...encrypted, `-retry-join=127.0.0.1:${ourServer.agent.ports.serfLan}`]),
    ]);
    const joined = await ourServer.agent.consul(["join", "-wan", `127.0.0.1:${realServer.agent.ports.serfWan}`]);
    assert.match(joined.stdout, /Successfully joined cluster by contacting 1 nodes/);
    for (const [kept, expected] of [
      [realServer, "oc alive, rs alive"],
      [ourClient, "oc alive, rs alive"],
      [ourServer, "os alive, rc alive"],
      [realClient, "os alive, rc alive"],
    ] as const)
      await eventually(`members are ${expected}`, async () => (await members(kept)) === expected, tell);
  });
  after(() => Promise.all(all().map((kept) => kept?.agent.stop())));

  it("each side's server lists the keys of both datacenters and of the WAN", async () => {
    for (const kept of [realServer, ourServer]) await lists(kept, old);
  });

  it("each client refuses, in the same words", async () => {
    for (const kept of [realClient, ourClient])
      assert.match(await keyring(kept, "-list"), /500 \(keyring operations must run against a server node\)/);
  });

  it("a key installed and used at ours, the old one removed at theirs: all four have it, in their files too", async () => {
    await says(ourServer, (said) => said === "==> Installing new gossip encryption key...\n", `-install=${fresh}`);
    await lists(realServer, old, fresh);
    await says(ourServer, (said) => said === "==> Changing primary gossip encryption key...\n", `-use=${fresh}`);
    await says(realServer, (said) => /rs: Removing the primary key is not allowed/.test(said), `-remove=${fresh}`);
    await says(realServer, (said) => said === "==> Removing gossip encryption key...\n", `-remove=${old}`);
    await lists(ourServer, fresh);
    for (const kept of all()) assert.deepEqual(keysIn(kept, "local"), [fresh], kept.folder);
    for (const kept of [realServer, ourServer]) assert.deepEqual(keysIn(kept, "remote"), [fresh], kept.folder);
    for (const name of ["local", "remote"])
      for (const { folder } of [realServer, ourServer])
        assert.equal(statSync(join(folder, "serf", `${name}.keyring`)).mode & 0o777, 0o600);
    assert.equal(
      readFileSync(join(ourServer.folder, "serf/local.keyring"), "utf8"),
      readFileSync(join(realServer.folder, "serf/local.keyring"), "utf8"),
    );
  });

  it("the reverse: installed and used at theirs, removed at ours, answers relayed", async () => {
    await says(realServer, (said) => /^==> Installing[^\n]*\n$/.test(said), `-install=${last}`, "-relay-factor=1");
    await says(realServer, (said) => /^==> Changing[^\n]*\n$/.test(said), `-use=${last}`);
    await says(ourServer, (said) => /^==> Removing[^\n]*\n$/.test(said), `-remove=${fresh}`, "-relay-factor=1");
    for (const kept of [realServer, ourServer]) await lists(kept, last);
    for (const kept of all()) assert.deepEqual(keysIn(kept, "local"), [last]);
  });

  it("killed, ours come back with the keys of their files, whatever -encrypt says, and warn", async () => {
    await Promise.all([ourServer.agent.stop(), ourClient.agent.stop()]);
    ourServer = await begin(consulPath, "os", ourServer.args, ourServer);
    ourClient = await begin(consulPath, "oc", ourClient.args, ourClient);
    for (const [kept, expected] of [
      [realServer, "oc alive, rs alive"],
      [realClient, "os alive, rc alive"],
    ] as const)
      await eventually(`members are ${expected}`, async () => (await members(kept)) === expected, tell);
    assert.match(ourServer.agent.output, /keyring doesn't include key provided with -encrypt, using keyring.*LAN/);
    assert.match(ourServer.agent.output, /keyring doesn't include key provided with -encrypt, using keyring.*WAN/);
    await lists(ourServer, last);
  });

  it("a real agent starts over the folder of ours, and ours over a real one's", async () => {
    await Promise.all([ourClient.agent.stop(), realClient.agent.stop()]);
    const swap = (kept: Kept): readonly string[] => kept.args.filter((arg) => !arg.startsWith("-encrypt"));
    const theirs = await begin(consul, "oc", swap(ourClient), ourClient);
    const ours = await begin(consulPath, "rc", swap(realClient), realClient);
    [ourClient, realClient] = [theirs, ours];
    await eventually("the real one is in", async () => (await members(realServer)) === "oc alive, rs alive", tell);
    await eventually("ours is in", async () => (await members(ourServer)) === "os alive, rc alive", tell);
  });

  for (const [title, flags, said] of [
    ["with another key", [`-encrypt=${old}`], /No installed keys could decrypt the message/],
    ["without a key", [], /Remote state is encrypted and encryption is not configured/],
  ] as const)
    it(`an agent ${title} is refused by either side, and both say why`, async () => {
      for (const [command, server] of [
        [consulPath, realServer],
        [consul, ourServer],
        [consulPath, ourServer],
      ] as const) {
        const stranger = await begin(command, "stranger", [...flags, `-datacenter=${server === realServer ? "dc1" : "dc2"}`]);
        const before = server.agent.output.length;
        const joined = await run(consulPath, ["join", `127.0.0.1:${server.agent.ports.serfLan}`], {
          env: { CONSUL_HTTP_ADDR: `127.0.0.1:${stranger.agent.ports.http}` },
        });
        assert.equal(joined.code, 1);
        assert.match(joined.stdout + joined.stderr, said);
        const told =
          /memberlist: failed to receive: .*(No installed keys could decrypt|is not encrypted).* from=127\.0\.0\.1:\d+/;
        await eventually("the server says why", () => told.test(server.agent.output.slice(before)), tell);
        assert.doesNotMatch(await members(server), /stranger/);
        await stranger.agent.stop();
      }
    });
});

describe("encryption enabled on a running cluster of both kinds", { skip }, () => {
  it("agent by agent, in Consul's three steps: nobody is ever lost", async () => {
    const plain = ["-hcl=encrypt_verify_incoming = false encrypt_verify_outgoing = false"];
    const sending = ["-hcl=encrypt_verify_incoming = false encrypt_verify_outgoing = true"];
    const server = ["-server", "-bootstrap"];
    const key = [`-encrypt=${old}`];
    let real = await begin(consul, "rs", server);
    let ours = await begin(consulPath, "oc", [`-retry-join=127.0.0.1:${real.agent.ports.serfLan}`]);
    const tell = (): string => `${real.agent.output.slice(-3000)}\n=====\n${ours.agent.output.slice(-3000)}`;
    const together = async (step: string): Promise<void> => {
      for (const kept of [real, ours])
        await eventually(`${step}: both are members`, async () => (await members(kept)) === "oc alive, rs alive", tell);
    };
    const again = async (kept: Kept, args: readonly string[]): Promise<Kept> => {
      await kept.agent.stop();
      const own = kept.args.filter((arg) => !/^-(hcl|encrypt)/.test(arg));
      return begin(kept.command, kept === real ? "rs" : "oc", [...own, ...args], kept);
    };
    try {
      await together("without a key");
      for (const [step, args] of [
        ["a key that nobody uses yet", [...key, ...plain]],
        ["sent sealed", sending],
        ["plain text refused", []],
      ] as const) {
        ours = await again(ours, args);
        await together(`${step}, ours first`);
        real = await again(real, args);
        await together(`${step}, theirs too`);
      }
      assert.match(await keyring(real, "-list"), new RegExp(`dc1 \\(LAN\\):\n  ${old} \\[2/2\\]`));
      const stranger = await begin(consulPath, "stranger", []);
      const joined = await stranger.agent.consul(["join", `127.0.0.1:${real.agent.ports.serfLan}`]);
      assert.match(joined.stderr + joined.stdout, /Remote state is encrypted and encryption is not configured/);
      await stranger.agent.stop();
    } finally {
      await Promise.all([real.agent.stop(), ours.agent.stop()]);
    }
  });
});
