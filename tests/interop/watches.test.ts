/**
 * The same configuration with watches of every type, given to our agent and to the real one: after each change, what the
 * handlers were called with last is the same, to the byte, but for indexes and IDs.
 */
import { chmodSync, existsSync, readFileSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { findPeer } from "../support/peer.ts";
import { consulPath, RunningAgent, temporaryFolder } from "../support/program.ts";

const found = findPeer("consul");
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);
const consul = "path" in found ? found.path : "";

const watches: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  key: { type: "key", key: "w/a" },
  keyprefix: { type: "keyprefix", prefix: "w/", stale: true },
  services: { type: "services" },
  nodes: { type: "nodes" },
  service: { type: "service", service: "web", tag: "v1", passingonly: true, datacenter: "dc1" },
  checks: { type: "checks", service: "web" },
  state: { type: "checks", state: "critical" },
  event: { type: "event", name: "deploy" },
};

/** An agent whose handlers write what they get, a line each, into a file of the watch's name. */
class Watched {
  readonly folder = temporaryFolder();
  readonly output = temporaryFolder();
  agent!: RunningAgent;

  async start(command: string): Promise<void> {
    const script = join(this.folder, "write.sh");
    writeFileSync(script, `#!/bin/sh\necho "$CONSUL_INDEX $(cat)" >> ${this.output}/$1\n`);
    chmodSync(script, 0o755);
    const all = Object.entries(watches).map(([name, watched]) => ({ ...watched, args: [script, name] }));
    writeFileSync(join(this.folder, "watches.json"), JSON.stringify({ watches: all }));
    const settings = ["-dev", "-node=n1", "-node-id=7d9b1a52-3c44-4f0e-9a7b-0d5a1c2e3f41", "-grpc-port=-1"];
    this.agent = await RunningAgent.start({ command, args: [...settings, `-config-file=${this.folder}/watches.json`] });
    await this.agent.said(/Synced node info/);
  }

  /** What the handler of `name` was called with last, once that matches; without what differs between two agents. */
  last(name: string, wanted: RegExp): Promise<string> {
    const path = join(this.output, name);
    return new Promise((resolve) => {
      const look = (): void => {
        const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
        const [, index, shown] = /^(\d+) (.*)$/.exec(lines.at(-1) ?? "") ?? [];
        if (index === undefined || !wanted.test(shown as string)) return;
        watcher.close();
        resolve(masked(shown as string));
      };
      const watcher = watch(this.output, look);
      look();
    });
  }
}

function masked(shown: string): string {
  // Consul lists the tags of a service in any order.
  const inOrder = /^\{"consul":\[\]/.test(shown) ? JSON.stringify(JSON.parse(shown), sorted) : shown;
  return inOrder.replace(/"((?:Create|Modify|Lock)Index|LTime)":\d+/g, '"$1":0').replace(/"ID":"[0-9a-f-]{36}"/g, '"ID":"uuid"');
}

const sorted = (_: string, value: unknown): unknown => (Array.isArray(value) ? [...value].sort() : value);

interface Step {
  readonly title: string;
  readonly request: readonly [method: string, path: string, body?: string];
  readonly calls: Readonly<Record<string, RegExp>>;
}

const service = { Name: "web", Port: 80, Tags: ["v1", "v2"], Meta: { a: "<b>" }, Check: { TTL: "10m", Name: "alive" } };
const external = { Node: "ext", Address: "192.0.2.7", NodeMeta: { rack: "1" } };
const steps: readonly Step[] = [
  {
    title: "a key is written",
    request: ["PUT", "/v1/kv/w/a?flags=18446744073709551615", "x<y"],
    calls: { key: /eDx5/, keyprefix: /eDx5/ },
  },
  {
    title: "a service is registered",
    request: ["PUT", "/v1/agent/service/register", JSON.stringify(service)],
    calls: { services: /web/, checks: /critical/, state: /critical/, service: /^\[\]$/ },
  },
  {
    title: "its check passes",
    request: ["PUT", "/v1/agent/check/update/service:web", JSON.stringify({ Status: "passing", Output: "well" })],
    calls: { checks: /passing/, state: /^\[\]$/, service: /"Service":"web"/ },
  },
  {
    title: "another node is registered",
    request: ["PUT", "/v1/catalog/register", JSON.stringify(external)],
    calls: { nodes: /192\.0\.2\.7/ },
  },
  {
    title: "an event is fired",
    request: ["PUT", "/v1/event/fire/deploy", "now"],
    calls: { event: /bm93/ },
  },
  {
    title: "the key is deleted",
    request: ["DELETE", "/v1/kv/w/a"],
    calls: { key: /^null$/, keyprefix: /^(null|\[\])$/ },
  },
];

describe("watches of a configuration, here and in Consul 1.8.7", { skip }, () => {
  const [theirs, ours] = [new Watched(), new Watched()];
  before(() => Promise.all([theirs.start(consul), ours.start(consulPath)]));
  after(() => Promise.all([theirs.agent?.stop(), ours.agent?.stop()]));

  for (const { title, request, calls } of steps) {
    it(`${title}: the handlers get the same`, async () => {
      const [method, path, body] = request;
      for (const { agent } of [theirs, ours]) assert.equal((await agent.request(method, path, body)).status, 200);
      for (const [name, wanted] of Object.entries(calls)) {
        assert.equal(await ours.last(name, wanted), await theirs.last(name, wanted), name);
      }
    });
  }
});
