/**
 * A client of a simulated group: sends a request to the server that it believes leads, goes elsewhere when that one
 * does not, and gives up after a while. What it was told, and when, goes into the history.
 */
import type { Command, CommandResult, KvOp, TxnOp } from "../../core/catalog/commands.ts";
import type { KvRecord } from "../../core/catalog/records.ts";
import { below, between, type Random } from "../../core/ports/random.ts";
import { emptyBytes, text, utf8 } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { LogIndex, Millis, NodeId } from "../../core/types/ids.ts";
import type { Group } from "./group.ts";
import type { Consistency, Request, Response } from "./pending-requests.ts";
import type { History, KeyInput, KeyOutput, TogetherInput, TogetherOutput } from "./history.ts";
import { happened } from "./trace.ts";

/** A request without an answer is given up after this long: it may have happened. */
const answerTimeout: Millis = 400;
/** An operation that nobody took in all this time fails: it has not happened. */
const operationTimeout: Millis = 2_000;
/** Between two attempts. */
const retryMin: Millis = 5;
const retryMax: Millis = 60;
/** The node that sessions of clients are bound to. */
export const clientNode = "client";

export interface Entry {
  readonly value: string;
  readonly index: LogIndex;
  /** The session that holds the lock. */
  readonly holder: string | undefined;
}

export interface SessionOptions {
  readonly id: string;
  readonly lockDelay: Millis;
  readonly behavior: "release" | "delete";
  /** 0: it does not end by itself. */
  readonly ttl: Millis;
}

/** Written and read in transactions only. */
export const togetherKeys: readonly string[] = ["t1", "t2", "t3"];

export type ClientOp = Exclude<KvOp, { op: "deleteTree" | "deleteCas" }>;
export interface Expected {
  readonly value: string | undefined;
  /** The value may have been there, gone, and come back: a refusal then is no wonder. */
  readonly ambiguous: boolean;
}

type Answered = Extract<Response, { kind: "done" | "value" }>;
/** `lost`: may have happened. `refused`: has not. */
export type Outcome = Answered | { readonly kind: "lost" } | { readonly kind: "refused" };

export class Client {
  readonly number: number;
  readonly random: Random;
  readonly #group: Group;
  readonly #history: History;
  /** Locks that any session may hold: the end of a session is an operation on each. */
  readonly #locks: Set<string>;
  /** Of its sessions with a TTL. */
  readonly #promises = new Map<string, { readonly session: SessionOptions; readonly until: Millis }>();
  #server: NodeId;
  #asked = 0;
  /** Set by the simulation once faults are over: an operation then is tried for ever. */
  patient = false;

  constructor(group: Group, number: number, history: History, locks: Set<string>) {
    this.#group = group;
    this.#history = history;
    this.#locks = locks;
    this.number = number;
    this.random = group.random.fork(`client ${number}`);
    this.#server = this.#someServer();
  }

  get(key: string, consistency: Consistency, done: (outcome: Outcome) => void): void {
    const request: Request = { kind: "read", key, consistency };
    // What a stale read must show is checked on the server's side: it is some earlier state.
    if (consistency === "stale") this.#attempt(request, this.#group.now, done);
    else this.#recorded([key], { kind: "get" }, request, done);
  }

  /** `expected`: for a check-and-set, the entry that was read, undefined for none. */
  kv(op: ClientOp, expected: Expected | undefined, done: (outcome: Outcome) => void): void {
    if (op.op === "acquire" || op.op === "release") this.#locks.add(op.key);
    const promised = op.op === "acquire" ? this.#promises.get(op.session) : undefined;
    if (promised !== undefined) this.#history.mayEnd(this.number, [op.key], endOf(promised.session), promised.until);
    this.#recorded([op.key], inputOf(op, expected), { kind: "write", command: { kind: "kv", op, now: 0 } }, done);
  }

  createSession({ id, lockDelay, behavior, ttl }: SessionOptions, done: (outcome: Outcome) => void): void {
    const command: Command = {
      kind: "sessionCreate",
      session: {
        id,
        name: "",
        node: clientNode,
        lockDelay,
        behavior,
        ttl: ttl === 0 ? "" : `${ttl}ms`,
        nodeChecks: [],
        serviceChecks: undefined,
        checks: undefined,
      },
      now: 0,
    };
    const session: SessionOptions = { id, lockDelay, behavior, ttl };
    this.#promised(session, this.#group.now);
    this.#attempt({ kind: "write", command }, this.#group.now, done);
  }

