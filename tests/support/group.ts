/**
 * A group of servers as processes, and what every test of one does with it.
 *
 *   const group = await Group.start({ hcl: … });
 *   const leader = await group.leader();          // as all that run say
 *   await group.kill(leader);                     // kill -9, until the process is gone
 *   await group.restart(leader);                  // until its catalog is as fresh as the leader's
 *   await group.sameEverywhere();                 // all hold the same keys, down to the indexes
 *   await group.stop();
 *
 * Every wait is for something the program does: a process ends, a line is logged, a request that the server holds is
 * answered. `patience` only says when to give up on what never comes, far beyond what a slow machine needs.
 */
import { join } from "node:path";
import { assert } from "./harness.ts";
import { insist, patience } from "./patience.ts";
import { freePorts, type Ports, type Response, RunningAgent, request, temporaryFolder } from "./program.ts";

/** As many writes may be on their way whose clients gave up. */
const looksMax = 20;

/** Rejects with what is told when the promise does not settle in a time far beyond what a slow machine needs. */
export async function patiently<Value>(promise: Promise<Value>, tell: () => string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(tell())), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export interface Server {
  readonly name: string;
  readonly ports: Ports;
  /** Its data directory. */
  folder: string;
  /** What starts it; undefined: scripts/consul. */
  readonly command: string | undefined;
  agent: RunningAgent;
  /** `paused`: by SIGSTOP. */
  state: "running" | "paused" | "ended";
}

export interface GroupOptions {
  /** Default: 1, as Consul recommends for production; its own default is 5. */
  readonly raftMultiplier?: number;
  /** Beside what makes elections quick. */
  readonly hcl?: string;
  /** Data directories to use instead of fresh ones, by the server's number. */
  readonly folders?: readonly (string | undefined)[];
  /** What starts the server of that number, instead of scripts/consul. */
  readonly commands?: readonly (string | undefined)[];
}

/** A new server may vote soon, and a dead one is not taken out of the group. */
const quick = 'autopilot { server_stabilization_time = "1s" cleanup_dead_servers = false }';
const size = 3;

export class Group {
  readonly servers: Server[] = [];
  readonly root = temporaryFolder();
  readonly #hcl: string;

  private constructor(options: GroupOptions) {
    this.#hcl = `performance { raft_multiplier = ${options.raftMultiplier ?? 1} } ${quick} ${options.hcl ?? ""}`;
  }

  /** Three servers, of which each knows the leader and holds what it holds. */
  static async start(options: GroupOptions = {}): Promise<Group> {
    const group = new Group(options);
    const ports = await portsFor(size);
    const first = ports[0] as Ports;
    await Promise.all(
      ports.map(async (own, at) => {
        const folder = options.folders?.[at] ?? join(group.root, `s${at}`);
        const command = options.commands?.[at];
        const extra = [`-bootstrap-expect=${size}`, `-retry-join=127.0.0.1:${first.serfLan}`, "-retry-interval=1s"];
        const agent = await group.run({
          name: `s${at}`,
          ports: own,
          folder,
          extra,
          command,
        });
        group.servers[at] = { name: `s${at}`, ports: own, folder, command, agent, state: "running" };
      }),
    );
    await group.fresh().catch((error: Error) => {
      const logs = group.servers.map(({ name, agent }) => `${name}:\n${agent.output.slice(-4000)}`);
      throw new Error(`no group comes about: ${error.message}\n${logs.join("\n")}`);
    });
    return group;
  }

  /** A server of this group's kind; it need not belong to it. */
  run(options: {
    readonly name: string;
    readonly ports: Ports;
    readonly folder?: string;
    readonly extra?: readonly string[];
    readonly command?: string | undefined;
  }): Promise<RunningAgent> {
    const { name, ports, folder, extra, command } = options;
    const own = ["-server", "-bind=127.0.0.1", `-node=${name}`, `-data-dir=${folder ?? join(this.root, name)}`];
    return RunningAgent.start({
      args: [...own, `-hcl=${this.#hcl}`, ...(extra ?? [])],
      ports,
      ready: /Consul agent running!/,
      ...(command === undefined ? {} : { command }),
    });
  }

  get running(): readonly Server[] {
    return this.servers.filter(({ state }) => state === "running");
  }

  others(than: Server): readonly Server[] {
    return this.servers.filter((server) => server !== than);
  }

  byAddress(address: string): Server | undefined {
    return this.servers.find(({ ports }) => address === `127.0.0.1:${ports.server}`);
  }

  /** Who leads, as every server that runs says. */
  async leader(): Promise<Server> {
    const told = await insist(
      async () => {
        await this.fresh();
        return Promise.all(this.running.map(async ({ agent }) => (await agent.json("/v1/status/leader")) as string));
      },
      // An election may have come between: then the next questions are held until it is over.
      ([first, ...others]) =>
        this.byAddress(first as string)?.state === "running" && others.every((address) => address === first),
      (addresses) => `that the servers do not agree who leads: ${addresses}`,
    );
    return this.byAddress(told[0] as string) as Server;
  }

  async follower(): Promise<Server> {
    return this.others(await this.leader())[0] as Server;
  }

  /** Until each of them knows a leader and holds all that the leader had when it was asked. */
  async fresh(servers: readonly Server[] = this.running): Promise<void> {
    await Promise.all(servers.map(({ ports }) => answered(ports.http, "/v1/kv/none", ({ status }) => status === 404)));
  }

  /** As a power cut would: nothing is told to anybody. */
  async kill(server: Server): Promise<void> {
    server.state = "ended";
    server.agent.signal("SIGKILL");
    await server.agent.ended();
  }

