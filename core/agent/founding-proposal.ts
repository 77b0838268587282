/**
 * A proposer's side of a founding (bootstrap.ts): the rounds of questions, and what follows from the answers.
 *
 * A refusal, from whichever server of the set, settles it: that one is not enrolled and never will be, so the founding
 * cannot have come to be and cannot any more.
 */
import { majority } from "../raft/quorum.ts";
import type { NodeId } from "../types/ids.ts";
import {
  type Accepted,
  type Ballot,
  compareBallots,
  type Founding,
  type FoundingAnswer,
  type FoundingMessage,
  type Outcome,
} from "./founding-messages.ts";

/** Also asks the server itself. Undefined: no answer. Never rejects. */
export type AskFounding = (to: NodeId, message: FoundingMessage) => Promise<FoundingAnswer | undefined>;

export type Conclusion =
  | { readonly kind: "settled"; readonly outcome: Outcome; readonly refusal?: Refusal }
  /** Somebody else proposes. */
  | { readonly kind: "behind"; readonly promised: Ballot }
  /** Too few answered. */
  | { readonly kind: "open"; readonly silent: readonly NodeId[] };

export interface Refusal {
  readonly by: NodeId;
  readonly highest: number;
  readonly hasData: boolean;
}

interface Round {
  readonly answers: readonly (FoundingAnswer | undefined)[];
  readonly silent: readonly NodeId[];
  readonly refusal: Refusal | undefined;
  readonly behind: Ballot | undefined;
}

/**
 * The founder's way, with two questions: "enrol" to all of them, all of whom must; then "found", which a majority must
 * accept. `others`: there are more servers than those of the set, which its members know and the founder does not.
 */
export async function found(ask: AskFounding, founding: Founding): Promise<Conclusion | { readonly kind: "others" }> {
  const enrolling = await askAll(ask, { kind: "enrol", founding }, "enrolled");
  if (enrolling.refusal !== undefined) return voided(enrolling.refusal);
  if (enrolling.silent.length > 0) return { kind: "open", silent: enrolling.silent };
  if (enrolling.answers.some((answer) => answer?.kind === "enrolled" && answer.others.length > 0)) return { kind: "others" };
  return propose(ask, founding, { round: 0, by: founding.by }, "found");
}

/** Whoever's way when the founder is silent: what may have been accepted is completed, else the founding is void. */
export async function settle(ask: AskFounding, founding: Founding, ballot: Ballot): Promise<Conclusion> {
  const preparing = await askAll(ask, { kind: "prepare", founding, ballot }, "promised");
  const accepted: Accepted[] = [];
  let promises = 0;
  for (const answer of preparing.answers) {
    if (answer?.kind !== "promised") continue;
    promises++;
    if (answer.accepted !== undefined) accepted.push(answer.accepted);
  }
  if (preparing.refusal !== undefined) return voided(preparing.refusal);
  if (promises < majority(founding.servers.length)) return tooFew(preparing);
  const newest = accepted.sort((left, right) => compareBallots(right.ballot, left.ballot))[0];
  return propose(ask, founding, ballot, newest?.outcome ?? "void");
}

async function propose(ask: AskFounding, founding: Founding, ballot: Ballot, outcome: Outcome): Promise<Conclusion> {
  const accepting = await askAll(ask, { kind: "accept", founding, ballot, outcome }, "accepted");
  if (accepting.refusal !== undefined) return voided(accepting.refusal);
  const accepted = accepting.answers.filter((answer) => answer?.kind === "accepted").length;
  return accepted < majority(founding.servers.length) ? tooFew(accepting) : { kind: "settled", outcome };
}

/** Whatever is no answer to what was asked counts as none. */
async function askAll(ask: AskFounding, message: FoundingMessage, expected: FoundingAnswer["kind"]): Promise<Round> {
  const { servers } = message.founding;
  const answers = await Promise.all(servers.map(({ id }) => ask(id, message)));
  const silent: NodeId[] = [];
  let refusal: Refusal | undefined;
  let behind: Ballot | undefined;
  for (const [at, answer] of answers.entries()) {
    const by = servers[at]?.id ?? "";
    if (answer?.kind === "refused") {
      // One that has data says more than one that is of another founding.
      if (refusal?.hasData !== true) refusal = { by, highest: answer.highest, hasData: answer.hasData };
    } else if (answer?.kind === "behind") {
      if (behind === undefined || compareBallots(answer.promised, behind) > 0) behind = answer.promised;
    } else if (answer?.kind !== expected) silent.push(by);
  }
  return { answers, silent, refusal, behind };
}

function voided(refusal: Refusal): Conclusion {
  return { kind: "settled", outcome: "void", refusal };
}

function tooFew({ behind, silent }: Round): Conclusion {
  return behind === undefined ? { kind: "open", silent } : { kind: "behind", promised: behind };
}
