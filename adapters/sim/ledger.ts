/**
 * Watches a simulated group from outside and knows what may not be. Nothing here influences the run.
 *
 * Checked, under these names, after each event that matters:
 *
 *   one leader a term              nobody else leads a term that someone has led
 *   leader completeness            a new leader holds every entry that was ever applied anywhere
 *   log matching                   an entry with this index and term is the same everywhere, and so is the one before it
 *   state machine safety           all servers apply one sequence, with the same results
 *   one vote a term                nobody grants two votes in a term, also not across a restart
 *   nothing is forgotten           after a restart: no earlier term, no lost vote, nothing lost that was applied
 *   what is damaged is not used    …and nothing but what was once given to the disk
 *   a whole disk is readable       who refuses to start has a disk that was hurt
 *   acknowledged means durable     what a follower acknowledges, its disk would show after a crash
 *   acknowledged means equal       …and is what the leader of that term has there
 *   commit never falls             in one life of a server
 *   a stalled leader steps down    no leader that is not alone has had a write out for longer than an election timeout
 *   one lease                      nobody is elected while a leader of an earlier term may answer reads alone
 *   no stale read                  a read sees whatever was acknowledged before it began
 *   one voter at a time            neighbouring configurations differ by one voter
 *   one change at a time           a leader changes nothing while its last change is not committed
 *   equal states                   the catalog has one hash per index, after a restart and an installed snapshot, too
 *   a stale read is an earlier state  what the key was at the index that the server says it has; and
 *   stale reads do not go back     on one server, as long as it runs
 *   a session lives for its TTL    after it was created or renewed, unless a client ends it
 *   locks go with their session    however it ended: when that is applied it holds nothing any more
 *   transactions are atomic        all of it or nothing, here and in what clients are told
 *   naive model                    the catalog answers what a few lines of Maps answer (naive-store.ts)
 *   snapshots hold the state       a snapshot's bytes give the state they were taken of
 */
import { decode } from "../../core/codec/cbor.ts";
import type { Catalog } from "../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../core/catalog/commands.ts";
import type { KvRecord } from "../../core/catalog/records.ts";
import type { HardState, LogEntry } from "../../core/ports/storage.ts";
import { decodeConfiguration } from "../../core/raft/membership.ts";
import { entryCommand, entryConfiguration, type RaftMessage } from "../../core/raft/messages.ts";
import type { RaftMachine } from "../../core/raft/raft.ts";
import { equalBytes } from "../../core/types/bytes.ts";
import type { LogIndex, Millis, NodeId, Term } from "../../core/types/ids.ts";
import { NaiveStore } from "./naive-store.ts";
import { check } from "./violation.ts";

/** The state's hash is compared at every index that this divides: hashing walks over the whole state. */
const hashEvery = 16;
/** No clock runs faster than this beyond true time: faults.ts. */
const clockSpreadMax = 0.1;
/** (index, term) as one number: terms stay far below this. */
const termsMax = 1_048_576;

interface Applied {
  readonly term: Term;
  /** It was committed in this term or an earlier one. */
  readonly committedIn: Term;
  readonly type: number;
  readonly data: Uint8Array;
  readonly result: string;
}

/** What a restart found. */
export interface Found {
  readonly hardState: HardState;
  readonly entries: readonly LogEntry[];
  /** 0: it has no snapshot. */
  readonly snapshotIndex: LogIndex;
}

/** What a disk has told to be durable. */
export interface Claims {
  readonly hardState: HardState;
  readonly last: LogIndex;
}

interface Known {
  readonly data: Uint8Array;
  readonly type: number;
  /** −1: not known, it stood before a snapshot. */
  readonly previousTerm: Term;
}

/** What a server has said or shown, and may not take back. */
interface Promises {
  term: Term;
  voteTerm: Term;
  votedFor: NodeId | undefined;
  applied: LogIndex;
  commit: LogIndex;
  ledTerm: Term;
  staleLife: number;
  staleIndex: LogIndex;
}

export class Ledger {
  /** Everything that was ever applied anywhere: entry `index` is at index − 1. */
  readonly applied: Applied[] = [];
  /** The highest index whose proposer was told of success. */
  acknowledged: LogIndex = 0;
  readonly #leaders = new Map<Term, NodeId>();
  readonly #entries = new Map<number, Known>();
  readonly #promises = new Map<NodeId, Promises>();
  readonly #hashes = new Map<LogIndex, string>();
  readonly #naive = new NaiveStore();
  readonly #promisedUntil = new Map<string, Millis>();
  #voters: readonly NodeId[] | undefined;
  hashesCompared = 0;