  /** In good order, without leaving the group. */
  async terminate(server: Server): Promise<void> {
    server.state = "ended";
    server.agent.signal("SIGTERM");
    await server.agent.ended();
  }

  pause(server: Server): void {
    server.state = "paused";
    server.agent.signal("SIGSTOP");
  }

  resume(server: Server): void {
    server.agent.signal("SIGCONT");
    server.state = "running";
  }

  /** Starts it again where its data is, without waiting for the rest of the group. `remembers`: nobody tells it whom to join. */
  async begin(server: Server, options: { readonly remembers?: boolean } = {}): Promise<void> {
    const { name, ports, folder, command } = server;
    const others = this.others(server).map((other) => `-retry-join=127.0.0.1:${other.ports.serfLan}`);
    const extra = [`-bootstrap-expect=${size}`, ...(options.remembers === true ? [] : others)];
    server.agent = await this.run({ name, ports, folder, extra, command });
    server.state = "running";
  }

  /** Starts it again where its data is, until it has caught up. */
  async restart(server: Server, options: { readonly remembers?: boolean } = {}): Promise<void> {
    await this.begin(server, options);
    await this.fresh([server]);
  }

  /** Until one of them, all that run if none is named, has logged it, after what it had logged then. */
  async said(pattern: RegExp, servers: readonly Server[] = this.running, from = 0): Promise<void> {
    const said = Promise.race(servers.map(({ agent }) => agent.said(pattern, from)));
    await patiently(
      said,
      () => `nobody says ${pattern}: ${servers.map(({ agent }) => agent.output.slice(-2000)).join("\n---\n")}`,
    );
  }

  /** Compares what the three hold themselves, without asking the leader. Gives the value of each key. */
  async sameEverywhere(): Promise<ReadonlyMap<string, string>> {
    assert.equal(this.running.length, size, "all run");
    const held = await this.#heldAtOneIndex();
    for (const [at, { entries }] of held.entries()) assert.deepEqual(entries, held[0]?.entries, `s${at} holds what s0 holds`);
    return new Map(held[0]?.entries.map(({ Key, Value }) => [Key, Buffer.from(Value ?? "", "base64").toString()]));
  }

  /**
   * What each holds, all as of the same index. A write whose client gave up long ago may still be on its way, through a
   * server that stood still: it lands between two looks, and they look again.
   */
  async #heldAtOneIndex(): Promise<readonly { readonly index: string; readonly entries: readonly Held[] }[]> {
    for (let looks = 1; ; looks++) {
      await this.fresh();
      const held = await Promise.all(
        this.servers.map(async ({ ports, name }) => {
          const answer = await request(ports.http, "GET", "/v1/kv/?recurse&stale");
          assert.equal(answer.status, 200, `${name}: ${answer.body}`);
          return { index: String(answer.headers["x-consul-index"]), entries: JSON.parse(answer.body) as Held[] };
        }),
      );
      const indexes = held.map(({ index }) => index);
      if (new Set(indexes).size === 1) return held;
      assert.ok(looks < looksMax, `the servers are at ${indexes.join(", ")}, and stay so`);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map(({ agent }) => agent.stop()));
  }
}

interface Held {
  readonly Key: string;
  readonly Value: string | null;
}

export async function portsFor(count: number): Promise<Ports[]> {
  const free = await freePorts(5 * count);
  return Array.from({ length: count }, (_, at) => {
    const [http, dns, server, serfLan, serfWan] = free.slice(5 * at) as [number, number, number, number, number];
    return { http, dns, server, serfLan, serfWan };
  });
}

/** Asks until the answer satisfies; the server holds each question while it knows no leader, or until what is watched changes. */
export async function answered(port: number, path: string, holds: (answer: Response) => boolean): Promise<Response> {
  const separator = path.includes("?") ? "&" : "?";
  let index = "0";
  return insist(
    async () => {
      const answer = await request(port, "GET", index === "0" ? path : `${path}${separator}index=${index}&wait=30s`);
      index = answer.status === 500 ? "0" : String(answer.headers["x-consul-index"] ?? "0");
      return answer;
    },
    holds,
    ({ status, body }) => `${path}: ${status} ${body.slice(0, 200)}`,
  );
}

/** As {@link answered}, for a body of JSON that comes with status 200. */
export async function until<Body>(port: number, path: string, holds: (body: Body) => boolean): Promise<Body> {
  const { body } = await answered(port, path, (answer) => answer.status === 200 && holds(JSON.parse(answer.body) as Body));
  return JSON.parse(body) as Body;
}

/**
 * The first answer that is one, and must be right at once: 500 says that the server found no leader to ask, as during an
 * election, or lost it while it asked.
 */
export function read(port: number, path: string, host?: string): Promise<Response> {
  return insist(
    () => request(port, "GET", path, undefined, {}, host),
    ({ status }) => status !== 500,
  );
}

/** As {@link read}, for a body of JSON that comes with status 200. */
export async function readJson<Body>(port: number, path: string): Promise<Body> {
  const { status, body } = await read(port, path);
  assert.equal(status, 200, `${path}: ${body}`);
  return JSON.parse(body) as Body;
}

/** Until the write is acknowledged; it may be carried out more than once. Which failures it meets on the way is checked. */
export async function write(port: number, key: string, value: string): Promise<void> {
  await insist(
    () => request(port, "PUT", `/v1/kv/${key}`, value),
    ({ status, body }) => {
      if (status === 200 && body.trim() === "true") return true;
      assert.equal(status, 500, body);
      return false;
    },
    ({ body }) => body,
  );
}
