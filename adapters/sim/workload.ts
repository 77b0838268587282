/**
 * What the clients of a simulation do when the caller brings no workload: registers that are read, written, compared and
 * set, deleted; locks that are taken, released, and lost with their session, which may end by its TTL; transactions over
 * keys that are written together. Values are unique, keys few, so that operations meet.
 */
import type { Command } from "../../core/catalog/commands.ts";
import { below, between, type Random } from "../../core/ports/random.ts";
import type { Millis } from "../../core/types/ids.ts";
import {
  type Client,
  clientNode,
  effectOf,
  type Entry,
  entryOf,
  kvOp,
  type Outcome,
  type SessionOptions,
  sessionId,
  togetherKeys,
} from "./client.ts";
import type { Consistency } from "./pending-requests.ts";

const registers = ["r1", "r2", "r3"];
export const lockKeys: readonly string[] = ["l1", "l2"];

/** The node that sessions need. */
export const registerNode: Command = {
  kind: "register",
  node: clientNode,
  id: "",
  address: "10.0.0.1",
  datacenter: "dc1",
  taggedAddresses: undefined,
  nodeMeta: undefined,
  skipNodeUpdate: false,
  service: undefined,
  checks: [],
  now: 0,
};

/** One client's behaviour: `next` does one operation at a time. */
export class DrawnWorkload {
  readonly #client: Client;
  readonly #random: Random;
  /** All of this client's sessions are of one kind. */
  readonly #kind: Omit<SessionOptions, "id">;
  /** What this client saw last, by key. */
  readonly #seen = new Map<string, Entry | undefined>();
  #values = 0;
  #sessions = 0;
  #session: SessionOptions | undefined;
  /** The first of the keys that are written together, as it was last read. */
  #first: Entry | undefined;

  constructor(client: Client) {
    this.#client = client;
    this.#random = client.random.fork("workload");
    this.#kind = {
      lockDelay: below(this.#random, 2) === 0 ? 0 : 50,
      behavior: below(this.#random, 3) === 0 ? "delete" : "release",
      ttl: [0, 60, 250][below(this.#random, 3)] ?? 0,
    };
  }

  /** Before the next operation. */
  get pause(): Millis {
    return between(this.#random, 0, below(this.#random, 4) === 0 ? 80 : 8);
  }

  next(done: () => void): void {
    const draw = below(this.#random, 100);
    if (draw < 66) this.#register(draw, done);
    else if (draw < 78) this.#together(draw, done);
    else this.#lock(draw, done);
  }

  /** An operation that shows that the group lives: true when it was answered. */
  probe(done: (answered: boolean) => void): void {
    this.#client.kv(kvOp.put(this.#pick(registers), this.#value()), undefined, (outcome) => done(outcome.kind === "done"));
  }

  #register(draw: number, done: () => void): void {
    const key = this.#pick(registers);
    if (draw < 30) this.#get(key, done);
    else if (draw < 40) this.#client.kv(kvOp.put(key, this.#value()), undefined, done);
    else if (draw < 50) {
      // Nobody waits for this one: leaders are to have more than one entry that is not committed.
      this.#client.kv(kvOp.put(key, this.#value()), undefined, () => {});
      done();
    } else if (draw < 61) {
      const seen = this.#seen.get(key);
      this.#client.kv(kvOp.cas(key, this.#value(), seen?.index ?? 0), { value: seen?.value, ambiguous: false }, done);
    } else this.#client.kv(kvOp.delete(key), undefined, done);
  }

  #lock(draw: number, done: () => void): void {
    const key = this.#pick(lockKeys);
    const session = this.#session;
    if (session === undefined) {
      const created = { id: sessionId(this.#client.number, ++this.#sessions), ...this.#kind };
      this.#client.createSession(created, (outcome) => {
        if (outcome.kind === "done" && outcome.result.kind === "session") this.#session = created;
        done();
      });
    } else if (session.ttl > 0 && below(this.#random, 3) === 0) this.#client.renewSession(session, this.#unlessGone(done));
    else if (draw < 81) this.#get(key, done);
    else if (draw < 91) this.#client.kv(kvOp.acquire(key, this.#value(), session.id), undefined, this.#unlessGone(done));
    else if (draw < 97) this.#client.kv(kvOp.release(key, this.#value(), session.id), undefined, done);
    else {
      this.#session = undefined;
      this.#client.destroySession(session, done);
    }
  }

  /** A session that ended by itself is given up. */
  #unlessGone(done: () => void): (outcome: Outcome) => void {
    return (outcome) => {
      if (outcome.kind === "done" && (outcome.result.kind === "rejected" || (outcome.index === 0 && !effectOf(outcome.result))))
        this.#session = undefined;
      done();
    };
  }

  #together(draw: number, done: () => void): void {
    if (draw < 70) {
      this.#client.readTogether((outcome) => {
        if (outcome.kind === "done" && outcome.result.kind === "txn")
          this.#first = outcome.result.results.map((result) => (result.on === "kv" ? entryOf(result.record) : undefined))[0];
        done();
      });
      return;
    }
    const value = this.#value();
    const values = togetherKeys.map((key) => `${value}.${key}`);
    this.#client.writeTogether(values, draw < 74 ? undefined : this.#first, done);
  }

  #get(key: string, done: () => void): void {
    const draw = below(this.#random, 10);
    const consistency: Consistency = draw < 5 ? "default" : draw < 9 ? "consistent" : "stale";
    this.#client.get(key, consistency, (outcome: Outcome) => {
      if (outcome.kind === "value") this.#seen.set(key, entryOf(outcome.record));
      done();
    });
  }

  #pick(keys: readonly string[]): string {
    return keys[below(this.#random, keys.length)] as string;
  }

  #value(): string {
    return `${this.#client.number}.${++this.#values}`;
  }
}