  /** The outcome's effect is false when the session is gone. */
  renewSession(session: SessionOptions, done: (outcome: Outcome) => void): void {
    const group = this.#group;
    const since = group.now;
    this.#attempt({ kind: "renew", session: session.id, ttl: session.ttl }, since, (outcome) => {
      if (group.trace.telling)
        group.trace.tell(group.now, `c${this.number}`, undefined, `renewing session ${session.id}: ${outcome.kind}`);
      if (outcome.kind === "done" && effectOf(outcome.result)) this.#promised(session, since);
      done(outcome);
    });
  }

  destroySession(session: SessionOptions, done: (outcome: Outcome) => void): void {
    const command: Command = { kind: "sessionDestroy", id: session.id, now: 0 };
    this.#recorded([...this.#locks], endOf(session), { kind: "write", command }, done);
  }

  /** Writes all of {@link togetherKeys}, when the first is as it was read; `expected` undefined: whatever it is. */
  writeTogether(values: readonly string[], expected: Entry | undefined, done: (outcome: Outcome) => void): void {
    const ops = togetherKeys.map((key, at): TxnOp => {
      const value = utf8(values[at] ?? "");
      return at === 0 && expected !== undefined
        ? { on: "kv", verb: "cas", key, value, flags: 0, index: expected.index, session: "" }
        : { on: "kv", verb: "set", key, value, flags: 0, index: 0, session: "" };
    });
    this.#together({ kind: "write", values, expected: expected?.value }, ops, done);
  }

  readTogether(done: (outcome: Outcome) => void): void {
    const op: TxnOp = { on: "kv", verb: "get-tree", key: "t", value: emptyBytes, flags: 0, index: 0, session: "" };
    this.#together({ kind: "read" }, [op], done);
  }

  #together(input: TogetherInput, ops: readonly TxnOp[], done: (outcome: Outcome) => void): void {
    const group = this.#group;
    const answered = this.#history.calledTogether(this.number, input, group.now);
    group.trace.mark(group.now, happened.called, this.number, this.#history.count, ops.length);
    if (group.trace.telling) group.trace.tell(group.now, `c${this.number}`, undefined, `transaction ${JSON.stringify(input)}`);
    this.#attempt({ kind: "write", command: { kind: "txn", ops, now: 0 } }, group.now, (outcome) => {
      group.trace.mark(group.now, happened.returned, this.number, this.#history.count, outcome.kind.length);
      const output = togetherOutput(input, outcome);
      if (group.trace.telling)
        group.trace.tell(group.now, `c${this.number}`, undefined, `is told ${output && JSON.stringify(output)}`);
      if (output !== undefined) answered(output, group.now);
      done(outcome);
    });
  }

  /** A session lives at least for its TTL after it was created or renewed; how much longer nobody says. */
  #promised(session: SessionOptions, since: Millis): void {
    if (session.ttl === 0) return;
    this.#promises.set(session.id, { session, until: since + session.ttl });
    this.#history.mayEnd(this.number, [...this.#locks], endOf(session), since + session.ttl);
  }

  /** A command that the history does not record. */
  write(command: Command, done: (outcome: Outcome) => void): void {
    this.#attempt({ kind: "write", command }, this.#group.now, done);
  }

  #recorded(keys: readonly string[], input: KeyInput, request: Request, done: (outcome: Outcome) => void): void {
    const group = this.#group;
    const answered = this.#history.called(this.number, keys, input, group.now);
    group.trace.mark(group.now, happened.called, this.number, this.#history.count, input.kind.length);
    if (group.trace.telling)
      group.trace.tell(group.now, `c${this.number}`, undefined, `${JSON.stringify(input)} on ${keys.join(" ")}`);
    this.#attempt(request, group.now, (outcome) => {
      group.trace.mark(group.now, happened.returned, this.number, this.#history.count, outcome.kind.length);
      const output = outputOf(outcome);
      if (group.trace.telling)
        group.trace.tell(
          group.now,
          `c${this.number}`,
          undefined,
          `is told ${output === undefined ? outcome.kind : JSON.stringify(output)}`,
        );
      if (output !== undefined) answered(output, group.now);
      done(outcome);
    });
  }

  #attempt(request: Request, since: Millis, done: (outcome: Outcome) => void): void {
    const group = this.#group;
    let open = true;
    const settle = (act: () => void): void => {
      if (!open) return;
      open = false;
      act();
    };
    const again = (): void =>
      group.at(between(this.random, retryMin, retryMax), () => {
        if (group.now - since < operationTimeout || this.patient) this.#attempt(request, since, done);
        else done({ kind: "refused" });
      });
    group.request(this.#server, request, (response) =>
      settle(() => {
        switch (response.kind) {
          case "refused":
            this.#server = response.leader ?? this.#someServer();
            again();
            return;
          case "unknown":
            done({ kind: "lost" });
            return;
          default:
            done(response);
        }
      }),
    );
    group.at(answerTimeout, () =>
      settle(() => {
        this.#server = this.#someServer();
        // A read changes nothing and is asked again.
        if (request.kind !== "write") again();
        else done({ kind: "lost" });
      }),
    );
  }

  #someServer(): NodeId {
    const { servers } = this.#group;
    // Chance may miss the only server that is left for long; who is patient asks one after the other.
    const at = this.patient ? this.#asked++ % servers.length : below(this.random, servers.length);
    return (servers[at] as { id: NodeId }).id;
  }
}

