/**
 * The catalog: nodes, services, checks, sessions, keys and coordinates, as every server of the cluster holds them.
 *
 *   committed command ──apply──► tables ──touch──► watches ──flush──► who waits
 *                                  │
 *                        query ──evaluate──► answer, index, what may change them
 *                                  │
 *                              snapshot ──► bytes ──► restore
 *
 * Commands come in the order of the log and are all that changes the tables: no clock, no chance, no configuration, so
 * the same log gives the same state on every server and after every restart (`hash` compares them).
 *
 * Invariants
 * - a command takes effect as a whole or, when refused, not at all, and then wakes nobody
 * - ModifyIndex and the index of a topic never fall, but for a restored snapshot; what is written after it is above all in it
 * - a command that changes nothing moves no index
 * - each lock has one holder, and the holder is a session that exists
 * - each check with a service and each session names a node that exists
 *
 * In here: apply (this file), nodes, services, checks, sessions, kv, txn, coordinates, autopilot (the commands), evaluate* (the queries),
 * filter* (the expressions), watch (who waits), snapshot (bytes), restoring
 * (an operator's snapshot, through the log). Tests: tests/core/catalog, tests/cases/catalog.
 */
import { AgentError, assert, unreachable } from "../types/errors.ts";
import type { LogIndex } from "../types/ids.ts";
import { setAutopilot } from "./autopilot.ts";
import type { Command, CommandResult, RestoreCommand } from "./commands.ts";
import { updateCoordinates } from "./coordinates.ts";
import { evaluate } from "./evaluate.ts";
import { applyKv } from "./kv.ts";
import { deregister, register } from "./nodes.ts";
import type { Answers, Evaluation, Query, QueryKind, QueryOf } from "./queries.ts";
import type { AutopilotRecord } from "./records.ts";
import { Refusal } from "./refusal.ts";
import { createSession, endSession } from "./sessions.ts";
import { Restoring } from "./restoring.ts";
import { type CatalogSnapshot, SnapshotReader, stateHash, takeSnapshot } from "./snapshot.ts";
import { Tables } from "./tables.ts";
import { runTxn } from "./txn.ts";
import { topics, Watches } from "./watch.ts";

/** Running snapshots each make writes a little dearer. */
const snapshotsMax = 8;

const done: CommandResult = { kind: "done" };
const took: CommandResult = { kind: "took", effect: true };
const tookNot: CommandResult = { kind: "took", effect: false };

export class Catalog {
  /** Call `watches.flush()` after each batch of `apply`. */
  readonly watches = new Watches();
  #tables = new Tables(this.watches);
  /** The log's index of the last command applied. */
  #logIndex: LogIndex = 0;
  /**
   * What the index that clients see is ahead of the log's. Part of the state: it grows where an operator restores a
   * snapshot of a longer log, because an index that went back would let old ModifyIndexes name new contents.
   */
  #offset = 0;
  #restoring: Restoring | undefined;
  #snapshots = 0;

  /** The index of the last command applied, as clients see it: at least the log's. */
  get lastIndex(): LogIndex {
    return this.#logIndex + this.#offset;
  }

  /** The restore that was begun and has not ended. */
  get restoringId(): string | undefined {
    return this.#restoring?.id;
  }

  /** How servers are looked after; undefined until a leader wrote its own configuration's settings. */
  get autopilot(): AutopilotRecord | undefined {
    return this.#tables.autopilot.get("");
  }

  /** How much there is, for `consul info` and metrics. */
  get sizes(): {
    readonly nodes: number;
    readonly services: number;
    readonly checks: number;
    readonly sessions: number;
    readonly keys: number;
    readonly tombstones: number;
  } {
    const { nodes, services, checks, sessions, kv } = this.#tables;
    return {
      nodes: nodes.size,
      services: services.size,
      checks: checks.size,
      sessions: sessions.size,
      keys: kv.size,
      tombstones: kv.tombstoneCount,
    };
  }

