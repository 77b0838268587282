/** A client as workloads see it: promises over the callbacks of client.ts. */
import type { Random } from "../../core/ports/random.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { type Client, effectOf, type Entry, entryOf, kvOp, type Outcome, type SessionOptions, sessionId } from "./client.ts";
import type { Group } from "./group.ts";
import type { Consistency } from "./pending-requests.ts";

/** A client of the group, for a workload. Operations reject with `timeout` when nobody tells how they ended: they may have happened. */
export interface SimulatedClient {
  /** 1 for the first. */
  readonly number: number;
  /** Virtual milliseconds since the beginning. */
  readonly now: Millis;
  readonly random: Random;
  sleep(duration: Millis): Promise<void>;
  /** Undefined when the key does not exist. Default consistency: "consistent". */
  get(key: string, consistency?: Consistency): Promise<Entry | undefined>;
  put(key: string, value: string): Promise<void>;
  /** Sets when nobody changed the key since `entry` was read; undefined: when it does not exist. */
  cas(key: string, value: string, entry: Entry | undefined): Promise<boolean>;
  delete(key: string): Promise<void>;
  /** Gives the session's ID. */
  createSession(options?: SessionChoices): Promise<string>;
  /** For a session with a TTL: it lives on for at least that long. False: it is gone. */
  renewSession(id: string): Promise<boolean>;
  /** Releases all its locks. */
  destroySession(id: string): Promise<void>;
  /** True when the session now holds the key. */
  acquire(key: string, value: string, session: string): Promise<boolean>;
  release(key: string, value: string, session: string): Promise<boolean>;
}

export interface SessionChoices {
  /** After the session ended without a release, nobody may lock what it held for so long. Default 0. */
  readonly lockDelay?: Millis;
  /** What becomes of the keys that it held. Default "release". */
  readonly behavior?: "release" | "delete";
  /** It ends some time after this, unless it is renewed. A whole number; default 0: never. */
  readonly ttl?: Millis;
}

/** `wake` is called whenever a promise of it was settled. */
export function simulatedClient(group: Group, client: Client, wake: () => void): SimulatedClient {
  const sessions = new Map<string, SessionOptions>();
  const sessionOf = (id: string): SessionOptions => sessions.get(id) ?? { id, lockDelay: 0, behavior: "release", ttl: 0 };
  const ask = <Result>(act: (done: (outcome: Outcome) => void) => void, read: (outcome: Outcome) => Result): Promise<Result> =>
    new Promise((resolve, reject) => {
      act((outcome) => {
        wake();
        try {
          resolve(read(outcome));
        } catch (error) {
          reject(error);
        }
      });
    });
  const effect = (outcome: Outcome): boolean => {
    if (outcome.kind === "done") return effectOf(outcome.result);
    throw unanswered(outcome);
  };
  return {
    number: client.number,
    random: client.random.fork("workload"),
    get now() {
      return group.now;
    },
    sleep: (duration) =>
      new Promise((resolve) =>
        group.at(Math.max(0, duration), () => {
          wake();
          resolve();
        }),
      ),
    get: (key, consistency = "consistent") =>
      ask(
        (done) => client.get(key, consistency, done),
        (outcome) => {
          if (outcome.kind === "value") return entryOf(outcome.record);
          throw unanswered(outcome);
        },
      ),
    put: (key, value) => ask((done) => client.kv(kvOp.put(key, value), undefined, done), effect).then(() => undefined),
    cas: (key, value, entry) =>
      ask((done) => client.kv(kvOp.cas(key, value, entry?.index ?? 0), { value: entry?.value, ambiguous: true }, done), effect),
    delete: (key) => ask((done) => client.kv(kvOp.delete(key), undefined, done), effect).then(() => undefined),
    createSession: ({ lockDelay = 0, behavior = "release", ttl = 0 } = {}) => {
      const session: SessionOptions = { id: sessionId(client.number, sessions.size + 1), lockDelay, behavior, ttl };
      sessions.set(session.id, session);
      return ask((done) => client.createSession(session, done), effect).then(() => session.id);
    },
    renewSession: (id) => ask((done) => client.renewSession(sessionOf(id), done), effect),
    destroySession: (id) => ask((done) => client.destroySession(sessionOf(id), done), effect).then(() => undefined),
    acquire: (key, value, session) => ask((done) => client.kv(kvOp.acquire(key, value, session), undefined, done), effect),
    release: (key, value, session) => ask((done) => client.kv(kvOp.release(key, value, session), undefined, done), effect),
  };
}

/** What an operation rejects with when nobody told how it ended. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof AgentError && (error.code === "no-leader" || error.code === "timeout");
}

function unanswered(outcome: Outcome): AgentError {
  return outcome.kind === "refused"
    ? new AgentError("no-leader", { message: "No cluster leader" })
    : new AgentError("timeout", { message: "Nobody answered: it may have happened, or not" });
}
