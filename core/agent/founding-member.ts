/**
 * A server's side of a founding (bootstrap.ts): what it answers, and what it has to remember before it does.
 *
 *   free ──enrol──► enrolled ──prepare, accept──► enrolled, with a promise and what it accepted
 *    ▲ │               │
 *    │ └─► claimed     └─ stays so for ever when the group comes to be
 *    └────voided───────┘
 *
 * Whatever is not enrolled in the founding it is asked about refuses, and by that never will be: the number of the founding
 * counts as heard of.
 */
import type { NodeId } from "../types/ids.ts";
import { unreachable } from "../types/errors.ts";
import {
  compareBallots,
  type Founding,
  type FoundingAnswer,
  type FoundingMessage,
  sameFounding,
  sameServers,
} from "./founding-messages.ts";
import type { Enrolment, FoundingRecord } from "./founding-record.ts";

export interface MemberView {
  readonly hasData: boolean;
  /** Servers alive in its pool that are not of this founding. */
  readonly othersThan: (founding: Founding) => readonly NodeId[];
}

/** Where `record` differs from the one given, it must be durable before the answer leaves. */
export interface Answered {
  readonly record: FoundingRecord;
  readonly answer: FoundingAnswer;
}

export function answerFounding(record: FoundingRecord, message: FoundingMessage, view: MemberView): Answered {
  const { founding } = message;
  const enrolment = enrolledIn(record, founding);
  switch (message.kind) {
    case "enrol":
      return enrol(record, enrolment, founding, view);
    case "prepare": {
      if (enrolment === undefined) return refuse(record, founding, view);
      const { ballot } = message;
      if (compareBallots(ballot, enrolment.promised) < 0) return { record, answer: behind(enrolment) };
      const { accepted } = enrolment;
      return {
        record: { ...record, enrolment: { ...enrolment, promised: ballot } },
        answer: { kind: "promised", accepted },
      };
    }
    case "accept": {
      if (enrolment === undefined) return refuse(record, founding, view);
      const { ballot, outcome } = message;
      if (compareBallots(ballot, enrolment.promised) < 0) return { record, answer: behind(enrolment) };
      return {
        record: { ...record, enrolment: { ...enrolment, promised: ballot, accepted: { ballot, outcome } } },
        answer: { kind: "accepted" },
      };
    }
    case "voided":
      return { record: enrolment === undefined ? record : { ...record, enrolment: undefined }, answer: { kind: "noted" } };
    default:
      return unreachable(message);
  }
}

/**
 * The leader of the group of `servers` is about to add this server, which has no data. Answers with the servers of whatever
 * it is bound to already: a founding, or another group that was faster. None: from now on it is bound to the one that asks.
 */
export function answerClaim(
  record: FoundingRecord,
  servers: readonly NodeId[],
): { readonly record: FoundingRecord; readonly answer: readonly NodeId[] } {
  if (record.enrolment !== undefined) return { record, answer: record.enrolment.founding.servers.map(({ id }) => id) };
  const { claimed } = record;
  if (claimed.length > 0 && !servers.some((id) => claimed.includes(id))) return { record, answer: claimed };
  // The same group, which may have got other servers since.
  const same = servers.length === claimed.length && servers.every((id, at) => id === claimed[at]);
  return { record: same ? record : { ...record, claimed: servers }, answer: [] };
}

/** Undefined when it is not enrolled in this one. */
export function enrolledIn({ enrolment }: FoundingRecord, founding: Founding): Enrolment | undefined {
  if (enrolment === undefined || !sameFounding(enrolment.founding, founding)) return undefined;
  return sameServers(enrolment.founding.servers, founding.servers) ? enrolment : undefined;
}

function enrol(record: FoundingRecord, enrolment: Enrolment | undefined, founding: Founding, view: MemberView): Answered {
  const answer: FoundingAnswer = { kind: "enrolled", others: view.othersThan(founding) };
  if (enrolment !== undefined) return { record, answer };
  const free = record.enrolment === undefined && record.claimed.length === 0 && !view.hasData;
  if (!free || founding.number <= record.highest) return refuse(record, founding, view);
  const promised = { round: 0, by: founding.by };
  return { record: { ...record, highest: founding.number, enrolment: { founding, promised, accepted: undefined } }, answer };
}

function refuse(record: FoundingRecord, { number }: Founding, view: MemberView): Answered {
  const highest = Math.max(record.highest, number);
  return {
    record: highest === record.highest ? record : { ...record, highest },
    answer: { kind: "refused", highest, hasData: view.hasData || record.claimed.length > 0 },
  };
}

function behind({ promised }: Enrolment): FoundingAnswer {
  return { kind: "behind", promised };
}
