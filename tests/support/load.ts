/**
 * Clients that keep a group busy while it suffers, and remember what they asked and were told.
 *
 *   Load ──put, get, check-and-set, delete, over HTTP──► any server that is thought to run
 *    │                                                      answered: when, and what
 *    │                                                      refused for want of a leader: it has not happened
 *    └──► History: one register per key                     no answer, or another error: perhaps
 *
 * Values are written once. A key is left for a new one after some dozens of operations, so that the search for an order
 * that explains its history stays short. Besides, keys are written that nobody touches again: each must be there at the end.
 */
import http from "node:http";
import { performance } from "node:perf_hooks";
import { createRandom, seedOf } from "../../adapters/shared/random.ts";
import { describeOperation, History, type KeyInput, type KeyOutput } from "../../adapters/sim/history.ts";
import { below, type Random } from "../../core/ports/random.ts";
import { type Group, patiently, type Server } from "./group.ts";
import { assert } from "./harness.ts";

const clientsDefault = 6;
/** Keys in use at one time. */
const keys = 6;
/** Operations on one key before it is left. */
const operationsPerKey = 80;
/** A client gives up on an answer after this long; what it asked for may have happened or not. */
const answerTimeout = 4000;
/** An operation that certainly was not carried out because there was no leader says so; anything else is "perhaps". */
const notCarriedOut = /^(rpc error making call: )*No cluster leader$/;

/** The seed of this run: CLUSTER_SEED, or another one each time. Printed, so that the choices can be repeated. */
export function seededRandom(title: string): Random {
  const seed = process.env["CLUSTER_SEED"] ?? String(Math.floor(Math.random() * 1e9));
  console.log(`${title}: CLUSTER_SEED=${seed}`);
  return createRandom(seedOf(seed)).fork(title);
}

type Answer =
  | { readonly kind: "answer"; readonly status: number; readonly body: string }
  /** The request never left. */
  | { readonly kind: "unsent" }
  | { readonly kind: "lost"; readonly why: string };

interface Seen {
  readonly key: string;
  readonly value: string | undefined;
  readonly index: number;
}

export interface LoadFigures {
  readonly operations: number;
  readonly acknowledged: number;
  readonly refused: number;
  /** Writes of which nobody was told whether they happened. */
  readonly perhaps: number;
  /** Reads that a server which ran all the time answered with an error. */
  readonly failedReads: number;
}

export class Load {
  readonly #group: Group;
  readonly #name: string;
  readonly #random: Random;
  readonly #history = new History();
  /** What each slot's key is called now, and how many operations it had. */
  readonly #slots = Array.from({ length: keys }, () => ({ generation: 0, operations: 0 }));
  /** Keys written once, and acknowledged. */
  readonly #kept = new Map<string, string>();
  readonly #running: Promise<void>[] = [];
  #waiting: { readonly at: number; readonly resolve: () => void }[] = [];
  #stopping = false;
  #values = 0;
  #acknowledged = 0;
  #refused = 0;
  #perhaps = 0;
  #failedReads = 0;
  #longestGap = 0;
  #lastAcknowledged = performance.now();
  readonly #errors = new Map<string, number>();

  /** `name`: no two loads of one group have the same, for the keys of each are its own. */
  constructor(group: Group, name: string, random: Random, clients: number = clientsDefault) {
    this.#group = group;
    this.#name = name;
    this.#random = random.fork(name);
    for (let client = 0; client < clients; client++) this.#running.push(this.#work(client));
  }

