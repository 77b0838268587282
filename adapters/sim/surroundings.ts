import type { RaftMessage } from "../../core/raft/messages.ts";
import type { Millis, NodeId, Term } from "../../core/types/ids.ts";
import type { Faults } from "./faults.ts";
import type { Ledger } from "./ledger.ts";
import type { Trace } from "./trace.ts";

/**
 * When chance alone seldom strikes: it was elected, or has applied something for the first time since; it campaigns against
 * another; its log has a new file without a record in it; its log was cut behind a new snapshot.
 */
export type Moment = "leads" | "campaigns" | "new segment" | "compacted";

/** What a server needs of the group around it. */
export interface Surroundings {
  readonly now: Millis;
  readonly faults: Faults;
  readonly ledger: Ledger;
  readonly trace: Trace;
  /** Faults have ended for this server. */
  healed(id: NodeId): boolean;
  at(delay: Millis, act: () => void): void;
  send(message: RaftMessage): void;
  /** The terms in which some server now has a lease. */
  leaseTerms(): readonly Term[];
  /** A client is told that a write took effect. */
  acknowledged(): void;
  /** Something happens to this server that a fault may now strike. */
  delicate(id: NodeId, moment: Moment): void;
  /** Its disk failed: the process ends. */
  failed(id: NodeId): void;
  /** Its disk was hurt, whether or not it knows. */
  isHurt(id: NodeId): boolean;
}
