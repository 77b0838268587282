/**
 * What this server has asked its leader and has no answer to yet, for as long as that one leads.
 *
 * A leader that stands still or is cut off would be waited for in vain, and everybody who reads here with it. Once it
 * leads no more, what may be asked twice fails with `no-leader` at once, so that its successor is asked. Nobody can know
 * the fate of a write: the old leader may yet tell, but when another has led for `rpc_hold_timeout` it will not, and the
 * write fails as one does whose leader lost its office.
 */
import type { Clock, Timer } from "../ports/clock.ts";
import { leadershipLost } from "../raft/waiters.ts";
import { AgentError } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";

export interface LeaderQuestionsOptions {
  readonly clock: Clock;
  /** Who leads, as far as is known here. */
  readonly leader: () => NodeId | undefined;
  /** How long a write may wait for a leader that has a successor. */
  readonly patience: () => Millis;
}

interface Question {
  readonly leader: NodeId;
  readonly repeatable: boolean;
  readonly reject: (error: unknown) => void;
  /** Runs once another leads. */
  timer: Timer | undefined;
}

export class LeaderQuestions {
  readonly #options: LeaderQuestionsOptions;
  /** Bounded by what the transport lets wait. */
  readonly #open = new Set<Question>();

  constructor(options: LeaderQuestionsOptions) {
    this.#options = options;
  }

  /** `send` puts the question; it settles in the end whatever becomes of the leader. `repeatable`: twice does no harm. */
  ask<Answer>(leader: NodeId, repeatable: boolean, send: () => Promise<Answer>): Promise<Answer> {
    if (this.#options.leader() !== leader) return Promise.reject(new AgentError("no-leader", { message: "No cluster leader" }));
    return new Promise((resolve, reject) => {
      const question: Question = { leader, repeatable, reject, timer: undefined };
      this.#open.add(question);
      send().then(
        (answer) => {
          this.#close(question);
          resolve(answer);
        },
        (error: unknown) => {
          this.#close(question);
          reject(error);
        },
      );
    });
  }

  /** Another leads, or nobody does. */
  onLeader(): void {
    const leader = this.#options.leader();
    for (const question of [...this.#open]) {
      if (question.leader === leader) continue;
      if (question.repeatable) this.#fail(question, "No cluster leader");
      else if (leader !== undefined)
        question.timer ??= this.#options.clock.after(this.#options.patience(), () => this.#fail(question, leadershipLost));
    }
  }

  #fail(question: Question, message: string): void {
    this.#close(question);
    question.reject(new AgentError("no-leader", { message }));
  }

  #close(question: Question): void {
    question.timer?.cancel();
    this.#open.delete(question);
  }
}