  /** A server starts from what its disk gave. */
  started(id: NodeId, { hardState, entries, snapshotIndex }: Found): void {
    const promised = this.#of(id);
    const { term, votedFor } = hardState;
    const last = Math.max(entries[entries.length - 1]?.index ?? 0, snapshotIndex);
    for (const { index, term: entryTerm, type, data } of entries) {
      const known = this.#entries.get(index * termsMax + entryTerm);
      check(
        known !== undefined && known.type === type && equalBytes(known.data, data),
        "what is damaged is not used",
        () => `${id} restarts with an entry ${index} of term ${entryTerm} that nobody gave to its disk`,
      );
    }
    check(
      term >= promised.term,
      "nothing is forgotten",
      () => `${id} restarts in term ${term}, it spoke in term ${promised.term}`,
    );
    check(
      promised.voteTerm !== term || promised.votedFor === undefined || votedFor === promised.votedFor,
      "nothing is forgotten",
      () => `${id} restarts with its vote of term ${term} for ${votedFor}, it voted for ${promised.votedFor}`,
    );
    check(
      last >= promised.applied,
      "nothing is forgotten",
      () => `${id} restarts with a log up to ${last}, it had applied ${promised.applied}`,
    );
    promised.commit = 0;
  }

  /** A message leaves. */
  said(message: RaftMessage, disk: Claims): void {
    const promised = this.#of(message.from);
    if (message.kind === "preVote" || message.kind === "preVoteReply") return;
    if (message.term > promised.term) promised.term = message.term;
    check(
      disk.hardState.term >= message.term,
      "nothing is forgotten",
      () => `${message.from} speaks in term ${message.term}, its disk knows term ${disk.hardState.term}`,
    );
    if (message.kind === "voteReply" && message.granted) this.#voted(promised, message.from, message.term, message.to);
    else if (message.kind === "vote") this.#voted(promised, message.from, message.term, message.from);
    else if (message.kind === "appendReply" && message.accepted) {
      check(
        disk.last >= message.index,
        "acknowledged means durable",
        () => `${message.from} acknowledges ${message.index}, its disk ends at ${disk.last}`,
      );
    }
  }

  /** A follower acknowledges to a leader that still leads. */
  acknowledging(index: LogIndex, follower: RaftMachine, leader: RaftMachine): void {
    const [here, there] = [follower.entryAt(index)?.term, leader.entryAt(index)?.term];
    check(
      here === undefined || there === undefined || here === there,
      "acknowledged means equal",
      () => `${follower.id} acknowledges entry ${index} of term ${here}, the one of ${leader.id} is of term ${there}`,
    );
  }

  /** Entries are on their way to a server's disk: the only way into a log but for a snapshot. */
  logged(id: NodeId, machine: RaftMachine, entries: readonly LogEntry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    let previousTerm = first.index === 1 ? 0 : (machine.entryAt(first.index - 1)?.term ?? -1);
    for (const entry of entries) {
      if (entry.type === entryConfiguration && machine.role === "leader" && entry.term === machine.term)
        for (let index = entry.index - 1; index > machine.commitIndex; index--)
          check(
            machine.entryAt(index)?.type !== entryConfiguration,
            "one change at a time",
            () => `${id} changes members at ${entry.index}, and the change at ${index} is not committed`,
          );
      const key = entry.index * termsMax + entry.term;
      const known = this.#entries.get(key);
      if (known === undefined || (known.previousTerm === -1 && previousTerm !== -1)) {
        this.#entries.set(key, { data: entry.data, type: entry.type, previousTerm });
      } else {
        check(
          known.type === entry.type &&
            (known.data === entry.data || equalBytes(known.data, entry.data)) &&
            (previousTerm === -1 || known.previousTerm === -1 || known.previousTerm === previousTerm),
          "log matching",
          () => `${id} stores another entry ${entry.index} of term ${entry.term} than another server, or another one before it`,
        );
      }
      previousTerm = entry.term;
    }
  }

  /** A server's state machine took an entry. */
  took(id: NodeId, inTerm: Term, entry: LogEntry, result: CommandResult | undefined, catalog: Catalog): void {
    const { index, term, type, data } = entry;
    const answer = result === undefined ? "" : resultText(result);
    const known = this.applied[index - 1];
    if (known === undefined) {
      check(
        this.applied.length === index - 1,
        "state machine safety",
        () => `${id} applies ${index} before ${this.applied.length + 1}`,
      );
      this.applied.push({ term, committedIn: inTerm, type, data, result: answer });
      if (type === entryConfiguration) this.#configured(index, data);
      if (type === entryCommand) this.#naive.check(index, decode(data) as Command, answer, catalog);
    } else {
      check(
        known.term === term && known.type === type && (known.data === data || equalBytes(known.data, data)),
        "state machine safety",
        () => `${id} applies an entry of term ${term} at ${index}, another server one of term ${known.term}`,
      );
      check(
        known.result === answer,
        "state machine safety",
        () => `applying ${index} answers ${answer} on ${id}, and ${known.result} elsewhere`,
      );
    }
    const promised = this.#of(id);
    if (index > promised.applied) promised.applied = index;
    if (index % hashEvery === 0) this.compare(id, index, catalog);
  }

  /** The state after `index`, on whatever server and however it came to it. */
  compare(id: NodeId, index: LogIndex, catalog: Catalog): void {
    const hash = catalog.hash();
    const known = this.#hashes.get(index);
    this.hashesCompared++;
    if (known === undefined) this.#hashes.set(index, hash);
    else check(known === hash, "equal states", () => `the catalog of ${id} at ${index} differs from another server's`);
  }

