/**
 * Keys, locks, sessions and transactions in a few lines of Maps: an independent opinion on what each command answers and
 * leaves behind, and on what each key was at any index. Slow, and knows only the commands that the simulator's clients give.
 */
import type { Catalog } from "../../core/catalog/catalog.ts";
import type { Command, KvOp, TxnOp } from "../../core/catalog/commands.ts";
import type { KvRecord } from "../../core/catalog/records.ts";
import { text } from "../../core/types/bytes.ts";
import type { LogIndex } from "../../core/types/ids.ts";
import { check } from "./violation.ts";

interface Row {
  readonly value: string;
  readonly modify: LogIndex;
  readonly holder: string | undefined;
  readonly lockIndex: number;
}

interface Session {
  readonly lockDelay: number;
  readonly behavior: "release" | "delete";
}

interface Version {
  readonly index: LogIndex;
  readonly row: Row | undefined;
}

export class NaiveStore {
  #rows = new Map<string, Row>();
  readonly #sessions = new Map<string, Session>();
  readonly #lockedOutUntil = new Map<string, number>();
  /** What each key was, oldest first. */
  readonly #versions = new Map<string, Version[]>();

  /** Applies the command here, and compares with what the catalog answered and now holds. */
  check(index: LogIndex, command: Command, answer: string, catalog: Catalog): void {
    if ("now" in command)
      for (const [key, until] of this.#lockedOutUntil) if (until <= command.now) this.#lockedOutUntil.delete(key);
    const before = new Map(this.#rows);
    const expected = this.#apply(index, command);
    if (expected === undefined) return;
    const found = answer.startsWith("rejected") ? "rejected" : answer;
    check(found === expected, "naive model", () => `${describe(command)} at ${index} answers "${answer}", not "${expected}"`);
    if (command.kind === "sessionDestroy") this.#checkEnded(index, command.id, catalog);
    for (const key of keysOf(command)) this.#checkKey(key, index, command, catalog);
    for (const key of new Set([...before.keys(), ...this.#rows.keys()])) {
      const row = this.#rows.get(key);
      if (row === before.get(key)) continue;
      this.#checkKey(key, index, command, catalog);
      const versions = this.#versions.get(key);
      if (versions === undefined) this.#versions.set(key, [{ index, row }]);
      else versions.push({ index, row });
    }
  }

  /** Is this what the key was when everything up to `index` was applied? */
  was(key: string, index: LogIndex, record: KvRecord | undefined): boolean {
    const row = this.#versions.get(key)?.findLast((version) => version.index <= index)?.row;
    return equal(row, record);
  }

  #checkKey(key: string, index: LogIndex, command: Command, catalog: Catalog): void {
    const record = catalog.evaluate({ kind: "kvGet", key }).answer;
    const row = this.#rows.get(key);
    check(
      equal(row, record),
      command.kind === "txn" ? "transactions are atomic" : "naive model",
      () =>
        `after ${describe(command)} at ${index} the catalog holds under ${key} ${record && `${text(record.value)} of ${record.modifyIndex}, locked by ${record.session}`}, not ${row && `${row.value} of ${row.modify}, locked by ${row.holder}`}`,
    );
  }

  #checkEnded(index: LogIndex, id: string, catalog: Catalog): void {
    const held = catalog.evaluate({ kind: "kvList", prefix: "" }).answer.find(({ session }) => session === id);
    check(
      held === undefined && catalog.evaluate({ kind: "session", id }).answer === undefined,
      "locks go with their session",
      () => `session ${id} ended at ${index}, and ${held === undefined ? "is there" : `still holds ${held.key}`}`,
    );
  }

  /** What it should answer; undefined for commands that nothing is known of. */
  #apply(index: LogIndex, command: Command): string | undefined {
    switch (command.kind) {
      case "kv":
        return this.#kv(index, command.op, command.now);
      case "txn":
        return this.#txn(index, command.ops);
      case "sessionCreate": {
        const { id, lockDelay, behavior } = command.session;
        if (this.#sessions.has(id)) return "rejected";
        this.#sessions.set(id, { lockDelay, behavior });
        return `session ${id}`;
      }
      case "sessionDestroy": {
        const session = this.#sessions.get(command.id);
        this.#sessions.delete(command.id);
        for (const [key, row] of this.#rows) {
          if (row.holder !== command.id || session === undefined) continue;
          if (session.behavior === "delete") this.#rows.delete(key);
          else this.#rows.set(key, { ...row, modify: index, holder: undefined });
          if (session.lockDelay > 0) this.#lockedOutUntil.set(key, command.now + session.lockDelay);
        }
        return "done";
      }
      case "barrier":
        return "done";
      default:
        return undefined;
    }
  }

  #kv(index: LogIndex, op: KvOp, now: number): string | undefined {
    if (op.op === "deleteTree") return undefined;
    const row = this.#rows.get(op.key);
    switch (op.op) {
      case "set":
        return this.#put(op.key, text(op.value), index, row?.holder, 0);
      case "cas":
        return (row?.modify ?? 0) === op.index ? this.#put(op.key, text(op.value), index, row?.holder, 0) : "took not";
      case "delete":
        this.#rows.delete(op.key);
        return "took";
      case "deleteCas":
        if (row !== undefined && row.modify !== op.index) return "took not";
        this.#rows.delete(op.key);
        return "took";
      case "acquire":
        if ((this.#lockedOutUntil.get(op.key) ?? 0) > now) return "took not";
        if (!this.#sessions.has(op.session)) return "rejected";
        if (row?.holder !== undefined && row.holder !== op.session) return "took not";
        return this.#put(op.key, text(op.value), index, op.session, (row?.lockIndex ?? 0) + (row?.holder === undefined ? 1 : 0));
      case "release":
        return row?.holder === op.session ? this.#put(op.key, text(op.value), index, undefined, row.lockIndex) : "took not";
    }
  }

  /** All or none of the verbs that the clients use; undefined for others. */
  #txn(index: LogIndex, ops: readonly TxnOp[]): string | undefined {
    const before = new Map(this.#rows);
    let results = 0;
    let errors = 0;
    for (const op of ops) {
      if (op.on !== "kv") return undefined;
      if (op.verb === "get-tree") {
        for (const key of this.#rows.keys()) if (key.startsWith(op.key)) results++;
      } else if (op.verb === "cas" && (this.#rows.get(op.key)?.modify ?? 0) !== op.index) errors++;
      else {
        this.#put(op.key, text(op.value), index, this.#rows.get(op.key)?.holder, 0);
        results++;
      }
    }
    if (errors > 0) this.#rows = before;
    return errors > 0 ? `txn 0 ${errors}` : `txn ${results} 0`;
  }

  #put(key: string, value: string, modify: LogIndex, holder: string | undefined, lockIndex: number): string {
    const before = this.#rows.get(key);
    const same = before?.value === value && before.holder === holder && before.lockIndex === lockIndex;
    if (!same) this.#rows.set(key, { value, modify, holder, lockIndex });
    return "took";
  }
}

function equal(row: Row | undefined, record: KvRecord | undefined): boolean {
  if (row === undefined || record === undefined) return row === undefined && record === undefined;
  return (
    row.value === text(record.value) &&
    row.modify === record.modifyIndex &&
    row.lockIndex === record.lockIndex &&
    row.holder === record.session
  );
}

function keysOf(command: Command): readonly string[] {
  if (command.kind === "kv") return "key" in command.op ? [command.op.key] : [];
  return command.kind === "txn" ? command.ops.flatMap((op) => (op.on === "kv" && op.verb !== "get-tree" ? [op.key] : [])) : [];
}

function describe(command: Command): string {
  return command.kind === "kv" ? `${command.op.op} of ${"key" in command.op ? command.op.key : ""}` : command.kind;
}
