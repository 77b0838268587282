/** What a Raft machine is at, for `consul info` and operators. */
import type { LogIndex, Millis, NodeId, Term } from "../types/ids.ts";
import type { Configuration, Role } from "./messages.ts";
import type { RaftMachine } from "./raft.ts";

export interface RaftStatus {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: Term;
  readonly leader: NodeId | undefined;
  readonly leaderAddress: string | undefined;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly snapshotIndex: LogIndex;
  readonly snapshotTerm: Term;
  readonly configuration: Configuration;
  readonly configurationIndex: LogIndex;
  /** Milliseconds; 0 on the leader, Infinity when no leader was heard of. */
  readonly lastContact: Millis;
}

export function statusOf(machine: RaftMachine, now: Millis): RaftStatus {
  return {
    id: machine.id,
    role: machine.role,
    term: machine.term,
    leader: machine.leader,
    leaderAddress: addressOf(machine.configuration, machine.leader),
    commitIndex: machine.commitIndex,
    appliedIndex: machine.appliedIndex,
    lastIndex: machine.lastIndex,
    lastTerm: machine.lastTerm,
    snapshotIndex: machine.snapshotIndex,
    snapshotTerm: machine.snapshotTerm,
    configuration: machine.configuration,
    configurationIndex: machine.configurationIndex,
    lastContact: machine.lastContact(now),
  };
}

/** Undefined for nobody, and for who is not in the configuration. */
export function addressOf({ servers }: Configuration, id: NodeId | undefined): string | undefined {
  return id === undefined ? undefined : servers.find((server) => server.id === id)?.address;
}