  /**
   * After every step of a server. `diskMillis`: how long a write has been out, by its own clock, when its timer
   * went off. `leaseTerms`: in which terms somebody now has a lease.
   */
  stepped(id: NodeId, machine: RaftMachine, diskMillis: number, election: number, leaseTerms: () => readonly Term[]): void {
    const promised = this.#of(id);
    check(
      machine.commitIndex >= promised.commit,
      "commit never falls",
      () => `${id} goes back from ${promised.commit} to ${machine.commitIndex}`,
    );
    promised.commit = machine.commitIndex;
    if (machine.role === "leader" && promised.ledTerm !== machine.term) {
      promised.ledTerm = machine.term;
      this.#elected(id, machine.term, machine);
      for (const term of leaseTerms())
        check(
          term >= machine.term,
          "one lease",
          () => `${id} is elected in term ${machine.term} while the lease of term ${term} holds`,
        );
    }
    check(
      machine.role !== "leader" || machine.isSoleVoter || diskMillis <= election,
      "a stalled leader steps down",
      () => `${id} leads, and its disk has not answered for ${diskMillis} ms`,
    );
  }

  /** A client is told that its session lives on. `ttl` in virtual time. */
  renewed(session: string, ttl: Millis, now: Millis): void {
    this.#promisedUntil.set(session, now + ttl * (1 - clockSpreadMax));
  }

  /** A client asks for its end. */
  endAsked(session: string): void {
    this.#promisedUntil.delete(session);
  }

  /** A session's end is applied for the first time. */
  ended(session: string, now: Millis): void {
    const until = this.#promisedUntil.get(session) ?? 0;
    check(now >= until, "a session lives for its TTL", () => `${session} ends at ${now}, it was promised to live until ${until}`);
  }

  /** A read that began when `floor` was acknowledged is answered from a state at `index`. */
  read(id: NodeId, floor: LogIndex, index: LogIndex): void {
    check(
      index >= floor,
      "no stale read",
      () => `${id} answers from index ${index}; ${floor} was acknowledged before the read began`,
    );
  }

  /** A server answers a stale read from its state at `index`, in this life of it. */
  readStale(id: NodeId, life: number, key: string, index: LogIndex, record: KvRecord | undefined): void {
    const promised = this.#of(id);
    const before = promised.staleLife === life ? promised.staleIndex : 0;
    promised.staleLife = life;
    promised.staleIndex = index;
    check(
      index >= before,
      "stale reads do not go back",
      () => `${id} answers a stale read from index ${index}, it had answered one from ${before}`,
    );
    check(
      this.#naive.was(key, index, record),
      "a stale read is an earlier state",
      () => `${id} answers a stale read of ${key} with what it was not at ${index}`,
    );
  }

  #of(id: NodeId): Promises {
    let found = this.#promises.get(id);
    if (found === undefined) {
      found = { term: 0, voteTerm: 0, votedFor: undefined, applied: 0, commit: 0, ledTerm: 0, staleLife: 0, staleIndex: 0 };
      this.#promises.set(id, found);
    }
    return found;
  }

  #elected(id: NodeId, term: Term, machine: RaftMachine): void {
    const other = this.#leaders.get(term);
    check(other === undefined || other === id, "one leader a term", () => `${id} and ${other} lead term ${term}`);
    this.#leaders.set(term, id);
    for (let index = this.applied.length; index > machine.snapshotIndex && index >= machine.firstIndex; index--) {
      const found = machine.entryAt(index)?.term;
      const applied = this.applied[index - 1] as Applied;
      // Votes may have been long on their way: what a later leader committed meanwhile, this one need not have.
      if (applied.committedIn >= term) continue;
      check(
        found === applied.term,
        "leader completeness",
        () => `${id} leads term ${term} with entry ${index} of term ${found}; the one applied is of term ${applied.term}`,
      );
    }
  }

  #voted(promised: Promises, from: NodeId, term: Term, candidate: NodeId): void {
    check(
      promised.voteTerm !== term || promised.votedFor === candidate,
      "one vote a term",
      () => `${from} votes for ${candidate} in term ${term}, and for ${promised.votedFor}`,
    );
    promised.voteTerm = term;
    promised.votedFor = candidate;
  }

  #configured(index: LogIndex, data: Uint8Array): void {
    const voters =
      decodeConfiguration(data)
        ?.servers.filter(({ voter }) => voter)
        .map(({ id }) => id) ?? [];
    const before = this.#voters;
    this.#voters = voters;
    if (before === undefined) return;
    const changes = voters.filter((id) => !before.includes(id)).length + before.filter((id) => !voters.includes(id)).length;
    check(changes <= 1, "one voter at a time", () => `entry ${index} changes [${before}] to [${voters}]`);
  }
}

/** A result as text, to be compared. */
export function resultText(result: CommandResult): string {
  switch (result.kind) {
    case "took":
      return result.effect ? "took" : "took not";
    case "session":
      return `session ${result.id}`;
    case "rejected":
      return `rejected: ${result.message}`;
    case "txn":
      return `txn ${result.results.length} ${result.errors.length}`;
    case "done":
      return "done";
  }
}