  /** Applies the command at `logIndex` of the log. Indexes grow from call to call; not all reach the catalog. */
  apply(logIndex: LogIndex, command: Command): CommandResult {
    assert(logIndex > this.#logIndex, "commands are applied in the order of the log");
    this.#logIndex = logIndex;
    if ("now" in command) this.#tables.lockDelays.prune(command.now);
    try {
      return this.#apply(logIndex + this.#offset, command);
    } catch (error) {
      if (this.#tables.journal.open) this.#tables.journal.rollback();
      if (error instanceof Refusal) return { kind: "rejected", message: error.message };
      throw error;
    }
  }

  #apply(index: LogIndex, command: Command): CommandResult {
    const tables = this.#tables;
    switch (command.kind) {
      case "kv":
        // A refused operation has changed nothing, so there is nothing to be able to undo.
        return applyKv(tables, index, command.op, command.now) ? took : tookNot;
      case "register":
        tables.journal.begin();
        register(tables, index, command);
        tables.commit();
        return done;
      case "deregister":
        deregister(tables, index, command);
        return done;
      case "sessionCreate":
        return { kind: "session", id: createSession(tables, index, command.session).id };
      case "sessionDestroy":
        endSession(tables, index, command.id, command.now);
        return done;
      case "txn": {
        tables.journal.begin();
        const { results, errors } = runTxn(tables, index, command.ops, command.now);
        if (errors.length > 0) tables.journal.rollback();
        else tables.commit();
        return { kind: "txn", results, errors };
      }
      case "coordinates":
        updateCoordinates(tables, index, command.updates);
        return done;
      case "autopilot":
        return setAutopilot(tables, index, command) ? took : tookNot;
      case "tombstonesReap":
        tables.kv.reap(command.index);
        tables.touch(topics.tombstones);
        return done;
      case "restoreBegin":
      case "restoreChunk":
      case "restoreEnd":
      case "restoreDiscard":
        return this.#restore(command);
      case "barrier":
        return done;
      default:
        return unreachable(command);
    }
  }

  /** A restore that fails is forgotten: every server forgets it at the same entry of the log. */
  #restore(command: RestoreCommand): CommandResult {
    if (command.kind === "restoreBegin") {
      this.#restoring = new Restoring(command.id, new Tables(this.watches));
      return done;
    }
    const restoring = this.#restoring;
    if (restoring === undefined || restoring.id !== command.id) {
      if (command.kind === "restoreDiscard") return done;
      throw new Refusal("The restore was given up or another was begun: start it again");
    }
    if (command.kind === "restoreChunk") {
      const fault = restoring.push(command.at, command.bytes);
      if (fault === undefined) return done;
      this.#restoring = undefined;
      throw new Refusal(fault);
    }
    this.#restoring = undefined;
    if (command.kind === "restoreDiscard") return done;
    const outcome = restoring.finish(command.length);
    if ("fault" in outcome) throw new Refusal(outcome.fault);
    this.#tables = outcome.tables;
    this.#offset = Math.max(this.#offset, outcome.lastIndex - this.#logIndex);
    this.watches.abandon();
    return done;
  }

  /**
   * Answers a query from the state as it is now. Throws `rejected` with Consul's text for a broken filter or session ID.
   * The first form infers the answer's type from the query.
   */
  evaluate<Kind extends QueryKind>(query: { readonly kind: Kind } & QueryOf<Kind>): Evaluation<Answers[Kind]>;
  evaluate<Kind extends QueryKind>(query: QueryOf<Kind>): Evaluation<Answers[Kind]>;
  evaluate<Kind extends QueryKind>(query: QueryOf<Kind>): Evaluation<Answers[Kind]> {
    return evaluate<Kind>(this.#tables, query);
  }

  /**
   * The whole state at this moment, taken in O(1); serving and applying go on. Must be read to its end or released. An
   * operator's has no use for a restore that is under way. Throws `rate-limited`.
   */
  snapshot(reader: "server" | "operator" = "server"): CatalogSnapshot {
    if (this.#snapshots >= snapshotsMax) {
      throw new AgentError("rate-limited", { message: `Cannot take a snapshot: ${snapshotsMax} are being read already` });
    }
    this.#snapshots++;
    const restoring = reader === "server" ? (this.#restoring?.rows() ?? []) : [];
    return takeSnapshot(this.#tables, { lastIndex: this.lastIndex, offset: this.#offset, restoring }, () => {
      this.#snapshots--;
    });
  }

  /**
   * Replaces the whole state by a snapshot: push its bytes, then finish. Until then the old state serves; afterwards
   * `watches.flush()` tells everyone who waits. Both throw `snapshot-corrupt` and then leave the state as it was.
   */
  restore(): { push(chunk: Uint8Array): void; finish(): void } {
    const reader = new SnapshotReader(new Tables(this.watches), "trusted");
    return {
      push: (chunk) => reader.push(chunk),
      finish: () => {
        const { tables, lastIndex, offset, restoring } = reader.finish();
        this.#restoring = Restoring.resume(restoring, new Tables(this.watches));
        this.#tables = tables;
        this.#logIndex = lastIndex - offset;
        this.#offset = offset;
        this.watches.abandon();
      },
    };
  }

  /** Equal on two servers exactly when their states are. Costs a walk over everything. */
  hash(): string {
    return stateHash(this.#tables, { offset: this.#offset, restoring: this.#restoring?.rows() ?? [] });
  }
}

export type { Query };