export function entryOf(record: KvRecord | undefined): Entry | undefined {
  return record === undefined ? undefined : { value: text(record.value), index: record.modifyIndex, holder: record.session };
}

/** A session's ID from a number that nobody else uses. */
export function sessionId(client: number, number: number): string {
  return `00000000-0000-4000-8${client.toString(16).padStart(3, "0")}-${number.toString(16).padStart(12, "0")}`;
}

/** The operations by name. */
export const kvOp = {
  put: (key: string, value: string) => ({ op: "set", key, value: utf8(value), flags: 0 }) as const,
  cas: (key: string, value: string, index: LogIndex) => ({ op: "cas", key, value: utf8(value), flags: 0, index }) as const,
  delete: (key: string) => ({ op: "delete", key }) as const,
  acquire: (key: string, value: string, session: string) =>
    ({ op: "acquire", key, value: utf8(value), flags: 0, session }) as const,
  release: (key: string, value: string, session: string) =>
    ({ op: "release", key, value: utf8(value), flags: 0, session }) as const,
};

/** The result of a write that was answered; throws for what the catalog refused. */
export function effectOf(result: CommandResult): boolean {
  if (result.kind === "rejected") throw new AgentError("rejected", { message: result.message });
  return result.kind !== "took" || result.effect;
}

function endOf({ id, lockDelay, behavior }: SessionOptions): Extract<KeyInput, { kind: "sessionEnd" }> {
  return { kind: "sessionEnd", session: id, delayed: lockDelay > 0, deletes: behavior === "delete" };
}

function togetherOutput(input: TogetherInput, outcome: Outcome): TogetherOutput | undefined {
  if (outcome.kind === "refused") return { kind: "rejected" };
  if (outcome.kind !== "done" || outcome.result.kind !== "txn") return undefined;
  const { results, errors } = outcome.result;
  if (input.kind === "write") return { kind: "took", effect: errors.length === 0 };
  return { kind: "values", values: results.map((result) => (result.on === "kv" ? text(result.record.value) : undefined)) };
}

function inputOf(op: ClientOp, expected: Expected | undefined): KeyInput {
  switch (op.op) {
    case "set":
      return { kind: "put", value: text(op.value) };
    case "cas":
      return { kind: "cas", value: text(op.value), expected: expected?.value, ambiguous: expected?.ambiguous === true };
    case "delete":
      return { kind: "delete" };
    case "acquire":
    case "release":
      return { kind: op.op, value: text(op.value), session: op.session };
  }
}

function outputOf(outcome: Outcome): KeyOutput | undefined {
  switch (outcome.kind) {
    case "value": {
      const entry = entryOf(outcome.record);
      return { kind: "value", value: entry?.value, holder: entry?.holder };
    }
    case "done":
      if (outcome.result.kind === "rejected") return { kind: "rejected" };
      return { kind: "took", effect: effectOf(outcome.result) };
    case "refused":
      return { kind: "rejected" };
    case "lost":
      return undefined;
  }
}
