/**
 * What servers say to one another while a group is being founded (bootstrap.ts), and how it is read from the network.
 *
 *   founder   ──enrol──────────────► every server of the set        enrolled │ refused
 *   proposer  ──prepare, accept────► every server of the set        promised, accepted │ behind │ refused
 *   whoever knows it ──voided──────► every server of the set        (nothing)
 */
import { serversMax } from "../raft/membership.ts";
import type { RaftServer } from "../raft/messages.ts";
import { checkedInteger, type NodeId } from "../types/ids.ts";

/** One attempt to found a group of exactly these servers. Named by `number` and `by`; neither ever stands for another set. */
export interface Founding {
  /** Above every number that a server of the set has heard of before. */
  readonly number: number;
  /** The founder. */
  readonly by: NodeId;
  /** The first configuration, all voters, by ID. */
  readonly servers: readonly RaftServer[];
}

/** Of a proposal within one founding. Round 0 is the founder's; `by` orders those of one round. */
export interface Ballot {
  readonly round: number;
  readonly by: NodeId;
}

export type Outcome = "found" | "void";

export interface Accepted {
  readonly ballot: Ballot;
  readonly outcome: Outcome;
}

export type FoundingMessage =
  /** "Be of my group, and of no other until this one is settled." */
  | { readonly kind: "enrol"; readonly founding: Founding }
  /** "Accept nothing below this ballot any more." Paxos 1a. */
  | { readonly kind: "prepare"; readonly founding: Founding; readonly ballot: Ballot }
  /** Paxos 2a. */
  | { readonly kind: "accept"; readonly founding: Founding; readonly ballot: Ballot; readonly outcome: Outcome }
  /** "It was settled: there is no such group." */
  | { readonly kind: "voided"; readonly founding: Founding };

export type FoundingAnswer =
  /** Durably. `others`: servers alive in its pool that are not of the set. */
  | { readonly kind: "enrolled"; readonly others: readonly NodeId[] }
  /** Durably, with what it accepted last. */
  | { readonly kind: "promised"; readonly accepted: Accepted | undefined }
  /** Durably. */
  | { readonly kind: "accepted" }
  /** It promised a higher ballot. */
  | { readonly kind: "behind"; readonly promised: Ballot }
  /** It is not enrolled in this founding and never will be, durably: the founding has failed. */
  | { readonly kind: "refused"; readonly highest: number; readonly hasData: boolean }
  /** To `voided`. */
  | { readonly kind: "noted" };

/** Beyond it no founding would be left to try; nobody gets near. */
const numberMax = 2 ** 40;
const idLengthMax = 128;
const addressLengthMax = 256;
/** Others that are named in an answer: one is enough to make the founder wait. */
export const othersMax = 16;

export function sameFounding(left: Founding, right: Founding): boolean {
  return left.number === right.number && left.by === right.by;
}

/** Negative when `left` is the lower one. */
export function compareBallots(left: Ballot, right: Ballot): number {
  if (left.round !== right.round) return left.round - right.round;
  return left.by === right.by ? 0 : left.by < right.by ? -1 : 1;
}

export function sameServers(left: readonly RaftServer[], right: readonly RaftServer[]): boolean {
  return (
    left.length === right.length &&
    left.every((server, at) => server.id === right[at]?.id && server.address === right[at]?.address)
  );
}

type Fields = Readonly<Record<string, unknown>>;

/** Undefined for what is no message. */
export function readFoundingMessage(value: unknown): FoundingMessage | undefined {
  const { kind, founding: rawFounding, ballot: rawBallot, outcome } = fieldsOf(value);
  const founding = readFounding(rawFounding);
  if (founding === undefined) return undefined;
  if (kind === "enrol" || kind === "voided") return { kind, founding };
  const ballot = readBallot(rawBallot);
  if (ballot === undefined) return undefined;
  if (kind === "prepare") return { kind, founding, ballot };
  return kind === "accept" && isOutcome(outcome) ? { kind, founding, ballot, outcome } : undefined;
}

/** Undefined for what is no answer. */
export function readFoundingAnswer(value: unknown): FoundingAnswer | undefined {
  const { kind, others, accepted, promised, highest, hasData } = fieldsOf(value);
  switch (kind) {
    case "enrolled": {
      const ids = readIds(others, othersMax);
      return ids === undefined ? undefined : { kind, others: ids };
    }
    case "promised": {
      const read = readAccepted(accepted);
      return accepted !== undefined && read === undefined ? undefined : { kind, accepted: read };
    }
    case "accepted":
    case "noted":
      return { kind };
    case "behind": {
      const ballot = readBallot(promised);
      return ballot === undefined ? undefined : { kind, promised: ballot };
    }
    case "refused": {
      const number = readNumber(highest);
      return number === undefined ? undefined : { kind, highest: number, hasData: hasData === true };
    }
    default:
      return undefined;
  }
}

/** Undefined for what is none: also without servers, with one twice, or in another order than by ID. */
export function readFounding(value: unknown): Founding | undefined {
  const { number: rawNumber, by, servers: rawServers } = fieldsOf(value);
  const number = readNumber(rawNumber);
  if (number === undefined || !isId(by) || !Array.isArray(rawServers)) return undefined;
  if (rawServers.length === 0 || rawServers.length > serversMax) return undefined;
  const servers: RaftServer[] = [];
  for (const raw of rawServers as readonly unknown[]) {
    const { id, address } = fieldsOf(raw);
    if (!isId(id) || typeof address !== "string" || address.length > addressLengthMax) return undefined;
    const before = servers.at(-1);
    if (before !== undefined && before.id >= id) return undefined;
    servers.push({ id, address, voter: true });
  }
  return servers.some((server) => server.id === by) ? { number, by, servers } : undefined;
}

export function readBallot(value: unknown): Ballot | undefined {
  const { round: rawRound, by } = fieldsOf(value);
  const round = readNumber(rawRound);
  return round === undefined || !isId(by) ? undefined : { round, by };
}

export function readAccepted(value: unknown): Accepted | undefined {
  const { ballot: rawBallot, outcome } = fieldsOf(value);
  const ballot = readBallot(rawBallot);
  return ballot === undefined || !isOutcome(outcome) ? undefined : { ballot, outcome };
}

export function readNumber(value: unknown): number | undefined {
  const number = checkedInteger(value);
  return number !== undefined && number <= numberMax ? number : undefined;
}

/** Undefined for what is no list of IDs, or too long. */
export function readIds(value: unknown, countMax: number): readonly NodeId[] | undefined {
  return Array.isArray(value) && value.length <= countMax && value.every(isId) ? value : undefined;
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function isId(value: unknown): value is NodeId {
  return typeof value === "string" && value !== "" && value.length <= idLengthMax;
}

function isOutcome(value: unknown): value is Outcome {
  return value === "found" || value === "void";
}