  /** Resolves when so many more writes, from now on, were acknowledged. */
  acknowledged(count: number): Promise<void> {
    const done = new Promise<void>((resolve) => this.#waiting.push({ at: this.#acknowledged + count, resolve }));
    return patiently(done, () => `${count} writes are not acknowledged: ${this.#told()}`);
  }

  /** The longest time, in milliseconds, without an acknowledged write since this was last asked. */
  takeLongestGap(): number {
    const gap = this.#longestGap;
    this.#longestGap = 0;
    return gap;
  }

  get figures(): LoadFigures {
    return {
      operations: this.#history.count,
      acknowledged: this.#acknowledged,
      refused: this.#refused,
      perhaps: this.#perhaps,
      failedReads: this.#failedReads,
    };
  }

  /** One key that is not in use yet, for what a test does by itself. */
  freshKey(): string {
    return `${this.#name}/own/${++this.#values}`;
  }

  /** A put by the test itself, as a client of its own. */
  put(client: number, server: Server, key: string, agent?: http.Agent): Promise<KeyOutput | undefined> {
    return this.#write(client, server, key, { kind: "put", value: this.#value() }, "", agent);
  }

  /** A read by the test itself, without a limit of time. */
  read(client: number, server: Server, key: string, mode: "" | "consistent"): Promise<Seen | undefined> {
    return this.#read(client, server, key, mode, undefined, Number.POSITIVE_INFINITY);
  }

  /** Ends the load, then: nothing acknowledged is missing, all servers hold the same, one order explains every history. */
  async finish(): Promise<LoadFigures> {
    this.#stopping = true;
    await Promise.all(this.#running);
    const held = await this.#group.sameEverywhere();
    const missing = [...this.#kept].filter(([key, value]) => held.get(key) !== value).map(([key]) => key);
    assert.deepEqual(missing, [], "acknowledged writes are lost");
    const now = performance.now();
    for (const key of this.#usedKeys()) {
      const value = held.get(key);
      this.#history.called(-1, [key], { kind: "get" }, now)({ kind: "value", value, holder: undefined }, performance.now());
    }
    try {
      assert.equal(this.#history.check(), 0, "every history is short enough to be judged");
    } catch (error) {
      for (const key of this.#usedKeys())
        if (String(error).includes(`${key}:`))
          for (const operation of this.#history.of(key)) console.log(describeOperation(operation));
      throw error;
    }
    console.log(this.#told());
    return this.figures;
  }

  #told(): string {
    const { figures } = this;
    const errors = [...this.#errors].map(([text, count]) => `${count} × ${text}`).join("; ");
    return `${this.#name}: ${figures.operations} operations, ${figures.acknowledged} writes acknowledged, ${figures.refused} refused, ${figures.perhaps} unknown${errors === "" ? "" : `: ${errors}`}`;
  }

  async #work(client: number): Promise<void> {
    const random = this.#random.fork(`client ${client}`);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    let seen: Seen | undefined;
    while (!this.#stopping) {
      const { running } = this.#group;
      const server = running[below(random, running.length)];
      if (server === undefined) {
        await new Promise(setImmediate); // all are down: until one is started
        continue;
      }
      const draw = below(random, 100);
      if (draw < 15) {
        const key = `${this.#name}/kept/${client}/${this.#history.count}`;
        const value = this.#value();
        const output = await this.#write(client, server, key, { kind: "put", value }, "", agent);
        if (output?.kind === "took" && output.effect) this.#kept.set(key, value);
      } else if (draw < 45)
        await this.#write(client, server, this.#key(random), { kind: "put", value: this.#value() }, "", agent);
      else if (draw < 75) seen = await this.#read(client, server, this.#key(random), draw < 60 ? "" : "consistent", agent);
      else if (draw < 95 && seen !== undefined) {
        const input: KeyInput = { kind: "cas", value: this.#value(), expected: seen.value, ambiguous: false };
        await this.#write(client, server, seen.key, input, `?cas=${seen.index}`, agent);
        seen = undefined;
      } else if (draw >= 97) await this.#write(client, server, this.#key(random), { kind: "delete" }, "", agent);
    }
    agent.destroy();
  }

  #value(): string {
    return `v${++this.#values}`;
  }

  #key(random: Random): string {
    const at = below(random, keys);
    const slot = this.#slots[at] as { generation: number; operations: number };
    if (++slot.operations > operationsPerKey) {
      slot.operations = 1;
      slot.generation++;
    }
    return `${this.#name}/busy/${at}/${slot.generation}`;
  }

  *#usedKeys(): Iterable<string> {
    for (const [at, { generation }] of this.#slots.entries())
      for (let earlier = 0; earlier <= generation; earlier++) yield `${this.#name}/busy/${at}/${earlier}`;
  }

  async #read(
    client: number,
    server: Server,
    key: string,
    mode: "" | "consistent",
    agent: http.Agent | undefined,
    timeout: number = answerTimeout,
  ): Promise<Seen | undefined> {
    const asked = server.agent;
    const call = performance.now();
    const answer = await ask(server, "GET", `/v1/kv/${key}${mode === "" ? "" : "?consistent"}`, undefined, agent, timeout);
    if (answer.kind !== "answer" || (answer.status !== 200 && answer.status !== 404)) {
      this.#note(answer);
      if (answer.kind === "answer" && server.state === "running" && server.agent === asked) this.#failedReads++;
      return undefined;
    }
    const entry =
      answer.status === 404 ? undefined : (JSON.parse(answer.body) as { Value: string | null; ModifyIndex: number }[])[0];
    const value = entry === undefined ? undefined : Buffer.from(entry.Value ?? "", "base64").toString();
    this.#history.called(client, [key], { kind: "get" }, call)({ kind: "value", value, holder: undefined }, performance.now());
    return { key, value, index: entry?.ModifyIndex ?? 0 };
  }

  async #write(
    client: number,
    server: Server,
    key: string,
    input: KeyInput & { readonly value?: string },
    query: string,
    agent: http.Agent | undefined,
  ): Promise<KeyOutput | undefined> {
    const method = input.kind === "delete" ? "DELETE" : "PUT";
    const call = performance.now();
    const answer = await ask(server, method, `/v1/kv/${key}${query}`, input.value, agent, answerTimeout);
    if (answer.kind === "unsent") return undefined;
    const returned = this.#history.called(client, [key], input, call);
    if (answer.kind === "answer" && answer.status === 200) {
      const effect = answer.body.trim() === "true";
      const now = performance.now();
      returned({ kind: "took", effect }, now);
      this.#longestGap = Math.max(this.#longestGap, now - this.#lastAcknowledged);
      this.#lastAcknowledged = now;
      this.#acknowledged++;
      this.#waiting = this.#waiting.filter(({ at, resolve }) => {
        if (at > this.#acknowledged) return true;
        resolve();
        return false;
      });
      return { kind: "took", effect };
    }
    this.#note(answer);
    if (answer.kind === "answer" && notCarriedOut.test(answer.body)) {
      this.#refused++;
      returned({ kind: "rejected" }, performance.now());
      return { kind: "rejected" };
    }
    this.#perhaps++;
    return undefined;
  }

  #note(answer: Answer): void {
    if (answer.kind === "unsent") return;
    const text = answer.kind === "lost" ? answer.why : `${answer.status} ${answer.body}`;
    this.#errors.set(text, (this.#errors.get(text) ?? 0) + 1);
    if (answer.kind === "answer") assert.ok([500, 429].includes(answer.status), text);
  }
}

function ask(
  { ports }: Server,
  method: string,
  path: string,
  body: string | undefined,
  agent: http.Agent | undefined,
  timeout: number,
): Promise<Answer> {
  return new Promise((resolve) => {
    const headers = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const sent = http.request({ host: "127.0.0.1", port: ports.http, method, path, headers, agent: agent ?? false }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => (text += chunk));
      answer.on("end", () => end({ kind: "answer", status: answer.statusCode as number, body: text }));
      answer.on("error", (error) => end({ kind: "lost", why: error.message }));
    });
    const timer =
      timeout === Number.POSITIVE_INFINITY
        ? undefined
        : setTimeout(() => sent.destroy(new Error(`no answer in ${timeout} ms`)), timeout);
    const end = (answer: Answer): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    sent.on("error", (error: Error & { code?: string }) =>
      end(error.code === "ECONNREFUSED" ? { kind: "unsent" } : { kind: "lost", why: error.message }),
    );
    sent.end(body);
  });
}
