/** Two of three servers are lost for ever; an operator tells the third that it is alone, and nothing acknowledged is lost. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { answered, portsFor, read, until, write } from "../support/group.ts";
import { type Ports, RunningAgent, run, consulPath, temporaryFolder } from "../support/program.ts";

const folder = temporaryFolder();
const hcl = 'performance { raft_multiplier = 1 } autopilot { server_stabilization_time = "1s" }';

interface Server {
  readonly name: string;
  readonly ports: Ports;
  agent: RunningAgent;
}

function argumentsFor(name: string, join_: string): readonly string[] {
  return [
    "-server",
    "-bind=127.0.0.1",
    `-node=${name}`,
    `-data-dir=${join(folder, name)}`,
    `-hcl=${hcl}`,
    "-bootstrap-expect=3",
    `-retry-join=${join_}`,
  ];
}

const start = (name: string, ports: Ports, seed: string): Promise<RunningAgent> =>
  RunningAgent.start({ args: argumentsFor(name, seed), ports, ready: /Consul agent running!/ });

describe("a server whose two companions are lost for ever", () => {
  const servers: Server[] = [];
  const raftFile = (server: Server, name: string): string => join(folder, server.name, "raft", name);
  after(async () => {
    await Promise.all(servers.map(({ agent }) => agent.stop()));
  });

  it("goes on alone by peers.json with all that was acknowledged, also after kill -9", async () => {
    const ports = await portsFor(3);
    const seed = `127.0.0.1:${(ports[0] as Ports).serfLan}`;
    const agents = await Promise.all(ports.map((own, at) => start(`r${at}`, own, seed)));
    for (const [at, agent] of agents.entries()) servers.push({ name: `r${at}`, ports: ports[at] as Ports, agent });
    const last = servers[2] as Server;
    for (let at = 0; at < 20; at++) await write(last.ports.http, `kept/${at}`, `value ${at}`);
    assert.ok(existsSync(raftFile(last, "peers.info")));

    for (const { agent } of servers) agent.signal("SIGKILL");
    await Promise.all(servers.map(({ agent }) => agent.ended()));

    // A file that cannot be followed stops the start and stays.
    writeFileSync(raftFile(last, "peers.json"), "[]");
    const refused = await run(consulPath, [
      "agent",
      ...argumentsFor(last.name, seed),
      `-http-port=${last.ports.http}`,
      "-dns-port=-1",
      `-server-port=${last.ports.server}`,
      `-serf-lan-port=${last.ports.serfLan}`,
      "-serf-wan-port=-1",
    ]);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stdout + refused.stderr,
      /Failed to start Consul server: Failed to start Raft: recovery failed to parse peers\.json: Need at least one voter in configuration: \{\[\]\}/,
    );

    const id = readFileSync(join(folder, last.name, "node-id"), "utf8").trim();
    const address = `127.0.0.1:${last.ports.server}`;
    writeFileSync(raftFile(last, "peers.json"), JSON.stringify([{ id, address, non_voter: false }]));
    last.agent = await start(last.name, last.ports, seed);
    assert.match(last.agent.output, /found peers\.json file, recovering Raft configuration\.\.\./);
    assert.match(last.agent.output, /deleted peers\.json file after successful recovery/);
    assert.ok(!existsSync(raftFile(last, "peers.json")));
    await write(last.ports.http, "after", "recovery");
    assert.deepEqual(await last.agent.json("/v1/status/peers"), [address]);
    for (let at = 0; at < 20; at++) assert.equal((await read(last.ports.http, `/v1/kv/kept/${at}?raw`)).body, `value ${at}`);

    last.agent.signal("SIGKILL");
    await last.agent.ended();
    last.agent = await start(last.name, last.ports, seed);
    await write(last.ports.http, "once", "more");
    assert.deepEqual(await last.agent.json("/v1/status/peers"), [address]);
    assert.equal((await read(last.ports.http, "/v1/kv/after?raw")).body, "recovery");
  });

  it("takes new servers, which become voters with all of its data", async () => {
    const last = servers[2] as Server;
    const [own] = (await portsFor(1)) as [Ports];
    servers.push({ name: "new", ports: own, agent: await start("new", own, `127.0.0.1:${last.ports.serfLan}`) });
    await write(own.http, "through", "the new one");
    await until<{ readonly Servers: readonly { readonly Voter: boolean }[] }>(
      last.ports.http,
      "/v1/operator/raft/configuration",
      ({ Servers }) => Servers.filter(({ Voter }) => Voter).length === 2,
    );
    await answered(own.http, "/v1/kv/kept/7?raw&stale", ({ body }) => body === "value 7");
  });
});
