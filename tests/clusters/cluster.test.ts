/** Several servers as an operator runs them: they form a group, lose members, take them back, and forget nothing they acknowledged. */
import { after, before } from "node:test";
import { answered, Group, portsFor, read, readJson, type Server, until, write } from "../support/group.ts";
import { assert, describe, it } from "../support/harness.ts";
import { insist } from "../support/patience.ts";
import { type Ports, type Response, type RunningAgent, request } from "../support/program.ts";

const nobody = "00000000-0000-0000-0000-000000000000";

interface Check {
  readonly CheckID: string;
  readonly Status: string;
}
const isOf =
  (status: string) =>
  (checks: readonly Check[]): boolean =>
    checks.some(({ CheckID, Status }) => CheckID === "serfHealth" && Status === status);

describe("three servers with -bootstrap-expect=3", () => {
  let group: Group;
  let servers: readonly Server[];
  let extra: RunningAgent | undefined;

  const joinFirst = (): string => `-retry-join=127.0.0.1:${(servers[0] as Server).ports.serfLan}`;

  before(async () => {
    group = await Group.start();
    ({ servers } = group);
  });
  after(async () => {
    await Promise.all([group?.stop(), extra?.stop()]);
  });

  it("form one group, of which every server says the same", async () => {
    await group.leader();
    const peers = await Promise.all(servers.map(async ({ agent }) => (await agent.json("/v1/status/peers")) as string[]));
    for (const said of peers) assert.deepEqual(said.sort(), servers.map(({ ports }) => `127.0.0.1:${ports.server}`).sort());
    const { stdout } = await (servers[1] as Server).agent.insist(["operator", "raft", "list-peers"]);
    assert.equal(stdout.match(/follower {2}true/g)?.length, 2);
    assert.equal(stdout.match(/leader {4}true/g)?.length, 1);
  });

  it("take a write at any of them, and show it at once at every other", async () => {
    for (const { ports, name } of servers) {
      await write(ports.http, "round", name);
      for (const other of servers)
        for (const mode of ["", "&consistent"]) {
          const answer = await read(other.ports.http, `/v1/kv/round?raw${mode}`);
          assert.deepEqual([answer.body, answer.headers["x-consul-knownleader"]], [name, "true"]);
        }
    }
  });

  it("have every server in the catalog, healthy, with the service consul", async () => {
    const entries = await until<{ Node: { Node: string } }[]>(
      (servers[2] as Server).ports.http,
      "/v1/health/service/consul?passing",
      (found) => found.length === 3,
    );
    assert.deepEqual(entries.map(({ Node }) => Node.Node).sort(), ["s0", "s1", "s2"]);
  });

  it("wake a blocking query at a follower, and renew a session there", async () => {
    const leading = await group.leader();
    const [follower] = group.others(leading) as [Server];
    const before = await read(follower.ports.http, "/v1/kv/round");
    // Without `woken` it would be held for longer than this test lasts.
    const waiting: Promise<Response> = read(
      follower.ports.http,
      `/v1/kv/round?raw&wait=10m&index=${before.headers["x-consul-index"]}`,
    );
    await write(leading.ports.http, "round", "woken");
    assert.equal((await waiting).body, "woken");

    const put = (path: string, body?: string): Promise<Response> =>
      insist(
        () => follower.agent.request("PUT", path, body),
        ({ status }) => status !== 500,
      );
    const made = await put("/v1/session/create", JSON.stringify({ TTL: "1h", Node: follower.name }));
    assert.equal(made.status, 200, made.body);
    const { ID } = JSON.parse(made.body) as { ID: string };
    assert.equal((await put(`/v1/session/renew/${ID}`)).status, 200);
    assert.equal((await put(`/v1/session/renew/${nobody}`)).status, 404);
  });

  it("register a follower's own service in the catalog", async () => {
    const leading = await group.leader();
    const [follower] = group.others(leading) as [Server];
    await follower.agent.request("PUT", "/v1/agent/service/register", JSON.stringify({ Name: "web", Port: 80 }));
    const found = await until<{ Node: string }[]>(leading.ports.http, "/v1/catalog/service/web", ({ length }) => length === 1);
    assert.equal(found[0]?.Node, follower.name);
  });

  it("go on without the leader after kill -9, lose nothing acknowledged, and show it as critical", async () => {
    const killed = await group.leader();
    const [survivor, other] = group.others(killed) as [Server, Server];
    const acknowledged: string[] = [];
    let stop = false;
    const writer = (async () => {
      for (let at = 0; !stop; at++) {
        const key = `kept/${at}`;
        const answer = await request(survivor.ports.http, "PUT", `/v1/kv/${key}`, "x");
        if (answer.status === 200 && answer.body.trim() === "true") acknowledged.push(key);
      }
    })();
    while (acknowledged.length < 50) await write(other.ports.http, "beside", "x");
    await group.kill(killed);
    await write(other.ports.http, "after", "x");
    stop = true;
    await writer;

    const lost = async ({ ports }: Server): Promise<readonly string[]> => {
      const kept = new Set(await readJson<string[]>(ports.http, "/v1/kv/kept/?keys"));
      return acknowledged.filter((key) => !kept.has(key));
    };
    for (const server of [survivor, other]) assert.deepEqual(await lost(server), []);
    await until<Check[]>(survivor.ports.http, `/v1/health/node/${killed.name}`, isOf("critical"));

    await group.restart(killed, { remembers: true });
    assert.match(killed.agent.output, /Raft data found, disabling bootstrap mode/);
    await until<Check[]>(survivor.ports.http, `/v1/health/node/${killed.name}`, isOf("passing"));
    assert.deepEqual(await lost(killed), []);
  });

  it("take back a follower that was stopped, with its data and its place", async () => {
    const leading = await group.leader();
    const [follower] = group.others(leading) as [Server];
    await group.terminate(follower);
    await write(leading.ports.http, "meanwhile", "written");
    await group.restart(follower, { remembers: true });
    assert.equal((await read(follower.ports.http, "/v1/kv/meanwhile?raw")).body, "written");
    assert.equal(((await follower.agent.json("/v1/status/peers")) as string[]).length, 3);
  });

  it("let a fourth join, learn and then vote, and let it leave again", async () => {
    const [spare] = (await portsFor(1)) as [Ports];
    extra = await group.run({ name: "s3", ports: spare, extra: [joinFirst()] });
    interface Configuration {
      readonly Servers: readonly { readonly Node: string; readonly Voter: boolean }[];
    }
    const [first, second] = servers as [Server, Server];
    const configured = (holds: (configuration: Configuration) => boolean): Promise<Configuration> =>
      until<Configuration>(first.ports.http, "/v1/operator/raft/configuration", holds);
    await group.said(/Promoted server to voter/);
    await configured(({ Servers }) => Servers.some(({ Node, Voter }) => Node === "s3" && Voter));
    await write(spare.http, "from/s3", "x");
    assert.equal((await read(second.ports.http, "/v1/kv/from/s3?raw")).body, "x");

    const left = await extra.consul(["leave"]);
    assert.equal(left.stdout, "Graceful leave complete\n");
    assert.deepEqual(await extra.ended(), { code: 0, signal: null });
    // It waits for its removal, but not for ever.
    await configured(({ Servers }) => Servers.length === 3 && Servers.every(({ Node }) => Node !== "s3"));
    await answered(second.ports.http, "/v1/catalog/node/s3", ({ status, body }) => status === 200 && body.trim() === "null");
  });

  it("refuse an agent of another datacenter, and one with a member's ID", async () => {
    const [first] = servers as [Server];
    const { Config } = (await first.agent.json("/v1/agent/self")) as { Config: { NodeID: string } };
    const [ports] = (await portsFor(1)) as [Ports];
    const joining = (name: string, flag: string): Promise<RunningAgent> =>
      group.run({ name, ports, extra: ["-bootstrap", `-join=127.0.0.1:${first.ports.serfLan}`, flag] });
    await assert.rejects(joining("far", "-datacenter=dc2"), /part of wrong datacenter 'dc/);
    await assert.rejects(joining("twin", `-node-id=${Config.NodeID}`), /conflicting node ID/);
  });

  it("do not take in a server that has a group of its own, whose data they would overwrite", async () => {
    const [first] = servers as [Server];
    const [ports] = (await portsFor(1)) as [Ports];
    const lone = await group.run({ name: "lone", ports, extra: ["-bootstrap"] });
    await write(ports.http, "its/own", "x");
    assert.equal((await lone.consul(["join", `127.0.0.1:${first.ports.serfLan}`])).code, 0);
    await group.said(/not adding Raft peer: its data belongs to another group/);
    await group.fresh();
    for (const { agent } of servers) assert.equal(((await agent.json("/v1/status/peers")) as string[]).length, 3);
    assert.equal((await request(ports.http, "GET", "/v1/kv/its/own?raw")).body, "x");
    await lone.stop();
  });

  it("lose their leader to an operator who removes it: another one takes over first, and no write waits for it", async () => {
    const removed = await group.leader();
    const [other] = group.others(removed) as [Server];
    const address = `127.0.0.1:${removed.ports.server}`;
    const done = await removed.agent.consul(["operator", "raft", "remove-peer", `-address=${address}`]);
    assert.deepEqual([done.code, done.stdout], [0, `Removed peer with address "${address}"\n`]);
    assert.equal((await request(other.ports.http, "PUT", "/v1/kv/goes/on", "x")).body.trim(), "true");
    const { stdout } = await other.agent.insist(["operator", "raft", "list-peers"]);
    assert.doesNotMatch(stdout, new RegExp(`${address} .* true`));
  });
});
